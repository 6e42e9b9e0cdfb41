"""Tasks whose samples are out of date -> one job each: after a rule of the project changed, or when news was lost."""

from __future__ import annotations

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import JobContext
from ml_backend.jobs import enqueueing, job_kinds, schedules

PER_TRANSACTION = 50


def sample_project(context: JobContext, project_id: int, everything: int = 0) -> None:
    """Decide a project's samples anew: of every task with annotations, or of those nobody has looked at."""
    task, annotation = tables.tasks, tables.annotations
    alive = sa.exists().where(annotation.c.task_id == task.c.id, annotation.c.deleted_at.is_(None))
    concerned = alive if everything else alive.where(schedules.not_sampled())
    last = 0
    while True:
        page = sa.select(task.c.id).where(task.c.project_id == project_id, task.c.id > last, concerned)
        with context.db.transaction() as connection:
            ids = list(connection.execute(page.order_by(task.c.id).limit(PER_TRANSACTION)).scalars())
            enqueueing.enqueue_many(connection, job_kinds.SAMPLE_TASK, "task_id", ids, priority=job_kinds.BULK)
        if len(ids) < PER_TRANSACTION:
            return
        last = ids[-1]
