"""/api/calls: the ledger of calls, and what the customer said of one. People in them appear as pseudonyms."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa
from flask import Response, request

from ml_backend import tables
from ml_backend.api.requests import answer, json_object
from ml_backend.calls import pseudonyms
from ml_backend.calls.states import STATES
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.tables import calls as rows
from ml_backend.views import call_views as calls
from ml_backend.views import ledger_balance, recording_views

MAX_LIMIT, MAX_DAYS = 200, 92
FILTERS = ("state", "source", "reason_code", "person", "since", "until", "limit", "before")


class Calls:
    """The calls table as JSON, newest first."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self) -> Response:
        """`?state=&source=&reason_code=&person=&since=&until=&limit=&before=`; `next` is the next `before`."""
        _only(*FILTERS)
        limit = min(_whole("limit", 50), MAX_LIMIT)
        person = request.args.get("person")
        if person is not None and not pseudonyms.SHAPE.fullmatch(person):
            raise InvalidInput(
                "bad-person", "The person is not a pseudonym.", "Copy it from `from` or `to` of a call; not a number."
            )
        found = calls.find(
            self._context.db,
            states=[_one_of(state, tuple(STATES), "state") for state in request.args.getlist("state")],
            sources=_texts("source"),
            reason_codes=_texts("reason_code"),
            person=person,
            since=_time("since"),
            until=_time("until"),
            before=_whole("before", 0) if "before" in request.args else None,
            limit=limit,
        )
        return answer({"calls": found, "next": found[-1]["id"] if len(found) == limit else None})

    def show(self, what: str) -> Response:
        """One call by its id, or by recording:, task:, object: or number:. Several: their short forms."""
        _only()
        context = self._context
        key = context.keep("checked-pseudonym-key", lambda: pseudonyms.key_in(context.settings, context.db))
        found = recording_views.look_up(self._context.db, what, key=key, most=MAX_LIMIT)
        return answer(found[0] if len(found) == 1 else {"calls": found})

    def summary(self) -> Response:
        """`?days=&last=`: the balance of each day, and the calls by state."""
        _only("days", "last")
        days = min(_whole("days", 7), MAX_DAYS)
        last = _date(request.args["last"]) if "last" in request.args else None
        found = ledger_balance.of_days(
            self._context.db, days=days, zone=self._context.settings.exotel_time_zone, last=last
        )
        warning = ledger_balance.clock_warning(self._context.db)
        states = calls.counts(self._context.db)
        return answer({"states": states, "days": [day.told() for day in found], "warning": warning})

    def satisfied(self, call_sid: str) -> Response:
        """`{"score": 0..1}`: how content the customer was with a call; a later score replaces an earlier one."""
        score = json_object().get("score")
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise InvalidInput("bad-score", "The score is not a number from 0 to 1.", 'Send {"score": 0.8}.')
        known = sa.and_(rows.c.call_sid == call_sid, rows.c.state.not_in(("erased", "expired")))
        with self._context.db.transaction() as connection:
            told = sa.update(rows).where(known).values(satisfaction=float(score), updated_at=tables.now())
            if not connection.execute(told).rowcount:
                raise InvalidInput("unknown-call", "There is no such call.", "List them: /api/calls.", status=404)
        return answer({"call_sid": call_sid, "score": float(score)})


def _only(*names: str) -> None:
    if set(request.args) - set(names):
        known = f"Use {', '.join(names)}." if names else "Leave the filters out."
        raise InvalidInput("unknown-filter", "There is a filter of another name.", known)


def _texts(name: str) -> list[str]:
    return [value.replace("\x00", "")[:80] for value in request.args.getlist(name)]


def _one_of(value: str, known: tuple[str, ...], what: str) -> str:
    if value not in known:
        raise InvalidInput(f"unknown-{what}", f"There is no such {what}.", f"Known: {', '.join(known)}.")
    return value


def _whole(name: str, default: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 18 and int(text) > 0):
        raise InvalidInput("bad-number", f"The {name} is not a positive whole number.", "Correct the address.")
    return int(text)


def _date(text: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = date.min
    if not 2000 <= found.year <= 9000:
        raise InvalidInput("bad-date", "The date is not one like 2026-01-31.", "Write year, month and day.")
    return found


def _time(name: str) -> datetime | None:
    """A time with its zone, or a date, which begins in UTC."""
    text: Any = request.args.get(name)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        found = None
    if found is None or not 2000 <= found.year <= 9000:
        raise InvalidInput("bad-time", f"The {name} is not a time like 2026-01-31T09:00:00Z.", "Write it in ISO 8601.")
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
