"""Label Studio project -> our row of it, read again whenever something may have changed there."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, quantities, tables
from ml_backend.context import Context, JobContext
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig
from ml_backend.labelling.decoding_profile import CONTEXT_CUT
from ml_backend.tables import projects, tasks
from sync.drafts import drafts
from sync.drafts.decoding_choice import problems_of
from sync.label_studio import missing
from sync.label_studio.label_studio_client import LabelStudioClient, client_of

TOGETHER = 50  # rows in one transaction


def project_of(connection: Connection, instance_url: str, ls_project_id: int) -> sa.Row[Any] | None:
    """Our row of a Label Studio project."""
    statement = sa.select(projects).where(
        projects.c.instance_url == instance_url, projects.c.ls_project_id == ls_project_id
    )
    return connection.execute(statement).first()


def sync_project(context: JobContext, project_id: int) -> None:
    """Read title, config and extra parameters from Label Studio, and enqueue the jobs that a change requires."""
    project = context.db.row(projects, project_id)
    if project.state == "detached":
        return
    if not missing.is_there(context, project):
        if project.state != missing.MISSING:
            missing.mark(context, project)
        return
    if project.state == missing.MISSING:
        missing.back(context, project)
        project = context.db.row(projects, project_id)
    client = client_of(context)
    there = client.project(project.ls_project_id)
    config = str(there.get("label_config") or "")
    extra, problem = _extra_params(client, project, context.settings.public_url)
    controls = labelconfig.parse(config)
    reason = problem or " ".join(controls.problems) or None
    code = "extra-params-invalid" if problem else "config-unusable" if controls.problems else None
    if code is None and project.reason_code == CONTEXT_CUT and extra in (None, project.extra_params):
        code, reason = project.reason_code, project.reason  # the model reported it, and nothing has changed since
    changes: dict[str, Any] = {
        "title": quantities.shortened(str(there.get("title") or ""), 500),
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
            enqueueing.enqueue(connection, job_kinds.REDRAFT_PROJECT, key=str(project_id), project_id=project_id)
        enqueueing.enqueue(
            connection, job_kinds.FIND_TASKS, key=str(project_id), priority=job_kinds.BULK, project_id=project_id
        )
    if "config_sha256" in changes:
        _want_again(context, project_id)


def _extra_params(
    client: LabelStudioClient, project: sa.Row[Any], public_url: str
) -> tuple[dict[str, Any] | None, str | None]:
    """(the backend record's extra parameters, or None if the project has no backend of ours; what is wrong)."""
    backends = client.ml_backends(project.ls_project_id)
    mine = [backend for backend in backends if backend["id"] == project.ml_backend_id]
    mine = mine or [backend for backend in backends if backend["url"].rstrip("/") == public_url]
    if not mine:
        return None, None
    return problems_of(mine[0].get("extra_params"))


def _want_again(context: Context, project_id: int) -> None:
    """Create refused tasks again: they may fit the project's current settings."""
    refused = sa.and_(tasks.c.state == "refused", tasks.c.reason_code == "import-refused")
    mine = sa.select(tasks.c.id).where(tasks.c.project_id == project_id, refused).limit(TOGETHER)
    while ids := context.db.scalars(mine):
        with context.db.transaction() as connection:
            values = {"state": "wanted", "reason_code": None, "reason": None, "updated_at": tables.now()}
            connection.execute(sa.update(tasks).where(tasks.c.id.in_(ids), refused).values(**values))
            enqueueing.enqueue(connection, job_kinds.CREATE_TASKS, key=str(project_id), project_id=project_id)
