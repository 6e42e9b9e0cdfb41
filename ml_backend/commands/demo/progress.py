"""How far the calls are on their way into Label Studio, read from the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ml_backend.db import Database
from ml_backend.tables import jobs, predictions, projects, recordings, tasks

_SETTLED = ("annotated", "deleted", "refused")  # a task in one of these waits for nothing


@dataclass(frozen=True)
class Progress:
    """Counts of calls read and of tasks drafted and delivered, and the sentences of jobs that gave up."""

    calls: int
    read: int
    tasks: int
    drafted: int
    delivered: int
    trouble: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Every task is in Label Studio with what there is to show."""
        return self.read == self.calls and self.delivered == self.tasks


def of(database: Database, recording_ids: Sequence[int], *, since: datetime) -> Progress:
    """The state of these recordings and their tasks now; trouble of an earlier start is not counted."""
    found = database.rows(sa.select(recordings.c.state).where(recordings.c.id.in_(recording_ids)))
    drafts = database.rows(
        sa.select(tasks.c.state, predictions.c.id, predictions.c.confirmed_at, predictions.c.body)
        .join(projects, projects.c.id == tasks.c.project_id)
        .outerjoin(
            predictions,
            sa.and_(predictions.c.task_id == tasks.c.id, predictions.c.draft_label == projects.c.draft_label),
        )
        .where(tasks.c.recording_id.in_(recording_ids), projects.c.state == "attached")
    )
    drafted = [row for row in drafts if row.id is not None or row.state in _SETTLED]
    delivered = [
        row
        for row in drafted
        if row.state in _SETTLED or (row.state == "open" and (row.confirmed_at is not None or row.body == "[]"))
    ]
    gave_up = database.rows(
        sa.select(jobs.c.id, jobs.c.name, jobs.c.error).where(
            jobs.c.state.in_(("failed", "quarantined")), jobs.c.finished_at >= since
        )
    )
    return Progress(
        calls=len(found),
        read=sum(row.state != "found" for row in found),
        tasks=len(drafts),
        drafted=len(drafted),
        delivered=len(delivered),
        trouble=tuple(f"Job {row.id} ({row.name}) gave up: {row.error}" for row in gave_up),
    )
