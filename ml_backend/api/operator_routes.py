"""For operators: /ready with reasons, /metrics, and /api/jobs: what background work is doing.

/health says the process answers; /ready says work gets done: database, relay and workers seen lately. Jobs are
read here; `python -m ml_backend jobs retry` retries them.
"""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
from flask import Flask, Response, g, request

from ml_backend import tables
from ml_backend.api.requests import answer
from ml_backend.context import Context
from ml_backend.errors import InvalidInput, KaanError
from ml_backend.jobs import processes
from ml_backend.metrics import CONTENT_TYPE, Metrics

NEEDED = {
    "relay": "No relay is running.",
    "worker:sync": "No worker for the queue sync is running.",
    "worker:transcribe": "No worker for the queue transcribe is running.",
}
JOB_STATES = ("waiting", "queued", "running", "done", "failed", "quarantined", "cancelled")
MAX_LIMIT = 200
_SHOWN = (
    "id", "name", "queue", "arguments", "priority", "state", "attempt", "due_at", "created_at", "started_at",
    "finished_at", "progress", "error_code", "error", "next_step",
)  # fmt: skip


def metrics_of(context: Context) -> Metrics:
    """This process's numbers."""
    made: Metrics = context.keep("metrics", lambda: Metrics(context.db))
    return made


def count_requests(app: Flask, context: Context) -> None:
    """Count every answer by its route; an unknown address counts as one route."""
    numbers = metrics_of(context)

    def begin() -> None:
        g.began = time.perf_counter()

    def end(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "unknown"
        numbers.answered(route, response.status_code, seconds=time.perf_counter() - g.get("began", time.perf_counter()))
        return response

    app.before_request(begin)
    app.after_request(end)


class Operations:
    """Readiness and metrics of this deployment."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def ready(self) -> Response:
        """200 when calls become transcripts, else 503 with every reason. No names, no versions."""
        reasons = self.reasons()
        return answer({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    def metrics(self) -> Response:
        """Prometheus's text."""
        numbers = metrics_of(self._context)
        return Response(numbers.text(), content_type=CONTENT_TYPE)

    def reasons(self) -> list[dict[str, str]]:
        """What keeps work from being done."""
        try:
            self._context.db.check_schema()
            alive = {row.role for row in processes.alive(self._context.db)}
        except KaanError as error:
            return [{"code": error.code, "message": error.sentence}]
        return [
            {"code": "no-" + role.replace(":", "-"), "message": sentence}
            for role, sentence in NEEDED.items()
            if role not in alive
        ]


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
            if state not in JOB_STATES:
                raise InvalidInput("unknown-state", "There is no such state.", f"States: {', '.join(JOB_STATES)}.")
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
