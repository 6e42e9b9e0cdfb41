"""The progress of the loop, read from the database. Every step checks it before it acts and waits for it afterwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.commands.demo import progress
from ml_backend.context import Context
from ml_backend.labelling.utterance_marks import CORRECTION, INTENT
from ml_backend.tables import (
    datasets,
    evaluations,
    model_versions,
    predictions,
    projects,
    recordings,
    runs,
    samples,
    tasks,
    transcriptions,
    utterances,
    voice_clips,
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


def champion(context: Context, kind: str) -> str | None:
    """The version of a kind that serves every language."""
    mine = (
        sa.select(model_versions.c.version)
        .join(tables.aliases, tables.aliases.c.model_version_id == model_versions.c.id)
        .where(tables.aliases.c.kind == kind, tables.aliases.c.language == "*", tables.aliases.c.alias == "champion")
    )
    found = context.db.rows(mine)
    return str(found[0].version) if found else None


def transcribed(context: Context, sha256s: Sequence[str], model_version: str) -> dict[str, dict[str, Any]]:
    """One version's transcripts of these recordings, by SHA-256 of the audio."""
    mine = sa.select(transcriptions.c.audio_sha256, transcriptions.c.transcript).where(
        transcriptions.c.audio_sha256.in_(sha256s), transcriptions.c.model_version == model_version
    )
    return {str(row.audio_sha256): dict(row.transcript) for row in context.db.rows(mine.order_by(transcriptions.c.id))}


def utterances_there(context: Context, texts: Sequence[str]) -> int:
    """How many of these utterances were imported."""
    mine = sa.select(sa.func.count(sa.distinct(utterances.c.text))).where(
        utterances.c.text.in_(texts), utterances.c.source != CORRECTION
    )
    return int(context.db.scalars(mine)[0])


def asked(context: Context, project_id: int, texts: Sequence[str]) -> list[sa.Row[Any]]:
    """The tasks over these utterances, each with its prediction under the project's draft label."""
    current = sa.and_(predictions.c.task_id == tasks.c.id, predictions.c.draft_label == projects.c.draft_label)
    mine = (
        sa.select(
            tasks.c.id, tasks.c.state, tasks.c.blind, tasks.c.ls_task_id, tasks.c.data_value,
            predictions.c.model_version, predictions.c.confirmed_at, predictions.c.body,
            predictions.c.id.label("prediction_id"),
        )
        .join(projects, projects.c.id == tasks.c.project_id)
        .outerjoin(predictions, current)
        .where(tasks.c.project_id == project_id, tasks.c.data_value.in_(texts))
    )  # fmt: skip
    return list(context.db.rows(mine.order_by(tasks.c.id)))


def corrections(context: Context, project_id: int) -> int:
    """Utterances of a project that people corrected."""
    mine = (
        sa.select(sa.func.count())
        .select_from(utterances)
        .join(tasks, tasks.c.id == utterances.c.task_id)
        .where(tasks.c.project_id == project_id, utterances.c.source == CORRECTION)
    )
    return int(context.db.scalars(mine)[0])


def drafted_intents(context: Context, task_ids: Sequence[int], versions: Sequence[str]) -> dict[tuple[int, str], str]:
    """The intent in each version's draft of each task, by (task, version)."""
    mine = sa.select(predictions.c.task_id, predictions.c.model_version, predictions.c.body).where(
        predictions.c.task_id.in_(task_ids), predictions.c.model_version.in_(versions)
    )
    found = {}
    for row in context.db.rows(mine.order_by(predictions.c.id)):
        body = json.loads(row.body)
        for item in body.get("result", ()) if isinstance(body, dict) else ():
            if item["from_name"] == INTENT:
                found[row.task_id, row.model_version] = str(item["value"]["choices"][0])
    return found


def clips(context: Context) -> dict[str, int]:
    """Clips of voices that passed the checks: recordings, their degraded copies, and what our voices say (`own`)."""
    mine = sa.select(voice_clips.c.role, sa.func.count(sa.distinct(voice_clips.c.text_key)))
    accepted = mine.where(voice_clips.c.state == "accepted", voice_clips.c.recording_id.is_not(None))
    with context.db.reading() as connection:
        found = {str(role or "own"): int(number) for role, number in connection.execute(accepted.group_by("role"))}
    return {role: found.get(role, 0) for role in ("own", "reference", "degraded")}


def rated_tasks(context: Context, project_id: int) -> list[sa.Row[Any]]:
    """The tasks of a rating project."""
    return list(context.db.rows(progress.with_drafts().where(tasks.c.project_id == project_id).order_by(tasks.c.id)))


def ratings(context: Context, project_id: int) -> int:
    """Annotations of a project that came back."""
    mine = sa.select(sa.func.count(sa.distinct(tables.annotations.c.ls_annotation_id)))
    return int(context.db.scalars(mine.where(tables.annotations.c.project_id == project_id))[0])
