"""/api/voices and /api/ratings: clips that a voice may learn from, what is missing, and what people think of voices.

Reading only. Scores with their intervals take seconds, so a job makes them; the coverage is counted at each request.
"""

from __future__ import annotations

from flask import Response

from ml_backend.api.requests import answer, page
from ml_backend.context import Context
from ml_backend.views import voice_views
from ml_backend.views.queries import whole_number


class Voices:
    """Voice clips as JSON, newest first, and their ratings."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, query: voice_views.ClipQuery) -> Response:
        """One page of clips: who says what, and why some are left out."""
        return page("clips", voice_views.find(self._context.db, query), query)

    def show(self, clip_id: str) -> Response:
        """One clip with the figures of its checks."""
        return answer(voice_views.show(self._context.db, whole_number(clip_id, "clip id")))

    def coverage(self) -> Response:
        """Clips and seconds of each voice, language and emotion, and the combinations that are missing or few."""
        return answer(voice_views.coverage(self._context.db))

    def ratings(self, query: voice_views.RatingsQuery) -> Response:
        """The report that a job keeps: scores per axis of each version, voice and language, with their intervals."""
        return answer(voice_views.kept_ratings(self._context.db, query))
