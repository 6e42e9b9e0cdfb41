"""A project that Label Studio shows no more -> state `missing` with the reason, and work that ends instead of failing.

It was deleted there, or belongs to another user's token, or was never there: anybody may name a project in a request.
Nothing is done for it any more, nothing of it is trouble, and once an hour `sync_project` looks whether it is back: a
restored backup brings it back with everything people did.
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
    "Label Studio shows it no more: it was deleted there, or belongs to another user's token. "
    "`python -m ml_backend project detach {number}` lets it go; if it comes back, it is taken up again."
)
IDLE = (MISSING, "detached")  # states in which nothing is done for a project
_GONE = (CODE, "http-missing", "http-forbidden")
_log = log.get("projects")
Job = Callable[..., None]


def noticed(job: Job) -> Job:
    """A job of one project, by `project_id`: it does nothing for a missing one, and notices that one is."""

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
    """It is missing: its row says so. What waits for it ends with nothing done."""
    reason = _REASON.format(number=project.ls_project_id)
    context.db.update(projects, project.id, state=MISSING, reason_code=CODE, reason=reason)
    _log.warning("project_missing", project=project.ls_project_id)


def back(context: JobContext, project: sa.Row[Any]) -> None:
    """It is there again: it becomes what it was, and everything is compared."""
    steps = (project.attached_changes or {}).get("steps", [])
    attached = any(step["state"] != "undone" for step in steps)
    with context.db.transaction() as connection:
        state = "attached" if attached else "seen"
        db.update(connection, projects, project.id, state=state, reason_code=None, reason=None)
        if attached:
            key = f"{project.id}:1"
            enqueueing.enqueue(connection, job_kinds.COMPARE_ANNOTATIONS, key=key, project_id=project.id, full=1)
    _log.info("project_back", project=project.ls_project_id)
