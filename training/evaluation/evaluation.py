"""Model version, Dataset -> Evaluation: the version's scores on the test part, made by the serving engine of its kind.

Each row of the test part is stored with its counts, so that two versions can be compared row by row later. A version is
scored once for the same test set, readings and conditions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.errors import InvalidInput, PermanentError, RetryableError
from ml_backend.jobs import devices
from ml_backend.models import kinds
from ml_backend.models.kinds import Kind
from ml_backend.models.registry import Version
from ml_backend.tables import datasets, evaluations
from training.datasets import dataset
from training.evaluation import explorer_rows

TEST = "test"
DETAILS = "utterances.jsonl"
Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation. `utterances` are the kind's rows, with those that the version was trained on; `scores` leaves
    them out."""

    id: int
    version: str
    dataset_id: int
    test_sha256: str
    scores: dict[str, Any]
    utterances: tuple[Any, ...]


def evaluate(
    context: Context,
    version: Version,
    dataset_id: int,
    *,
    again: bool = False,
    report: Report = lambda fraction, note: None,
) -> Evaluation:
    """Score a version on a dataset's test part, or give the existing evaluation. Safe to repeat after a crash."""
    row, kind = context.db.row(datasets, dataset_id), kinds.of(version.kind)
    if row.kind != version.kind:
        raise InvalidInput(
            "wrong-kind", f"{row.name}@{row.version} is a dataset of kind {row.kind}, {version.version} of another.",
            f"Name a dataset of kind {version.kind}: `datasets list`.",
        )  # fmt: skip
    conditions = kind.conditions(context)
    known = None if again else _known(context, version, row.test_sha256, kind, conditions)
    if known is not None:
        return known
    lines = list(dataset.read(context, dataset_id, TEST))
    if not lines:
        sentence = f"{row.name} version {row.version} has no test rows."
        raise PermanentError("no-test-rows", sentence, kind.test_set_missing[1])
    with devices.held(context, devices.here(context.settings.asr_device), f"evaluation-{uuid4().hex}"):
        found = kind.score(context, version, lines, report)
    return keep(context, version, row, {**found.scores, "conditions": conditions}, found.rows)


def find(context: Context, evaluation_id: int) -> Evaluation:
    """An evaluation with its utterances, read back."""
    return _read(context, context.db.row(evaluations, evaluation_id))


def folder_of(version: str, evaluation_id: int) -> str:
    """The folder of an evaluation's files in the bucket."""
    return f"models/{version}/evaluations/{evaluation_id}"


def _known(
    context: Context, version: Version, test_sha256: str, kind: Kind, conditions: dict[str, Any]
) -> Evaluation | None:
    mine = sa.select(evaluations).where(
        evaluations.c.model_version_id == version.id, evaluations.c.test_sha256 == test_sha256,
        evaluations.c.against_version.is_(None), evaluations.c.details_key.is_not(None),
    )  # fmt: skip
    for row in context.db.rows(mine.order_by(evaluations.c.id.desc())):
        if row.normalisers == list(kind.readings) and (row.scores or {}).get("conditions") == conditions:
            return _read(context, row)
    return None


def keep(context: Context, version: Version, row: Any, found: dict[str, Any], rows: Sequence[Any]) -> Evaluation:
    """Store the scores, and the rows beside the version. Scores without rows are an interrupted attempt."""
    kind = kinds.of(version.kind)
    with context.db.transaction() as connection:
        values = {
            "model_version_id": version.id, "dataset_id": row.id, "test_sha256": row.test_sha256,
            "normalisers": list(kind.readings), "scores": found,
        }  # fmt: skip
        made = sa.insert(evaluations).values(**values).returning(evaluations.c.id)
        evaluation_id = int(connection.execute(made).scalar_one())
    key = f"{folder_of(version.version, evaluation_id)}/{DETAILS}"
    context.store.ensure_bucket(context.settings.audio_bucket)
    context.store.put_bytes(context.settings.audio_bucket, key, kind.write_rows(rows))
    if context.db.row(datasets, row.id).state == dataset.SUPERSEDED:
        context.store.delete(context.settings.audio_bucket, key)
        raise RetryableError("erased-meanwhile", "A person in the test set was erased meanwhile.", "Evaluate again.")
    context.db.update(evaluations, evaluation_id, details_key=key)
    explorer_rows.list_evaluation(context, evaluation_id)
    return Evaluation(evaluation_id, version.version, row.id, row.test_sha256, found, tuple(rows))


def _read(context: Context, row: Any) -> Evaluation:
    version = context.db.row(tables.model_versions, row.model_version_id)
    with tempfile.TemporaryDirectory(prefix="kaan-evaluation-") as folder:
        path = Path(folder) / DETAILS
        context.store.fetch(context.settings.audio_bucket, row.details_key, path)
        rows = tuple(kinds.of(version.kind).read_rows(path.read_bytes()))
    return Evaluation(row.id, version.version, row.dataset_id, row.test_sha256, row.scores, rows)
