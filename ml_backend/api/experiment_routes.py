"""/api/experiments: comparisons of two model versions on real calls. And what the customer said of a call."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import Response

from ml_backend import tables
from ml_backend.api.requests import answer, body, parse_object
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.tables import calls, experiments

MOST = 100


class Experiments:
    """The experiments table as JSON, newest first. Starting and stopping one is done at the command line."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self) -> Response:
        """The latest hundred."""
        rows = self._context.db.rows(sa.select(experiments).order_by(experiments.c.id.desc()).limit(MOST))
        return answer({"experiments": [_told(row) for row in rows]})

    def show(self, name: str) -> Response:
        """One by its name, with the figures of the last look."""
        rows = self._context.db.rows(sa.select(experiments).where(experiments.c.name == name))
        if not rows:
            raise InvalidInput(
                "unknown-experiment", "There is no such experiment.", "List them: /api/experiments.", status=404
            )
        return answer(_told(rows[0]))

    def satisfied(self, call_sid: str) -> Response:
        """`{"score": 0..1}`: how content the customer was with a call; a later score replaces an earlier one."""
        score = parse_object(body()).get("score")
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise InvalidInput("bad-score", "The score is not a number from 0 to 1.", 'Send {"score": 0.8}.')
        known = sa.and_(calls.c.call_sid == call_sid, calls.c.state.not_in(("erased", "expired")))
        with self._context.db.transaction() as connection:
            told = sa.update(calls).where(known).values(satisfaction=float(score), updated_at=tables.now())
            if not connection.execute(told).rowcount:
                raise InvalidInput("unknown-call", "There is no such call.", "List them: /api/calls.", status=404)
        return answer({"call_sid": call_sid, "score": float(score)})


def _told(row: sa.Row[Any]) -> dict[str, Any]:
    names = ("name", "kind", "language", "traffic_share", "champion", "challenger", "state", "reason", "outcome")
    times = {"started_at": row.created_at, "ends_at": row.ends_at, "ended_at": row.ended_at}
    told = {name: row._mapping[name] for name in names}
    return told | {name: at.isoformat() if at else None for name, at in times.items()}
