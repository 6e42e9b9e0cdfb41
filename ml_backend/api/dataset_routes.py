"""/api/datasets: the versions of datasets and what is in them. Reading rows only."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import Response, request

from ml_backend.api.requests import answer
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.tables import datasets

MAX_LIMIT, _MAX_ID = 200, 2**62


class Datasets:
    """The datasets table as JSON, newest first."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self) -> Response:
        """`?name=&limit=&before=`; `next` is the next `before`."""
        if set(request.args) - {"name", "limit", "before"}:
            raise InvalidInput("unknown-filter", "There is a filter of another name.", "Use name, limit, before.")
        limit = min(_whole(request.args.get("limit", "50")), MAX_LIMIT)
        statement = sa.select(datasets).order_by(datasets.c.id.desc()).limit(limit)
        if "name" in request.args:
            statement = statement.where(datasets.c.name == request.args["name"].replace("\x00", "")[:120])
        if "before" in request.args:
            statement = statement.where(datasets.c.id < _whole(request.args["before"]))
        found = [_short(row) for row in self._context.db.rows(statement)]
        return answer({"datasets": found, "next": found[-1]["id"] if len(found) == limit else None})

    def show(self, dataset_id: str) -> Response:
        """One version with its counts, what was left out and why, and its files."""
        if request.args:
            raise InvalidInput("unknown-filter", "This address takes no filter.", "Leave the filters out.")
        rows = self._context.db.rows(sa.select(datasets).where(datasets.c.id == _whole(dataset_id)))
        if not rows:
            raise InvalidInput(
                "no-such-dataset", "There is no such dataset.", "GET /api/datasets lists them.", status=404
            )
        row = rows[0]
        return answer(
            {
                **_short(row), "filters": row.filters, "counts": row.counts, "renderings": row.renderings,
                "manifest_key": row.manifest_key, "card_key": row.card_key, "parent": row.parent_id,
            }
        )  # fmt: skip


def _short(row: Any) -> dict[str, Any]:
    counts = row.counts or {}
    return {
        "id": row.id, "name": row.name, "version": row.version, "state": row.state, "reason": row.reason,
        "manifest_sha256": row.manifest_sha256, "test_sha256": row.test_sha256, "made_at": row.created_at,
        "rows": counts.get("rows"), "hours": counts.get("hours"), "splits": counts.get("splits"),
    }  # fmt: skip


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and 0 < int(text) < _MAX_ID):
        raise InvalidInput("bad-number", "That is not a positive whole number.", "Correct the address.")
    return int(text)
