"""/api/calls: the ledger of calls, and what the customer said of one. People in them appear as pseudonyms."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from flask import Response
from pydantic import ConfigDict, Field, ValidationError

from ml_backend import tables
from ml_backend.api.requests import answer, json_object, page
from ml_backend.calls import pseudonyms
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.strict_models import Checked
from ml_backend.tables import calls as rows
from ml_backend.views import call_views as calls
from ml_backend.views import ledger_balance, recording_views
from ml_backend.views.queries import MAX_LIMIT, Day, Days, Query


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
        return page("calls", calls.find(self._context.db, query), query)

    def show(self, what: str) -> Response:
        """One call by its id, or by recording:, task:, object: or number:. Several: `calls`, a list of them."""
        context = self._context
        key = context.keep("checked-pseudonym-key", lambda: pseudonyms.key_in(context.settings, context.db))
        found = recording_views.look_up(self._context.db, what, key=key, most=MAX_LIMIT)
        return answer(found[0] if len(found) == 1 else {"calls": found})

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
        known = sa.and_(rows.c.call_sid == call_sid, rows.c.state.not_in(("erased", "expired")))
        with self._context.db.transaction() as connection:
            statement = sa.update(rows).where(known).values(satisfaction=score, updated_at=tables.now())
            if not connection.execute(statement).rowcount:
                raise InvalidInput("unknown-call", "There is no such call.", "List them: /api/calls.", status=404)
        return answer({"call_sid": call_sid, "score": score})
