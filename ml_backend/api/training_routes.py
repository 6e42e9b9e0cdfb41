"""/api/training: how far the next model is. Reading only."""

from __future__ import annotations

from flask import Response, request

from ml_backend.api.requests import answer
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.views import training_progress


class Training:
    """Counted from rows at each question, so that it is true whatever jobs did or did not run."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def status(self) -> Response:
        """Accepted samples by language, the expected date, what runs, and the last refusal with its reason."""
        if request.args:
            raise InvalidInput("unknown-filter", "This address takes no filter.", "Leave the filters out.")
        settings = self._context.settings
        with self._context.db.reading() as connection:
            found = training_progress.facts(
                connection, threshold=settings.training_threshold, weekly=settings.training_weekly
            )
        return answer(found)
