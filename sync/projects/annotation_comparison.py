"""Label Studio's annotations <-> ours: the difference is found, shown and repaired, whatever becomes of webhooks.

At short intervals: is the webhook there, active and complete; what changed since the last look, with an overlap,
because a change gets its time before others can see it; and do both sides count the same. Once a day, and whenever the
counts differ, everything is compared. How far we have read is told in Label Studio's own time, so that clocks may
disagree.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import KaanError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import checkpoints, projects
from sync.annotations import differences
from sync.annotations.annotation_rows import time_of
from sync.label_studio import missing
from sync.label_studio.label_studio_client import LabelStudioClient, client_of
from sync.projects import connections, task_reconciliation

OVERLAP = timedelta(minutes=10)
FULL_AGAIN = timedelta(minutes=30)  # a difference that a full comparison left is not looked at again before this
BEGINNING = datetime(1971, 1, 1, tzinfo=UTC)
_log = logging.getLogger(__name__)


@missing.noticed
def compare_annotations(context: JobContext, project_id: int, full: int = 0) -> None:
    """One look at a project: at what changed, or with `full` at everything. Safe to repeat."""
    project = context.db.row(projects, project_id)
    if project.state != "attached":
        return
    client, begun = client_of(context), tables.now()
    webhook = repair_webhook(context, client, project)
    place = _place(context, project)
    if place is None:
        full = 1
    after = None if full or place is None else _since(place)
    before = client.project(project.ls_project_id) if full else {}
    seen = task_reconciliation.read(context, project, changed_after=after, report=context.report)
    difference = differences.count(context, project, client.project(project.ls_project_id))
    more: dict[str, Any] = {"webhook": webhook}
    if full:
        more |= {"full_at": begun.isoformat(), "left_by_full": difference.left(before), "repaired": seen.repaired}
    last_full = time_of((differences.read(context, project_id) or {}).get("full_at"))
    with context.db.transaction() as connection:
        differences.write(connection, project, difference, **more)
        if not full or place is None:
            _move(connection, project, place, seen.latest, begun)
        if difference.any and not full and (last_full is None or last_full < begun - FULL_AGAIN):
            key = f"{project_id}:1"
            enqueueing.enqueue(connection, job_kinds.COMPARE_ANNOTATIONS, key=key, project_id=project_id, full=1)
    context.report(1.0, f"{seen.tasks} tasks read, {seen.repaired} repaired, {difference.annotations} missing")


def repair_webhook(context: Context, client: LabelStudioClient, project: sa.Row[Any]) -> str | None:
    """Put our webhook back when somebody removed, disabled or narrowed it; None, or why that does not work.

    Without it nothing is lost, only later.
    """
    try:
        if connections.working_webhook(client, context.settings, project.ls_project_id) is None:
            connections.connect_webhook(context, client, project)
            _log.warning("project %s: the webhook was missing or disabled and is put back", project.ls_project_id)
    except KaanError as error:
        _log.warning("project %s: the webhook cannot be put back: %s", project.ls_project_id, error.code)
        return error.sentence
    return None


def _name(project: sa.Row[Any]) -> str:
    return f"annotations:{project.id}"


def _place(context: Context, project: sa.Row[Any]) -> dict[str, Any] | None:
    """How far we have read; None before the first full comparison."""
    found = context.db.rows(sa.select(checkpoints.c.position).where(checkpoints.c.name == _name(project)))
    return dict(found[0].position) if found else None


def _since(place: dict[str, Any]) -> str:
    """After which change we read: the last one seen, less the overlap until that has been quiet for as long."""
    latest = time_of(place["latest"]) or BEGINNING
    since = latest if place.get("settled") else latest - OVERLAP
    return since.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _move(
    connection: Connection, project: sa.Row[Any], place: dict[str, Any] | None, latest: datetime | None, begun: datetime
) -> None:
    """Remember the last change seen, and by our clock when that was first seen."""
    now, latest = tables.now(), latest or BEGINNING
    if place is None:  # what changed early in a long list may be older than its end
        latest = max(BEGINNING, latest - (now - begun))
    if place is not None and latest <= (time_of(place["latest"]) or BEGINNING):
        quiet = begun - (time_of(place["seen_at"]) or begun) >= OVERLAP
        position = {**place, "settled": bool(place.get("settled") or quiet)}
    else:
        position = {"latest": latest.isoformat(), "seen_at": now.isoformat(), "settled": False}
    values = {"name": _name(project), "position": position, "updated_at": now}
    db.upsert(connection, checkpoints, values, key=("name",))
