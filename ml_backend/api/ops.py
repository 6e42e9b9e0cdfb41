"""For operators: /ready with reasons, /metrics.

/health says the process answers; /ready says work gets done: database, relay and workers seen lately.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from flask import Response

from ml_backend import tables
from ml_backend.api.requests import answer
from ml_backend.context import Context
from ml_backend.errors import KaanError

SEEN_WITHIN_S = 60.0
NEEDED = {"relay": "No relay is running.", "worker": "No worker is running."}


class Operations:
    """Readiness and metrics of this deployment."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def ready(self) -> Response:
        """200 when calls become transcripts, else 503 with every reason. No names, no versions."""
        reasons = self.reasons()
        return answer({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    def reasons(self) -> list[dict[str, str]]:
        """What keeps work from being done."""
        try:
            self._context.db.check_schema()
            seen = tables.processes.c.seen_at > tables.now() - timedelta(seconds=SEEN_WITHIN_S)
            alive = {row.role for row in self._context.db.rows(sa.select(tables.processes.c.role).where(seen))}
        except KaanError as error:
            return [{"code": error.code, "message": error.sentence}]
        return [
            {"code": f"no-{role}", "message": sentence}
            for role, sentence in NEEDED.items()
            if not any(found == role or found.startswith(role) for found in alive)
        ]
