"""An annotation that asks for a draft in another language -> the task, open again, with that draft.

The language was detected wrongly, so the draft and the annotation are useless. The choice `redraft` of the labelling
config names the language. The recording stores it (`recordings.language_asked`), the drafts of all its open tasks are
withdrawn, it is transcribed again, and the annotation is deleted in Label Studio, so that the task can be done. Its row
stays here.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import JobContext
from ml_backend.errors import PermanentError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.languages import name_of
from ml_backend.tables import annotations as written
from ml_backend.tables import recordings, tasks
from sync.annotations.annotation_rows import mark_deleted
from sync.drafts.drafts import bump
from sync.label_studio.label_studio_client import client_of
from sync.recordings import recording_language
from sync.tasks import prediction_push


def draft_again(context: JobContext, project_id: int, ls_annotation_id: int) -> None:
    """Do what one annotation asks for. Safe to repeat: finished steps are skipped."""
    mine = sa.and_(written.c.project_id == project_id, written.c.ls_annotation_id == ls_annotation_id)
    rows = context.db.rows(sa.select(written).where(mine, tables.newest_version()))
    if not rows or rows[0].task_id is None:
        return
    row, task = rows[0], context.db.row(tasks, rows[0].task_id)
    language = row.redraft
    if language is None or task.recording_id is None or task.blind or task.reason_code == "erased":
        return
    client = client_of(context)
    with context.db.transaction() as connection:
        db.update(connection, recordings, task.recording_id, language_asked=language)
    for other in _waiting(context, task):
        prediction_push.withdraw(context, client, other)
    with context.db.transaction() as connection:
        line = f"draft in {name_of(language)} coming"
        for other in _waiting(context, task):
            db.update(connection, tasks, other.id, status_line=line, reason_code=None, reason=None)
            bump(connection, other.project_id)
            enqueueing.enqueue(
                connection, job_kinds.PUSH_PREDICTIONS, key=str(other.project_id), project_id=other.project_id
            )
        enqueueing.enqueue(
            connection, job_kinds.TRANSCRIBE_RECORDING, key=str(task.recording_id), priority=job_kinds.WAITED_FOR,
            recording_id=task.recording_id,
        )  # fmt: skip
    try:
        client.delete_annotation(ls_annotation_id)
    except PermanentError as error:
        if error.code != "http-missing":
            raise
    mark_deleted(context, project_id, [ls_annotation_id])
    with context.db.transaction() as connection:
        recording_language.settle(connection, task.recording_id)


def _waiting(context: JobContext, task: sa.Row[Any]) -> list[sa.Row[Any]]:
    """The recording's unfinished tasks, this one first, without blind ones, which have no draft."""
    here = sa.select(tasks).where(tasks.c.recording_id == task.recording_id, tasks.c.ls_task_id.is_not(None))
    unfinished = sa.or_(tasks.c.id == task.id, tasks.c.state == "open")
    return list(context.db.rows(here.where(unfinished, tasks.c.blind.is_(False)).order_by(tasks.c.id != task.id)))
