"""Model version, Dataset -> Evaluation: the version's scores on the test part, transcribed by the serving engine.

Each utterance is stored with its counts, so that two versions can be compared call by call later. A version is scored
once for the same test set, normalisers and decoding.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.asr.engine import Transcriber
from ml_backend.context import Context
from ml_backend.errors import PermanentError, RetryableError
from ml_backend.jobs import devices
from ml_backend.models import registry
from ml_backend.models.registry import Version
from ml_backend.settings import Settings
from ml_backend.tables import datasets, evaluations
from training.datasets import dataset
from training.evaluation import exposure, test_transcription
from training.scoring import scores as utterances
from training.scoring.scores import Utterance, scores
from training.text.readings import CURRENT

TEST = "test"
DETAILS = "utterances.jsonl"
Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation. `utterances` includes those that the version was trained on; `scores` leaves them out."""

    id: int
    version: str
    dataset_id: int
    test_sha256: str
    scores: dict[str, Any]
    utterances: tuple[Utterance, ...]


def evaluate(
    context: Context,
    version: Version,
    dataset_id: int,
    *,
    again: bool = False,
    report: Report = lambda fraction, note: None,
) -> Evaluation:
    """Score a version on a dataset's test part, or give the existing evaluation. Safe to repeat after a crash."""
    row = context.db.row(datasets, dataset_id)
    conditions = conditions_of(context.settings)
    known = None if again else _known(context, version, row.test_sha256, conditions)
    if known is not None:
        return known
    lines = list(dataset.read(context, dataset_id, TEST))
    if not lines:
        raise PermanentError(
            "no-test-rows", f"{row.name} version {row.version} has no test rows.",
            "Have tasks of the blind audit annotated (AUDIT_SHARE, `project add --blind-share`), then export anew.",
        )  # fmt: skip
    location = registry.verified(context, version)
    with devices.held(context, devices.here(context.settings.asr_device), f"evaluation-{uuid4().hex}"):
        engine = Transcriber.load(location, settings=context.settings, model_version=version.version)
        fit, quiet = test_transcription.self_check(engine), test_transcription.on_silence(engine, context.settings)
        transcribed, speed, gone = test_transcription.transcribe_test_set(context, engine, lines, report)
    learnt = exposure.by(context, version)
    unseen = [u for u in transcribed if not learnt.has(audio_sha256=u.audio_sha256, call=u.call, caller=u.caller)]
    found = {
        **scores(unseen), "self_check": fit, "silence": quiet, "speed": speed,
        "conditions": conditions, "left_out": {"learnt_from": len(transcribed) - len(unseen), "audio_missing": gone},
    }  # fmt: skip
    return keep(context, version, row, found, transcribed)


def find(context: Context, evaluation_id: int) -> Evaluation:
    """An evaluation with its utterances, read back."""
    return _read(context, context.db.row(evaluations, evaluation_id))


def folder_of(version: str, evaluation_id: int) -> str:
    """The folder of an evaluation's files in the bucket."""
    return f"models/{version}/evaluations/{evaluation_id}"


def _known(context: Context, version: Version, test_sha256: str, conditions: dict[str, Any]) -> Evaluation | None:
    mine = sa.select(evaluations).where(
        evaluations.c.model_version_id == version.id, evaluations.c.test_sha256 == test_sha256,
        evaluations.c.against_version.is_(None), evaluations.c.details_key.is_not(None),
    )  # fmt: skip
    for row in context.db.rows(mine.order_by(evaluations.c.id.desc())):
        if row.normalisers == list(CURRENT) and (row.scores or {}).get("conditions") == conditions:
            return _read(context, row)
    return None


def keep(
    context: Context, version: Version, row: Any, found: dict[str, Any], transcribed: Sequence[Utterance]
) -> Evaluation:
    """Store the row, and the utterances beside the version. A row without utterances is an interrupted attempt."""
    with context.db.transaction() as connection:
        values = {
            "model_version_id": version.id, "dataset_id": row.id, "test_sha256": row.test_sha256,
            "normalisers": list(CURRENT), "scores": found,
        }  # fmt: skip
        made = sa.insert(evaluations).values(**values).returning(evaluations.c.id)
        evaluation_id = int(connection.execute(made).scalar_one())
    key = f"{folder_of(version.version, evaluation_id)}/{DETAILS}"
    context.store.ensure_bucket(context.settings.audio_bucket)
    context.store.put_bytes(context.settings.audio_bucket, key, utterances.write(transcribed))
    if context.db.row(datasets, row.id).state == dataset.SUPERSEDED:
        context.store.delete(context.settings.audio_bucket, key)
        raise RetryableError("erased-meanwhile", "A person in the test set was erased meanwhile.", "Evaluate again.")
    context.db.update(evaluations, evaluation_id, details_key=key)
    return Evaluation(evaluation_id, version.version, row.id, row.test_sha256, found, tuple(transcribed))


def _read(context: Context, row: Any) -> Evaluation:
    name = context.db.row(tables.model_versions, row.model_version_id).version
    with tempfile.TemporaryDirectory(prefix="kaan-evaluation-") as folder:
        path = Path(folder) / DETAILS
        context.store.fetch(context.settings.audio_bucket, row.details_key, path)
        transcribed = tuple(utterances.read(path.read_bytes()))
    return Evaluation(row.id, name, row.dataset_id, row.test_sha256, row.scores, transcribed)


def conditions_of(settings: Settings) -> dict[str, Any]:
    """The conditions that must be equal for scores and speeds to be comparable."""
    return {
        "language": "heard", "beam_size": settings.asr_beam_size, "device": settings.asr_device,
        "compute_type": settings.asr_compute_type, "machine": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
    }  # fmt: skip
