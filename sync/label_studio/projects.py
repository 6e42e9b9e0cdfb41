"""One Label Studio project as our row knows it, and its re-drafting.

A change of config or of decoding wishes makes drafts stale. They are never changed in place, because Label Studio
keeps every prediction it was given: all open tasks are drafted again under the next draft label, pushed, and only when
each has its new prediction does the label move, in Label Studio first and then here. Until then people see the old
drafts.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, jobs, tables
from ml_backend.context import Context, JobContext
from ml_backend.labelling import labelconfig
from ml_backend.labelling.decoding import CONTEXT_CUT
from ml_backend.routing import Routes
from ml_backend.tables import predictions, projects, recordings, tasks
from sync.drafting import drafts
from sync.drafting.profiles import problems_of
from sync.drafting.routes import route_of
from sync.label_studio.changes import show_label
from sync.label_studio.client import LabelStudioClient, client_of


def project_of(connection: Connection, instance_url: str, ls_project_id: int) -> sa.Row[Any] | None:
    """Our row of a Label Studio project."""
    statement = sa.select(projects).where(
        projects.c.instance_url == instance_url, projects.c.ls_project_id == ls_project_id
    )
    return connection.execute(statement).first()


def sync_project(context: JobContext, project_id: int) -> None:
    """Read title, config and extra parameters back from Label Studio; what changed decides what follows."""
    project = context.db.row(projects, project_id)
    if project.state == "detached":
        return
    client = client_of(context)
    there = client.project(project.ls_project_id)
    config = str(there.get("label_config") or "")
    extra, problem = _extra_params(client, project, context.settings.public_url)
    controls = labelconfig.parse(config)
    reason = problem or " ".join(controls.problems) or None
    code = "extra-params-invalid" if problem else "config-unusable" if controls.problems else None
    if code is None and project.reason_code == CONTEXT_CUT and extra in (None, project.extra_params):
        code, reason = project.reason_code, project.reason  # the model has told it, and nothing has changed since
    changes: dict[str, Any] = {
        "title": str(there.get("title") or "")[:500],
        "reason_code": code,
        "reason": reason,
        "checked_at": tables.now(),
    }
    with context.db.transaction() as connection:
        project = connection.execute(sa.select(projects).where(projects.c.id == project_id)).one()
        digest = labelconfig.digest(config)
        if digest != project.config_sha256:
            changes |= {"label_config": config, "config_sha256": digest}
        if extra is not None and extra != project.extra_params:
            changes["extra_params"] = extra
        db.update(connection, projects, project_id, **changes)
        if "config_sha256" in changes or "extra_params" in changes:
            drafts.bump(connection, project_id)
            jobs.enqueue(connection, jobs.REDRAFT_PROJECT, key=str(project_id), project_id=project_id)
        jobs.enqueue(connection, jobs.FIND_TASKS, key=str(project_id), priority=jobs.BULK, project_id=project_id)


def _extra_params(
    client: LabelStudioClient, project: sa.Row[Any], public_url: str
) -> tuple[dict[str, Any] | None, str | None]:
    """The backend record's extra parameters, None when the project has no backend of ours; and what is wrong."""
    backends = client.ml_backends(project.ls_project_id)
    mine = [backend for backend in backends if backend["id"] == project.ml_backend_id]
    mine = mine or [backend for backend in backends if backend["url"].rstrip("/") == public_url]
    if not mine:
        return None, None
    return problems_of(mine[0].get("extra_params"))


