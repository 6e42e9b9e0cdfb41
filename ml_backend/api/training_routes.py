"""/api/training, /api/datasets, /api/models, /api/experiments: how far the next model is, and what was made so far.

Reading rows only: training, promoting and starting an experiment are done at the command line.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import Response, request

from ml_backend.api.requests import answer
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.tables import datasets, experiments
from ml_backend.views import training_progress, version_views

MAX_LIMIT, MOST_EXPERIMENTS, _MAX_ID = 200, 100, 2**62


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
        found = [_dataset(row) for row in self._context.db.rows(statement)]
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
                **_dataset(row), "filters": row.filters, "counts": row.counts, "renderings": row.renderings,
                "manifest_key": row.manifest_key, "card_key": row.card_key, "parent": row.parent_id,
            }
        )  # fmt: skip


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


class Experiments:
    """The experiments table as JSON, newest first. Starting and stopping one is done at the command line."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self) -> Response:
        """The latest hundred."""
        rows = self._context.db.rows(sa.select(experiments).order_by(experiments.c.id.desc()).limit(MOST_EXPERIMENTS))
        return answer({"experiments": [_experiment(row) for row in rows]})

    def show(self, name: str) -> Response:
        """One by its name, with the figures of the last look."""
        rows = self._context.db.rows(sa.select(experiments).where(experiments.c.name == name))
        if not rows:
            raise InvalidInput(
                "unknown-experiment", "There is no such experiment.", "List them: /api/experiments.", status=404
            )
        return answer(_experiment(rows[0]))


def _dataset(row: Any) -> dict[str, Any]:
    counts = row.counts or {}
    return {
        "id": row.id, "name": row.name, "version": row.version, "state": row.state, "reason": row.reason,
        "manifest_sha256": row.manifest_sha256, "test_sha256": row.test_sha256, "made_at": row.created_at,
        "rows": counts.get("rows"), "hours": counts.get("hours"), "splits": counts.get("splits"),
    }  # fmt: skip


def _experiment(row: sa.Row[Any]) -> dict[str, Any]:
    names = ("name", "kind", "language", "traffic_share", "champion", "challenger", "state", "reason", "outcome")
    times = {"started_at": row.created_at, "ends_at": row.ends_at, "ended_at": row.ended_at}
    told = {name: row._mapping[name] for name in names}
    return told | {name: at.isoformat() if at else None for name, at in times.items()}


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and 0 < int(text) < _MAX_ID):
        raise InvalidInput("bad-number", "That is not a positive whole number.", "Correct the address.")
    return int(text)
