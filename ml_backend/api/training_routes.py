"""/api/training, /api/datasets, /api/models, /api/evaluations, /api/experiments: progress of the next model, and
existing versions with their errors.

Training, promoting and starting an experiment are done at the command line; an utterance may be sent to review here.
"""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from flask import Response, g
from pydantic import Field

from ml_backend.api.requests import answer, json_object, page
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.labelling import review_requests
from ml_backend.tables import datasets
from ml_backend.views import error_views, training_progress, version_views
from ml_backend.views.queries import PagedQuery, whole_number

WAIT_S = 5.0  # a request cannot wait longer for its turn to write


class DatasetQuery(PagedQuery):
    """Which versions of datasets."""

    name: Annotated[str | None, Field(description="Only versions of the dataset of this name.")] = None


class Training:
    """Counted from rows at each request, so that it does not depend on jobs."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def status(self) -> Response:
        """Accepted samples by language, the expected date, what runs, and the last refusal with its reason."""
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

    def list(self, query: DatasetQuery) -> Response:
        """One page of versions."""
        statement = sa.select(datasets).order_by(datasets.c.id.desc()).limit(query.limit)
        if query.name is not None:
            statement = statement.where(datasets.c.name == query.name)
        if query.before is not None:
            statement = statement.where(datasets.c.id < query.before)
        return page("datasets", [_dataset(row) for row in self._context.db.rows(statement)], query)

    def show(self, dataset_id: str) -> Response:
        """One version with its counts, what was left out and why, and its files."""
        rows = self._context.db.rows(sa.select(datasets).where(datasets.c.id == whole_number(dataset_id, "dataset id")))
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

    def list(self, query: version_views.VersionQuery) -> Response:
        """One page of versions, with score and verdict."""
        return page("models", version_views.every(self._context, query), query)

    def show(self, version: str) -> Response:
        """One version with lineage, parity, evaluations and history."""
        return answer(version_views.one(self._context, version))


class Experiments:
    """The experiments table as JSON, newest first. Starting and stopping one is done at the command line."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self) -> Response:
        """The latest hundred."""
        return answer({"experiments": version_views.experiments_of(self._context)})

    def show(self, name: str) -> Response:
        """One by its name, with the figures of the last look."""
        return answer(version_views.experiment_named(self._context, name))


class Evaluations:
    """The evaluations with utterances as JSON, newest first."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, query: error_views.EvaluationQuery) -> Response:
        """One page of evaluations."""
        return page("evaluations", error_views.every(self._context, query), query, key="evaluation")

    def show(self, evaluation_id: str) -> Response:
        """One with its scores, its slices, and the evaluations that it can be compared with."""
        return answer(error_views.one(self._context, _number(evaluation_id)))

    def errors(self, evaluation_id: str, query: error_views.ErrorsQuery) -> Response:
        """The errors by how often they were made: words confused, missed and invented."""
        return answer(error_views.errors(self._context, _number(evaluation_id), query))

    def utterances(self, evaluation_id: str, query: error_views.UtterancesQuery) -> Response:
        """One page of utterances, with the rates of everything that the filters let through."""
        return answer(error_views.utterances(self._context, _number(evaluation_id), query))

    def utterance(self, evaluation_id: str, number: str) -> Response:
        """One utterance under every reading."""
        return answer(error_views.utterance(self._context, _number(evaluation_id), whole_number(number, "number")))

    def review(self, evaluation_id: str, number: str) -> Response:
        """`{"reason": "..."}`: one more person gets the utterance's task."""
        reason = json_object().get("reason")
        if not isinstance(reason, str):
            raise InvalidInput("no-reason", "A reason is missing.", "Send a reason.")
        with self._context.db.transaction(wait_s=WAIT_S) as connection:
            asked = review_requests.ask(
                connection, _number(evaluation_id), whole_number(number, "number"), who=g.caller, why=reason
            )
        return answer(asked)


def _number(evaluation_id: str) -> int:
    return whole_number(evaluation_id, "evaluation id")


def _dataset(row: Any) -> dict[str, Any]:
    counts = row.counts or {}
    return {
        "id": row.id, "name": row.name, "version": row.version, "state": row.state, "reason": row.reason,
        "manifest_sha256": row.manifest_sha256, "test_sha256": row.test_sha256, "made_at": row.created_at,
        "rows": counts.get("rows"), "hours": counts.get("hours"), "splits": counts.get("splits"),
    }  # fmt: skip
