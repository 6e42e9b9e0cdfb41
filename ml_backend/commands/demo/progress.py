"""Rows -> how far the calls of a demo are, for its screen and for the steps of `learn`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ml_backend.db import Database
from ml_backend.tables import JOB_TROUBLE, jobs, predictions, projects, recordings, tasks

SETTLED = ("annotated", "deleted", "refused")  # a task in one of these needs no draft


@dataclass(frozen=True)
class Progress:
    """Counts of calls read and of tasks drafted and delivered, and the messages of failed jobs."""

    calls: int
    read: int
    tasks: int
    drafted: int
    delivered: int
    trouble: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Every task is in Label Studio, with its draft if it has one."""
        return self.read == self.calls and self.delivered == self.tasks


def of(database: Database, recording_ids: Sequence[int], *, since: datetime) -> Progress:
    """The current state of these recordings and their tasks; failures of an earlier start do not count."""
    found = database.rows(sa.select(recordings.c.state).where(recordings.c.id.in_(recording_ids)))
    mine = with_drafts().where(tasks.c.recording_id.in_(recording_ids), projects.c.state == "attached")
    drafts = database.rows(mine)
    return Progress(
        calls=len(found),
        read=sum(row.state != "found" for row in found),
        tasks=len(drafts),
        drafted=sum(row.prediction_id is not None or row.state in SETTLED for row in drafts),
        delivered=sum(map(delivered, drafts)),
        trouble=gave_up(database, since),
    )


def with_drafts() -> sa.Select[Any]:
    """Tasks over recordings, each with its prediction under the project's draft label."""
    current = sa.and_(predictions.c.task_id == tasks.c.id, predictions.c.draft_label == projects.c.draft_label)
    return (
        sa.select(
            tasks.c.id, tasks.c.state, tasks.c.blind, tasks.c.ls_task_id, recordings.c.object_key,
            recordings.c.id.label("recording_id"), recordings.c.sha256, predictions.c.model_version,
            predictions.c.confirmed_at, predictions.c.body, predictions.c.id.label("prediction_id"),
        )
        .join(recordings, recordings.c.id == tasks.c.recording_id)
        .join(projects, projects.c.id == tasks.c.project_id)
        .outerjoin(predictions, current)
    )  # fmt: skip


def delivered(row: Any) -> bool:
    """Whether a task is in Label Studio, with its draft if it has one."""
    if row.state in SETTLED:
        return True
    return row.state == "open" and row.prediction_id is not None and (row.confirmed_at is not None or row.body == "[]")


def gave_up(database: Database, since: datetime) -> tuple[str, ...]:
    """The messages of jobs that failed for good since then."""
    mine = sa.select(jobs.c.id, jobs.c.name, jobs.c.error).where(
        jobs.c.state.in_(JOB_TROUBLE), jobs.c.finished_at >= since
    )
    return tuple(f"Job {row.id} ({row.name}) gave up: {row.error}" for row in database.rows(mine))