def redraft_project(context: JobContext, project_id: int) -> None:
    """Draft stale open tasks again under the next label, and move the label when all are there. Safe to repeat.

    Called whenever something may have changed; finds out by itself whether anything has.
    """
    project = context.db.row(projects, project_id)
    if project.state == "detached":
        return
    routes = Routes(context)
    with context.db.transaction() as connection:
        project = connection.execute(sa.select(projects).where(projects.c.id == project_id)).one()
        if _stale(connection, context, project, routes):
            label = _label_after(project.next_draft_label or project.draft_label)
            db.update(connection, projects, project_id, next_draft_label=label)
            project = connection.execute(sa.select(projects).where(projects.c.id == project_id)).one()
        if not project.next_draft_label:
            return
        waiting = _draft_open_tasks(connection, context, project, routes)
    if waiting or not _delivered(context, project):
        return
    label = project.next_draft_label
    if project.state == "attached":
        show_label(context, client_of(context), project, label)
    with context.db.transaction() as connection:
        moved = sa.and_(projects.c.id == project_id, projects.c.next_draft_label == label)
        values = {"draft_label": label, "next_draft_label": None}
        connection.execute(sa.update(projects).where(moved).values(**values))
        drafts.bump(connection, project_id)
        jobs.enqueue(connection, jobs.PUSH_PREDICTIONS, key=str(project_id), project_id=project_id)


def _label_after(label: str) -> str:
    """draft-2 after draft-1; a label of another form begins a series of its own."""
    stem, _, number = label.rpartition("-")
    return f"{stem}-{int(number) + 1}" if stem and number.isdigit() else f"{label}-2"


def _open(project: sa.Row[Any], label: str) -> sa.Select[Any]:
    """Open tasks drafted under a label: what people see or will see."""
    return (
        sa.select(tasks, predictions.c.body, predictions.c.config_sha256, predictions.c.model_version)
        .join(predictions, sa.and_(predictions.c.task_id == tasks.c.id, predictions.c.draft_label == label))
        .where(tasks.c.project_id == project.id, tasks.c.state.in_(drafts.OPEN), tasks.c.blind.is_(False))
        .order_by(tasks.c.id)
    )


def _stale(connection: Connection, context: Context, project: sa.Row[Any], routes: Routes) -> bool:
    """Whether an open task would be drafted differently now: by another model, or otherwise by the same one."""
    label = project.next_draft_label or project.draft_label
    for task in connection.execute(_open(project, label)):
        if task.config_sha256 != (project.config_sha256 or ""):
            return True
        recording = _recording(connection, task)
        if route_of(connection, routes, context.settings, recording, project).version.version != task.model_version:
            return True
        body = drafts.body_of(
            connection, context.settings, project, task, recording, model_version=task.model_version, label=label
        )
        if body != task.body:
            return True
    return False


def _draft_open_tasks(connection: Connection, context: Context, project: sa.Row[Any], routes: Routes) -> int:
    """Draft what can be drafted under the next label, ask for the rest; gives how many have to be waited for."""
    done = set(connection.execute(_open(project, project.next_draft_label).with_only_columns(tasks.c.id)).scalars())
    waiting = 0
    for task in connection.execute(_open(project, project.draft_label)).all():
        if task.id in done or task.reason_code is not None:  # one that cannot be transcribed holds nobody up
            continue
        recording = _recording(connection, task)
        route = route_of(connection, routes, context.settings, recording, project)
        version = route.version.version
        if drafts.draft_task(connection, context.settings, project, task, recording, model_version=version):
            db.update(connection, tasks, task.id, experiment_id=route.experiment_id, arm=route.arm)
            continue
        waiting += 1
        jobs.enqueue(
            connection,
            jobs.TRANSCRIBE_RECORDING,
            key=str(recording.id),
            priority=jobs.BULK,
            recording_id=recording.id,
        )
    return waiting


def _recording(connection: Connection, task: sa.Row[Any]) -> sa.Row[Any]:
    return connection.execute(sa.select(recordings).where(recordings.c.id == task.recording_id)).one()


def _delivered(context: Context, project: sa.Row[Any]) -> bool:
    """Whether Label Studio has everything under the next label; wakes the push when not."""
    statement = (
        sa.select(predictions.c.id)
        .join(tasks, tasks.c.id == predictions.c.task_id)
        .where(predictions.c.project_id == project.id, predictions.c.draft_label == project.next_draft_label)
        .where(predictions.c.confirmed_at.is_(None), tasks.c.state == "open")
    )
    if not context.db.rows(statement.limit(1)):
        return True
    with context.db.transaction() as connection:
        jobs.enqueue(connection, jobs.PUSH_PREDICTIONS, key=str(project.id), project_id=project.id)
    return False
