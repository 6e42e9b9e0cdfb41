"""/api/jobs: what background work is doing. Reading only; `python -m ml_backend jobs retry` retries."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import Response, request

from ml_backend import tables
from ml_backend.api.requests import answer
from ml_backend.context import Context
from ml_backend.errors import InvalidInput

STATES = ("waiting", "queued", "running", "done", "failed", "quarantined", "cancelled")
MAX_LIMIT = 200
_SHOWN = (
    "id", "name", "queue", "arguments", "priority", "state", "attempt", "due_at", "created_at", "started_at",
    "finished_at", "progress", "error_code", "error", "next_step",
)  # fmt: skip


class Jobs:
    """The jobs table as JSON, newest first."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self) -> Response:
        """`?state=&name=&limit=&before=`: pages by id; `next` is the next `before`."""
        unknown = set(request.args) - {"state", "name", "limit", "before"}
        if unknown:
            raise InvalidInput("unknown-filter", "There is a filter of another name.", _FILTERS)
        limit = min(_whole("limit", 50), MAX_LIMIT)
        query = sa.select(*(tables.jobs.c[name] for name in _SHOWN)).order_by(tables.jobs.c.id.desc()).limit(limit)
        if state := request.args.get("state"):
            if state not in STATES:
                raise InvalidInput("unknown-state", "There is no such state.", f"States: {', '.join(STATES)}.")
            query = query.where(tables.jobs.c.state == state)
        if name := request.args.get("name"):
            query = query.where(tables.jobs.c.name == name.replace("\x00", ""))
        if "before" in request.args:
            query = query.where(tables.jobs.c.id < _whole("before", 0))
        rows = self._context.db.rows(query)
        following = rows[-1].id if len(rows) == limit else None
        return answer({"jobs": [_shown(row) for row in rows], "next": following})

    def show(self, job_id: str) -> Response:
        """One job."""
        number = _number(job_id, "job id")
        query = sa.select(*(tables.jobs.c[name] for name in _SHOWN)).where(tables.jobs.c.id == number)
        rows = self._context.db.rows(query)
        if not rows:
            raise InvalidInput("no-such-job", "There is no job with this id.", "List them: /api/jobs.", status=404)
        return answer(_shown(rows[0]))


_FILTERS = "Use state, name, limit and before."


def _shown(row: sa.Row[Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row._mapping.items()}


def _whole(name: str, default: int) -> int:
    return _number(request.args[name], name) if name in request.args else default


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 18 and int(text) > 0):
        raise InvalidInput("bad-number", f"The {name} is not a positive whole number.", "Correct the address.")
    return int(text)
