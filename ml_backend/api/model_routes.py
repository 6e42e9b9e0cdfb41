"""/api/models: versions, their scores and verdicts, and who made which the champion. Reading rows only."""

from __future__ import annotations

from flask import Response, request

from ml_backend.api.requests import answer
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.views import version_views

MAX_LIMIT, _MAX_ID = 200, 2**62


class Models:
    """The model_versions table as JSON, newest first. Promoting is done at the command line."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self) -> Response:
        """`?kind=&limit=&before=`; `next` is the next `before`."""
        if set(request.args) - {"kind", "limit", "before"}:
            raise InvalidInput("unknown-filter", "There is a filter of another name.", "Use kind, limit, before.")
        limit = min(_whole(request.args.get("limit", "50")), MAX_LIMIT)
        before = _whole(request.args["before"]) if "before" in request.args else None
        kind = request.args["kind"].replace("\x00", "")[:10] if "kind" in request.args else None
        found = version_views.every(self._context, limit=limit, kind=kind, before=before)
        return answer({"models": found, "next": found[-1]["id"] if len(found) == limit else None})

    def show(self, version: str) -> Response:
        """One version with lineage, parity, evaluations and history."""
        if request.args:
            raise InvalidInput("unknown-filter", "This address takes no filter.", "Leave the filters out.")
        return answer(version_views.one(self._context, version))


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and 0 < int(text) < _MAX_ID):
        raise InvalidInput("bad-number", "That is not a positive whole number.", "Correct the address.")
    return int(text)
