"""The progress of the loop, read from the database. Every step checks it before it acts and waits for it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.commands.demo import progress
from ml_backend.context import Context
from ml_backend.tables import (
    datasets,
    evaluations,
    model_versions,
    projects,
    recordings,
    runs,
    samples,
    tasks,
    transcriptions,
)

RESUMED = ("waiting", "running", "interrupted", "trained")  # states of a run that `train resume` takes up


@dataclass(frozen=True)
class StoredVerdict:
    """The gate's verdict stored with a version."""

    champion: str
    outcome: str
    words: tuple[str, ...]
    report_key: str


def project(context: Context, title: str) -> sa.Row[Any] | None:
    """The project of this title that we attached."""
    mine = sa.select(projects).where(
        projects.c.instance_url == context.settings.label_studio_url,
        projects.c.title == title,
        projects.c.state == "attached",
    )
    found = context.db.rows(mine.order_by(projects.c.id))
    return found[0] if found else None


def rows(context: Context, project_id: int, keys: Sequence[str]) -> list[sa.Row[Any]]:
    """Our tasks over these objects, with their current predictions."""
    mine = progress.with_drafts().where(tasks.c.project_id == project_id, recordings.c.object_key.in_(keys))
    return list(context.db.rows(mine.order_by(recordings.c.object_key)))


def sampled(context: Context, project_id: int) -> tuple[int, int, dict[str, int]]:
    """(tasks that were made into samples, accepted samples, samples left out by reason)."""
    mine = samples.c.project_id == project_id
    number = sa.select(sa.func.count(sa.distinct(samples.c.task_id))).where(mine)
    states = sa.select(samples.c.state, samples.c.reason_code, sa.func.count()).where(mine)
    with context.db.reading() as connection:
        of_tasks = int(connection.execute(number).scalar_one())
        counted = connection.execute(states.group_by(samples.c.state, samples.c.reason_code)).all()
    accepted = sum(int(row[2]) for row in counted if row[0] == "accepted")
    return of_tasks, accepted, {str(row[1]): int(row[2]) for row in counted if row[0] != "accepted"}


def dataset(context: Context, name: str) -> sa.Row[Any] | None:
    """The latest version of a dataset that can be used."""
    mine = sa.select(datasets).where(datasets.c.name == name, datasets.c.state == "ready")
    found = context.db.rows(mine.order_by(datasets.c.version.desc()).limit(1))
    return found[0] if found else None


def run(context: Context, dataset_id: int) -> sa.Row[Any] | None:
    """The latest training run on a dataset that is done or can continue with `train resume`."""
    alive = sa.and_(runs.c.dataset_id == dataset_id, runs.c.state.in_(("done", *RESUMED)))
    found = context.db.rows(sa.select(runs).where(alive).order_by(runs.c.id.desc()).limit(1))
    return found[0] if found else None


def version(context: Context, run_id: int) -> sa.Row[Any] | None:
    """The model version a run has made."""
    found = context.db.rows(sa.select(model_versions).where(model_versions.c.run_id == run_id))
    return found[0] if found else None


def verdict(context: Context, version_id: int) -> StoredVerdict | None:
    """The last verdict about a version."""
    mine = sa.select(evaluations).where(
        evaluations.c.model_version_id == version_id,
        evaluations.c.verdict.is_not(None),
        evaluations.c.report_key.is_not(None),
    )
    found = context.db.rows(mine.order_by(evaluations.c.id.desc()).limit(1))
    if not found:
        return None
    said = tuple((found[0].scores or {}).get("words_said") or ())
    return StoredVerdict(str(found[0].against_version), str(found[0].verdict), said, str(found[0].report_key))


def champion(context: Context) -> str | None:
    """The version that serves every language."""
    mine = (
        sa.select(model_versions.c.version)
        .join(tables.aliases, tables.aliases.c.model_version_id == model_versions.c.id)
        .where(tables.aliases.c.kind == "asr", tables.aliases.c.language == "*", tables.aliases.c.alias == "champion")
    )
    found = context.db.rows(mine)
    return str(found[0].version) if found else None


def transcribed(context: Context, sha256s: Sequence[str], model_version: str) -> dict[str, dict[str, Any]]:
    """One version's transcripts of these recordings, by SHA-256 of the audio."""
    mine = sa.select(transcriptions.c.audio_sha256, transcriptions.c.transcript).where(
        transcriptions.c.audio_sha256.in_(sha256s), transcriptions.c.model_version == model_version
    )
    return {str(row.audio_sha256): dict(row.transcript) for row in context.db.rows(mine.order_by(transcriptions.c.id))}
