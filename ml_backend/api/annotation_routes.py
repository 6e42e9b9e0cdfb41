"""/api/annotations: what people wrote, and the summary of how good it is. Reading only."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Response, request

from ml_backend.api.requests import answer
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.views import annotation_views as reading

MAX_LIMIT, MAX_CHARS = 200, 10
FILTERS = ("project", "task", "annotator", "language", "edited", "since", "until", "limit", "before")


class Annotations:
    """The newest state of each annotation as JSON, newest first."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self) -> Response:
        """`?project=&task=&annotator=&language=&edited=&since=&until=&limit=&before=`; `next` is the next `before`."""
        _only(*FILTERS)
        limit = min(_whole("limit") or 50, MAX_LIMIT)
        edited, language = request.args.get("edited"), request.args.get("language")
        if edited is not None and edited not in reading.EDITED:
            raise InvalidInput("bad-edited", "There is no such way of editing.", f"Known: {', '.join(reading.EDITED)}.")
        filters = reading.AnnotationFilters(
            project=_whole("project"),
            task=_whole("task"),
            annotator=_whole("annotator"),
            language=language.replace("\x00", "")[:MAX_CHARS] if language is not None else None,
            edited=edited,
            since=_time("since"),
            until=_time("until"),
            before=_whole("before"),
        )
        found = reading.find(self._context.db, filters, limit=limit)
        return answer({"annotations": found, "next": found[-1]["row"] if len(found) == limit else None})

    def show(self, annotation_id: str) -> Response:
        """One annotation by its number in Label Studio."""
        _only()
        return answer(reading.show(self._context.db, _number(annotation_id, "number")))

    def summary(self) -> Response:
        """The report that a job keeps: agreement, time, drafts, people, gold tasks, stamped ones, duplicates, leaks."""
        _only()
        return answer(reading.kept_summary(self._context.db))


def _only(*names: str) -> None:
    if set(request.args) - set(names):
        known = f"Use {', '.join(names)}." if names else "Leave the filters out."
        raise InvalidInput("unknown-filter", "There is a filter of another name.", known)


def _whole(name: str) -> int | None:
    return _number(request.args[name], name) if name in request.args else None


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 18 and int(text) > 0):
        raise InvalidInput("bad-number", f"The {name} is not a positive whole number.", "Correct the address.")
    return int(text)


def _time(name: str) -> datetime | None:
    """A time with its zone, or a date, which begins in UTC."""
    if name not in request.args:
        return None
    try:
        found = datetime.fromisoformat(request.args[name].replace(" ", "+"))
    except ValueError:
        found = None
    if found is None or not 2000 <= found.year <= 9000:
        raise InvalidInput("bad-time", f"The {name} is not a time like 2026-01-31T09:00:00Z.", "Write it in ISO 8601.")
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
