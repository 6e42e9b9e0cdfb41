"""Label Studio's annotations and ours -> the differences, shown and repaired, even if webhooks are lost.

At short intervals this job checks that the webhook exists, is active and is complete; reads what changed since the last
run, with an overlap, because a change gets its timestamp before it becomes visible; and compares the counts. Once a
day, and whenever the counts differ, everything is compared. The position is in Label Studio's own time, so the two
clocks may differ.
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
FULL_AGAIN = timedelta(minutes=30)  # the least time between two full comparisons for a difference that remains
BEGINNING = datetime(1971, 1, 1, tzinfo=UTC)
_log = logging.getLogger(__name__)


@missing.noticed
def compare_annotations(context: JobContext, project_id: int, full: int = 0) -> None:
    """Compare what changed in a project, or with `full` everything. Safe to repeat."""
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
    """Restore our webhook if it was removed, disabled or narrowed; gives None, or why that fails.

    Without the webhook nothing is lost, but changes arrive later.
    """
    try:
        if connections.working_webhook(client, context.settings, project.ls_project_id) is None:
            connections.connect_webhook(context, client, project)
            _log.warning("project %s: the webhook was missing or disabled and is restored", project.ls_project_id)
    except KaanError as error:
        _log.warning("project %s: the webhook cannot be restored: %s", project.ls_project_id, error.code)
        return error.sentence
    return None


def _name(project: sa.Row[Any]) -> str:
    return f"annotations:{project.id}"


def _place(context: Context, project: sa.Row[Any]) -> dict[str, Any] | None:
    """The position up to which changes are read; None before the first full comparison."""
    found = context.db.rows(sa.select(checkpoints.c.position).where(checkpoints.c.name == _name(project)))
    return dict(found[0].position) if found else None


def _since(place: dict[str, Any]) -> str:
    """The time from which to read: the last change seen, minus the overlap unless that change is older than it."""
    latest = time_of(place["latest"]) or BEGINNING
    since = latest if place.get("settled") else latest - OVERLAP
    return since.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _move(
    connection: Connection, project: sa.Row[Any], place: dict[str, Any] | None, latest: datetime | None, begun: datetime
) -> None:
    """Store the last change seen, and the time by our clock at which it was first seen."""
    now, latest = tables.now(), latest or BEGINNING
    if place is None:  # a task read early in a long list may have changed before the list ended
        latest = max(BEGINNING, latest - (now - begun))
    if place is not None and latest <= (time_of(place["latest"]) or BEGINNING):
        quiet = begun - (time_of(place["seen_at"]) or begun) >= OVERLAP
        position = {**place, "settled": bool(place.get("settled") or quiet)}
    else:
        position = {"latest": latest.isoformat(), "seen_at": now.isoformat(), "settled": False}
    values = {"name": _name(project), "position": position, "updated_at": now}
    db.upsert(connection, checkpoints, values, key=("name",))
