"""Superseded recording -> its open tasks deleted in Label Studio, except those that somebody has worked on.

A task with an annotation stays with it: nothing that a person wrote is removed. It teaches nothing (`sample_use`).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ml_backend import db
from ml_backend.calls import ledger, superseding
from ml_backend.calls.states import SUPERSEDED
from ml_backend.context import JobContext
from ml_backend.errors import PermanentError
from ml_backend.tables import projects, recordings, tasks
from sync.drafts import drafts
from sync.label_studio.label_studio_client import LabelStudioClient, client_of


def withdraw_tasks(context: JobContext, recording_id: int) -> None:
    """Delete the open tasks of a superseded recording. Safe to repeat."""
    recording = context.db.row(recordings, recording_id)
    open_ = sa.and_(tasks.c.recording_id == recording_id, tasks.c.state == "open", tasks.c.ls_task_id.is_not(None))
    if recording.state != SUPERSEDED:
        return
    for task in context.db.rows(sa.select(tasks).where(open_).order_by(tasks.c.id)):
        project = context.db.row(projects, task.project_id)
        if project.instance_url != context.settings.label_studio_url or not _delete(client_of(context), task):
            continue
        with context.db.transaction() as connection:
            here = sa.select(recordings.c.state).where(recordings.c.id == recording_id).with_for_update()
            gone: dict[str, Any] = {
                "state": "deleted", "reason_code": SUPERSEDED, "reason": superseding.WITHDRAWN,
            }  # fmt: skip
            if connection.execute(here).scalar_one() != SUPERSEDED:  # it is worked on again: so is its task
                gone = {"state": "wanted", "ls_task_id": None, "reason_code": None, "reason": None}
            db.update(connection, tasks, task.id, **gone)
            drafts.bump(connection, project.id)
            ledger.recording_moved(connection, recording_id)


def _delete(client: LabelStudioClient, task: Any) -> bool:
    """Whether the task is gone now; False when somebody has worked on it."""
    try:
        if client.annotations(task.ls_task_id) or client.saved_drafts(task.ls_task_id):
            return False
        client.delete_task(task.ls_task_id)
    except PermanentError as error:
        if error.code != "http-missing":
            raise
    return True
