"""A report on a call -> the call's row in `outcomes`, of kind `call`. The only writer of those rows.

Reports come in parts, repeated, late and in any order. Every field has the time of the report it came from, and is
replaced only by a report of the same time or a later one, so the order of arrival does not matter. A call need not be
known yet: the row waits under the call's id. Of a call that was erased or has expired nothing is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db
from ml_backend.calls import phone_numbers, pseudonyms, tombstones
from ml_backend.calls.states import ENDED
from ml_backend.context import Context
from ml_backend.errors import InvalidInput, KaanError
from ml_backend.outcomes.outcome_reports import MOST_PARTS, CheckedOutcome
from ml_backend.tables import calls, outcomes

CALL = "call"  # the kind of these rows; the others are kinds of models
TOGETHER = 50  # reports in one transaction
API, CSV, SATISFACTION = "api", "csv", "satisfaction"
_PARTS = ("latencies", "tags")


@dataclass(frozen=True)
class Stored:
    """What became of one report: fields that changed, and fields of which something later is known."""

    call_sid: str
    known: bool  # whether the call is in the ledger
    changed: tuple[str, ...] = ()
    older: tuple[str, ...] = ()


def key_of(context: Context) -> bytes:
    """The key that tombstones are looked up with."""
    found: bytes = context.keep("checked-pseudonym-key", lambda: pseudonyms.key_in(context.settings, context.db))
    return found


def store(context: Context, report: CheckedOutcome, *, source: str, wait_s: float | None = None) -> Stored:
    """Store one report; InvalidInput `call-erased` where the call was erased or has expired.

    `wait_s` is for a request: it fails as `database-unavailable` when the database is busy for longer.
    """
    key = key_of(context)
    with context.db.transaction(wait_s=wait_s) as connection:
        return merge(connection, report, source=source, key=key)


def store_many(
    context: Context, reports: Sequence[CheckedOutcome], *, source: str, wait_s: float | None = None
) -> Iterator[Stored | KaanError]:
    """Store many, in their order: what became of each. One that is refused does not hold up its neighbours."""
    key = key_of(context)
    for begin in range(0, len(reports), TOGETHER):
        some = reports[begin : begin + TOGETHER]
        found: dict[int, Stored | KaanError] = {}
        with context.db.transaction(wait_s=wait_s) as connection:
            for place in sorted(range(len(some)), key=lambda each: some[each].call_sid):  # no two wait for each other
                try:
                    found[place] = merge(connection, some[place], source=source, key=key)
                except InvalidInput as error:
                    found[place] = error
        yield from (found[place] for place in range(len(some)))


def merge(connection: Connection, report: CheckedOutcome, *, source: str, key: bytes) -> Stored:
    """Store one report in this transaction. Safe to repeat."""
    known = _refuse_gone(connection, report.call_sid, key)
    values = {"call_sid": report.call_sid, "kind": CALL, "source": source}
    row_id, _ = db.insert_once(connection, outcomes, values, key=("call_sid", "kind"))
    row = connection.execute(sa.select(outcomes).where(outcomes.c.id == row_id).with_for_update()).one()
    times = {name: datetime.fromisoformat(text) for name, text in (row.field_times or {}).items()}
    now = {name: getattr(row, name) for name in ("success", "satisfaction", "automated", "intent")}
    now |= {f"{part}.{name}": value for part in _PARTS for name, value in (getattr(row, part) or {}).items()}
    older = tuple(sorted(name for name in report.values if name in times and report.at < times[name]))
    taken = {name: value for name, value in report.values.items() if name not in older}
    changed = tuple(sorted(name for name, value in taken.items() if now.get(name) != value))
    later = now | taken
    _refuse_too_many(later)
    if taken:
        times |= dict.fromkeys(taken, report.at)
        latencies = _part(later, "latencies")
        db.update(
            connection, outcomes, row_id,
            **{name: later[name] for name in ("success", "satisfaction", "automated", "intent")},
            latencies=latencies or sa.null(), tags=_part(later, "tags") or sa.null(),
            latency_s=round(sum(latencies.values()), 6) if latencies else None,
            field_times={name: at.isoformat() for name, at in times.items()},
            reported_at=max(times.values()), source=source,
        )  # fmt: skip
    return Stored(report.call_sid, known, changed, older)


def _refuse_gone(connection: Connection, call_sid: str, key: bytes) -> bool:
    """Whether the call is known; InvalidInput where it was erased or has expired."""
    names = {call_sid, phone_numbers.hidden(call_sid, key)}
    found = connection.execute(
        sa.select(calls.c.state, calls.c.started_at, calls.c.from_pseudonym, calls.c.to_pseudonym)
        .where(calls.c.call_sid.in_(names))
    ).all()  # fmt: skip
    why = tombstones.why_erased(connection, call_sid, key=key)
    why = why or next((row.state for row in found if row.state in ENDED), None)
    if why is None:
        people = [(row.started_at, row.from_pseudonym, row.to_pseudonym) for row in found]
        why = tombstones.ERASED if any(tombstones.person_erased(connection, *one) for one in people) else None
    if why is not None:
        raise InvalidInput(
            "call-erased", f"This call was {why}: nothing is stored about it.", "Nothing is to be done.", status=410
        )
    return bool(found)


def _refuse_too_many(later: Mapping[str, Any]) -> None:
    for part, what in (("latencies", "components with a latency"), ("tags", "tags")):
        if len(_part(later, part)) > MOST_PARTS:
            raise InvalidInput(
                "bad-outcome", f"A call has at most {MOST_PARTS} {what}, with those of earlier reports.",
                "Report fewer different ones.",
            )  # fmt: skip


def _part(values: Mapping[str, Any], part: str) -> dict[str, Any]:
    named = {name.removeprefix(f"{part}."): value for name, value in values.items() if name.startswith(f"{part}.")}
    return dict(sorted(named.items()))
