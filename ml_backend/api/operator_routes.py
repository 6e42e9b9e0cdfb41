"""For operators: /ready with reasons, /metrics.

/health says the process answers; /ready says work gets done: database, relay and workers seen lately.
"""

from __future__ import annotations

import time

from flask import Flask, Response, g, request

from ml_backend.api.requests import answer
from ml_backend.context import Context
from ml_backend.errors import KaanError
from ml_backend.jobs import processes
from ml_backend.metrics import CONTENT_TYPE, Metrics

NEEDED = {
    "relay": "No relay is running.",
    "worker:sync": "No worker for the queue sync is running.",
    "worker:transcribe": "No worker for the queue transcribe is running.",
}


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
