"""/api/calls and /api/outcomes: the ledger of calls, and how they went. People in them appear as pseudonyms."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from flask import Response
from pydantic import ConfigDict, Field, ValidationError

from ml_backend import tables
from ml_backend.api.requests import answer, body, json_object, page, parse_object
from ml_backend.context import Context
from ml_backend.errors import InvalidInput, KaanError
from ml_backend.outcomes import call_outcomes, outcome_reports
from ml_backend.outcomes.outcome_reports import CheckedOutcome
from ml_backend.strict_models import Checked
from ml_backend.tables import calls as rows
from ml_backend.views import call_timeline, ledger_balance, recording_views
from ml_backend.views import call_views as calls
from ml_backend.views.queries import MAX_LIMIT, Day, Days, Query

MOST_REPORTS = 1000
"""Outcomes in one request."""
WAIT_S = 3.0
"""That a report waits for the database: then 503, and it is sent again."""


class BalanceQuery(Query):
    """Which days."""

    days: Annotated[Days, Field(description="So many days, the last one first; more than 92 gives 92.")] = 7
    last: Annotated[Day | None, Field(description="The last of them; default: today.")] = None


class SatisfactionBody(Checked):
    """How content the customer was with a call."""

    model_config = ConfigDict(extra="ignore")

    score: Annotated[float, Field(ge=0, le=1, description="From 0 to 1.")]


class Calls:
    """The calls table as JSON, newest first."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, query: calls.CallQuery) -> Response:
        """One page of calls."""
        return page("calls", calls.find(self._context.db, query, zone=self._context.settings.exotel_time_zone), query)

    def show(self, what: str) -> Response:
        """One call by its id, or by recording:, task:, object: or number:. Several: `calls`, a list of them."""
        key = call_outcomes.key_of(self._context)
        found = recording_views.look_up(self._context.db, what, key=key, most=MAX_LIMIT)
        return answer(found[0] if len(found) == 1 else {"calls": found})

    def timeline(self, what: str) -> Response:
        """What happened to one call and when, what is next, and every transcription of its audio."""
        ids = calls.resolve(self._context.db, what, key=call_outcomes.key_of(self._context))[:MAX_LIMIT]
        found = [call_timeline.of_call(self._context.db, call_id) for call_id in ids]
        return answer(found[0] if len(found) == 1 else {"calls": found})

    def recordings(self, query: recording_views.RecordingQuery) -> Response:
        """Every recording, those of no call too; one page."""
        return page("recordings", recording_views.find(self._context.db, query), query)

    def listenings(self, query: recording_views.ListeningQuery) -> Response:
        """Who listened to which recording on the page."""
        return page("listenings", recording_views.listened(self._context.db, query), query)

    def summary(self, query: BalanceQuery) -> Response:
        """The balance of each day, and the calls by state."""
        zone = self._context.settings.exotel_time_zone
        found = ledger_balance.of_days(self._context.db, days=query.days, zone=zone, last=query.last)
        warning = ledger_balance.clock_warning(self._context.db)
        states = calls.counts(self._context.db)
        return answer({"states": states, "days": [day.to_dict() for day in found], "warning": warning})

    def satisfied(self, call_sid: str) -> Response:
        """`{"score": 0..1}`: how content the customer was with a call; a later score replaces an earlier one."""
        try:
            score = SatisfactionBody(**json_object()).score
        except ValidationError:
            sentence = "The score is not a number from 0 to 1."
            raise InvalidInput("bad-score", sentence, 'Send {"score": 0.8}.') from None
        known = sa.select(rows.c.id).where(rows.c.call_sid == call_sid, rows.c.state.not_in(("erased", "expired")))
        if not self._context.db.rows(known.limit(1)):
            raise InvalidInput("unknown-call", "There is no such call.", "List them: /api/calls.", status=404)
        report = CheckedOutcome(call_sid, tables.now(), {"satisfaction": score})
        call_outcomes.store(self._context, report, source=call_outcomes.SATISFACTION, wait_s=WAIT_S)
        return answer({"call_sid": call_sid, "score": score})


class Outcomes:
    """How calls went, as the phone system reports it: at once or late, whole or in parts, one by one or many."""

    def __init__(self, context: Context) -> None:
        self._context, self._scale = context, context.settings.satisfaction_scale

    def report(self, call_sid: str) -> Response:
        """How one call went. What is left out stays as it was, and an older report never replaces a newer one."""
        report = outcome_reports.checked(call_sid, json_object(), scale=self._scale)
        return answer(_stored(call_outcomes.store(self._context, report, source=call_outcomes.API, wait_s=WAIT_S)))

    def report_many(self) -> Response:
        """The same for many calls, each with its id as `call`; what became of each, in their order."""
        sent = body()
        given = parse_object(b'{"outcomes":' + sent + b"}" if sent.lstrip().startswith(b"[") else sent)
        reports = given.get("outcomes")
        if not isinstance(reports, list) or not reports:
            raise InvalidInput(
                "no-outcomes", "There is no list of outcomes.", 'Send {"outcomes": [{"call": "...", "success": true}]}.'
            )
        if len(reports) > MOST_REPORTS:
            raise InvalidInput(
                "too-many-outcomes", f"There are {len(reports):,} outcomes; at most {MOST_REPORTS:,} come at once.",
                "Send them in parts, or import a file: `python -m ml_backend calls outcomes import FILE`.", status=413,
            )  # fmt: skip
        checked = [self._checked(each) for each in reports]
        stored = call_outcomes.store_many(
            self._context, [each for each in checked if isinstance(each, CheckedOutcome)], source=call_outcomes.API,
            wait_s=WAIT_S,
        )  # fmt: skip
        told = []
        for given_one, each in zip(reports, checked, strict=True):
            became = next(stored) if isinstance(each, CheckedOutcome) else each
            told.append(_refused(given_one, became) if isinstance(became, KaanError) else _stored(became))
        refused = sum("error" in each for each in told)
        return answer({"stored": len(told) - refused, "refused": refused, "outcomes": told})

    def _checked(self, raw: Any) -> CheckedOutcome | InvalidInput:
        try:
            if not isinstance(raw, dict):
                raise InvalidInput("bad-outcome", "The outcome is not a JSON object.", "Send one object per call.")
            fields = {name: value for name, value in raw.items() if name != "call"}
            return outcome_reports.checked(raw.get("call"), fields, scale=self._scale)
        except InvalidInput as error:
            return error


def _stored(one: call_outcomes.Stored) -> dict[str, Any]:
    return {"call": one.call_sid, "known": one.known, "changed": list(one.changed), "older": list(one.older)}


def _refused(raw: Any, error: KaanError) -> dict[str, Any]:
    call = raw.get("call") if isinstance(raw, dict) else None
    named = call[: outcome_reports.MOST_ID] if isinstance(call, str) else None
    told = {"code": error.code, "message": error.sentence, "next_step": error.next_step}
    return {"call": named, "error": told}
