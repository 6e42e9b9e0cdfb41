"""Synthetic voice with its text -> Task in the project that rates it.

The voice is ours and its text is known, so it is neither transcribed nor drafted: people listen, read the text and
rate. Order is by a hash, so that the rated part is a random sample. Pairs beyond the project's limit of open tasks wait
for the next run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db
from ml_backend.context import JobContext
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig
from ml_backend.tables import projects, recordings, tasks
from sync.drafts import drafts, recording_route
from sync.tasks.choices import policy_of
from sync.tasks.task_creation import TaskRequest, request_task

ROUTING = {"synthetic": True}  # of a rating project: it takes only synthetic voice, and no other project does
REASON = "rating"
PER_TRANSACTION = 20
_NOBODY = "none"  # the model version of a task without a draft


def rates(project: Any) -> bool:
    """Whether this is a rating project."""
    return labelconfig.parse(project.label_config or "").rates


def feed_ratings(context: JobContext, project_id: int) -> None:
    """Make tasks of waiting pairs, up to the project's limit. Safe to repeat."""
    after = 0
    while True:
        with context.db.transaction() as connection:
            project = connection.execute(sa.select(projects).where(projects.c.id == project_id)).one()
            if project.state != "attached" or not rates(project):
                return
            room = policy_of(project.selection, context.settings).max_open - _open_tasks(connection, project_id)
            found = _pairs(connection, project_id, after) if room > 0 else []
            for recording in found[:room]:
                taker = recording_route.home_of(connection, recording).project
                if taker is not None and taker.id == project_id:
                    db.update(connection, recordings, recording.id, project_id=project_id)
                    _want(connection, context, project, recording)
            if found:
                enqueueing.enqueue(connection, job_kinds.CREATE_TASKS, key=str(project_id), project_id=project_id)
        if not found:
            return
        after = int(found[-1].id)


def _pairs(connection: Connection, project_id: int, after: int) -> Sequence[sa.Row[Any]]:
    """Ready voice with a text and without a task in this project."""
    here = sa.select(tasks.c.id).where(tasks.c.recording_id == recordings.c.id, tasks.c.project_id == project_id)
    waiting = sa.select(recordings).where(
        recordings.c.synthetic, recordings.c.state == "ready", recordings.c.known_text.is_not(None), ~here.exists()
    )
    waiting = waiting.where(recordings.c.id > after).order_by(recordings.c.id).limit(PER_TRANSACTION)
    return connection.execute(waiting).all()


def _want(connection: Connection, context: JobContext, project: sa.Row[Any], recording: sa.Row[Any]) -> None:
    """Request a task without a draft."""
    wish = TaskRequest(reason=REASON, probability=1.0, usefulness=_place(project, recording), blind=True)
    task_id, new = request_task(connection, project, recording, wish=wish)
    if not new:
        return
    task = connection.execute(sa.select(tasks).where(tasks.c.id == task_id)).one()
    made = drafts.render(connection, context.settings, project, task, recording, model_version=_NOBODY)
    if made is not None:
        drafts.store(connection, made)
    db.update(connection, tasks, task_id, status_line=None)


def _open_tasks(connection: Connection, project_id: int) -> int:
    mine = sa.and_(tasks.c.project_id == project_id, tasks.c.origin == "ours", tasks.c.state.in_(drafts.OPEN))
    return int(connection.execute(sa.select(sa.func.count()).select_from(tasks).where(mine)).scalar_one())


def _place(project: sa.Row[Any], recording: sa.Row[Any]) -> float:
    """0..1 by hash: a random order that is the same each time."""
    text = f"{recording.sha256}|{project.id}|{REASON}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
