"""A project that Label Studio no longer shows -> state `missing` with the reason; its jobs end without failing.

The project was deleted, or belongs to another user's token, or never existed: a request may name any project. Nothing
is done for it and it raises no alarm. `sync_project` looks for it once an hour: a restored backup brings a project back
with all its annotations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from ml_backend import db, log
from ml_backend.context import JobContext
from ml_backend.errors import PermanentError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import projects
from sync.label_studio.label_studio_client import client_of

MISSING = "missing"
CODE = "project-missing"
_REASON = (
    "Label Studio no longer shows it: it was deleted there, or belongs to another user's token. "
    "`python -m ml_backend project detach {number}` detaches it; if it comes back, it is used again."
)
IDLE = (MISSING, "detached")  # states in which nothing is done for a project
_GONE = (CODE, "http-missing", "http-forbidden")
_log = log.get("projects")
Job = Callable[..., None]


def noticed(job: Job) -> Job:
    """Wrap a job of one project (`project_id`): skip a missing project, and mark one that turns out to be missing."""

    @functools.wraps(job)
    def watched(context: JobContext, project_id: int, *more: Any, **options: Any) -> None:
        project = context.db.row(projects, project_id)
        if project.state in IDLE:
            return
        try:
            job(context, project_id, *more, **options)
        except PermanentError as error:
            if error.code not in _GONE or is_there(context, project):
                raise
            mark(context, project)

    return watched


def is_there(context: JobContext, project: sa.Row[Any]) -> bool:
    """Whether Label Studio shows the project to us."""
    try:
        client_of(context).project(project.ls_project_id)
    except PermanentError as error:
        if error.code not in _GONE:
            raise
        return False
    return True


def mark(context: JobContext, project: sa.Row[Any]) -> None:
    """Mark the project missing. Jobs that wait for it end with nothing done."""
    reason = _REASON.format(number=project.ls_project_id)
    context.db.update(projects, project.id, state=MISSING, reason_code=CODE, reason=reason)
    _log.warning("project_missing", project=project.ls_project_id)


def back(context: JobContext, project: sa.Row[Any]) -> None:
    """Restore the project's earlier state and compare everything again."""
    steps = (project.attached_changes or {}).get("steps", [])
    attached = any(step["state"] != "undone" for step in steps)
    with context.db.transaction() as connection:
        state = "attached" if attached else "seen"
        db.update(connection, projects, project.id, state=state, reason_code=None, reason=None)
        if attached:
            key = f"{project.id}:1"
            enqueueing.enqueue(connection, job_kinds.COMPARE_ANNOTATIONS, key=key, project_id=project.id, full=1)
    _log.info("project_back", project=project.ls_project_id)
