"""Webhook event -> Annotation: a person's work, read back from the API and stored once per change.

A webhook's body only says where to look (design D4). Its shape differs by action (`ANNOTATIONS_CREATED` holds lists,
deletions hold ids and no task), and unknown actions are ignored. Many annotations at once, as "Create annotations from
predictions" makes them, are read by their tasks: one request for hundreds of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import PermanentError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import events, projects, tasks
from sync.annotations import annotation_origins
from sync.annotations.annotation_rows import WEBHOOK, FoundAnnotation, keep, mark_deleted, mark_tasks_gone
from sync.label_studio.label_studio_client import client_of

IDS_PER_JOB = 500
TOGETHER = 50  # jobs in one transaction
ONE_BY_ONE = 20  # up to so many annotations of one event are fetched individually
IDS_END = 2**63  # a database's limit


def read_event(context: JobContext, event_id: int) -> None:
    """One stored webhook request -> the jobs that read from the API. Safe to repeat."""
    event = context.db.row(events, event_id)
    if event.state != "new":
        return
    body = _body(event.body)
    if body is None:
        context.db.update(
            events, event_id, state="unreadable", reason_code="not-json", reason="The body is not a JSON object."
        )
        return
    with context.db.reading() as connection:
        project = _project(connection, context, body)
    code, reason = None, None
    if project is None:
        code, reason = "unknown-project", "The event belongs to no project we serve."
    else:
        _follow(context, project, str(body.get("action") or event.action or ""), body)
    context.db.update(events, event_id, state="read", reason_code=code, reason=reason)


def read_annotation(context: JobContext, project_id: int, ls_annotation_id: int) -> None:
    """Fetch one annotation and store it; mark it deleted if it is gone."""
    project = context.db.row(projects, project_id)
    client, read_at = client_of(context), tables.now()
    try:
        annotation = client.annotation(ls_annotation_id)
    except PermanentError as error:
        if error.code != "http-missing":
            raise
        mark_deleted(context, project.id, [ls_annotation_id], before=read_at)
        return
    if annotation.get("project") not in (None, project.ls_project_id):
        return
    ls_task_id = int(annotation.get("task") or 0)
    mine = sa.select(tasks).where(tasks.c.project_id == project.id, tasks.c.ls_task_id == ls_task_id)
    with context.db.reading() as connection:
        task = connection.execute(mine).first()
        ask = annotation_origins.needs_list(connection, task, annotation)
    found = FoundAnnotation(annotation, WEBHOOK, read_at, client.predictions(ls_task_id) if ask else None)
    with context.db.transaction() as connection:
        keep(connection, project, task, found)
    if task is None and ls_task_id:
        _find(context, project, [ls_task_id])


def _follow(context: Context, project: sa.Row[Any], action: str, body: Mapping[str, Any]) -> None:
    """Do what an action requires; unknown ones require nothing. An event may name any number of ids."""
    if action == "TASKS_CREATED":
        _find(context, project, _ids(body.get("tasks")))
    elif action == "TASKS_DELETED":
        mark_tasks_gone(context, project.id, _ids(body.get("tasks")))
    elif action in ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED"):
        ids, of_tasks = _ids(body.get("annotation")), _ids(body.get("task"))
        if len(ids) > ONE_BY_ONE and of_tasks:
            _find(context, project, of_tasks)
            return
        for begin in range(0, len(ids), TOGETHER):
            with context.db.transaction() as connection:
                for annotation_id in ids[begin : begin + TOGETHER]:
                    enqueueing.enqueue(
                        connection,
                        job_kinds.READ_ANNOTATION,
                        key=f"{project.id}:{annotation_id}",
                        project_id=project.id,
                        ls_annotation_id=annotation_id,
                    )
    elif action == "ANNOTATIONS_DELETED":
        mark_deleted(context, project.id, _ids(body.get("annotations")))
    elif action == "PROJECT_UPDATED":
        with context.db.transaction() as connection:
            enqueueing.enqueue(connection, job_kinds.SYNC_PROJECT, key=str(project.id), project_id=project.id)


def _find(context: Context, project: sa.Row[Any], task_ids: list[int]) -> None:
    """Enqueue jobs that read these tasks with their annotations, some hundred in each."""
    for begin in range(0, len(task_ids), IDS_PER_JOB):
        some = task_ids[begin : begin + IDS_PER_JOB]
        name = str(some[0]) if len(some) == 1 else hashlib.sha256(repr(some).encode()).hexdigest()[:16]
        key = f"{project.id}:{name}"
        with context.db.transaction() as connection:
            enqueueing.enqueue(connection, job_kinds.FIND_TASKS, key=key, project_id=project.id, task_ids=some)


def _project(connection: Connection, context: Context, body: Mapping[str, Any]) -> sa.Row[Any] | None:
    """The project of an event, always on our own Label Studio, whatever host the body names."""
    stated = body.get("project")
    ls_id = stated.get("id") if isinstance(stated, Mapping) else stated
    if not _is_id(ls_id):
        return None
    statement = sa.select(projects).where(
        projects.c.instance_url == context.settings.label_studio_url,
        projects.c.ls_project_id == ls_id,
        projects.c.state != "detached",
    )
    return connection.execute(statement).first()


def _body(raw: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _ids(value: Any) -> list[int]:
    """The ids in one row, a list of rows or a list of ids, depending on the action."""

    def each(entry: Any) -> Iterator[int]:
        if isinstance(entry, list):
            for one in entry:
                yield from each(one)
        elif isinstance(entry, Mapping):
            yield from each(entry.get("id"))
        elif _is_id(entry):
            yield entry

    return sorted(set(each(value)))


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 < value < IDS_END  # JSON's true is an int too
