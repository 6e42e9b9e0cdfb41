"""/api/annotations: what people wrote, and the summary of how good it is. Reading only."""

from __future__ import annotations

from flask import Response

from ml_backend.api.requests import answer, page
from ml_backend.context import Context
from ml_backend.views import annotation_views
from ml_backend.views.queries import whole_number


class Annotations:
    """The newest state of each annotation as JSON, newest first."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, query: annotation_views.AnnotationQuery) -> Response:
        """One page of annotations."""
        return page("annotations", annotation_views.find(self._context.db, query), query, key="row")

    def show(self, annotation_id: str) -> Response:
        """One annotation by its number in Label Studio."""
        return answer(annotation_views.show(self._context.db, whole_number(annotation_id, "number")))

    def summary(self) -> Response:
        """The report that a job keeps: agreement, time, drafts, people, gold tasks, stamped ones, duplicates, leaks."""
        return answer(annotation_views.kept_summary(self._context.db))
