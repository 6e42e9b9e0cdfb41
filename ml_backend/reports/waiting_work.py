"""What waits for whom: tasks for annotators, decisions for an engineer, broken jobs for the operator.

Every row says whom it waits for, since when, and the next step. Long queues are counted up to a limit, so that looking
at them costs the same however long they are.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.models.registry import CHAMPION
from ml_backend.tables import JOB_TROUBLE, alias_history, evaluations, hotwords, jobs, model_versions, projects, tasks
from ml_backend.views.queries import Query

ANNOTATORS, ENGINEER, OPERATOR = "annotators", "engineer", "operator"
MOST = 10_000
BETTER = "better"  # the verdict of the gate


def of(context: Context, query: Query | None = None) -> dict[str, Any]:
    """The report. `at_least`: there are more than were counted."""
    with context.db.reading() as connection:
        rows = [
            *_open_tasks(connection),
            *_words(connection),
            *_better_versions(connection),
            *_retention(connection),
            *_bad_jobs(connection),
        ]
    return {"waiting": rows}


def lines(found: dict[str, Any]) -> list[str]:
    """For a terminal."""
    return [_line(one) for one in found["waiting"]] or ["Nothing waits for anybody."]


def _line(one: dict[str, Any]) -> str:
    number = f"at least {one['count']:,}" if one["at_least"] else f"{one['count']:,}"
    since = f", the oldest since {one['since'][:10]}" if one["since"] else ""
    return f"{one['for']:<12}{number} {one['what']}{since}. {one['next']}"


def _row(for_: str, what: str, count: int, since: datetime | None, next_step: str, **more: Any) -> dict[str, Any]:
    return {
        "for": for_, "what": what, "count": count, "at_least": count >= MOST,
        "since": since.isoformat() if since else None, "next": next_step, "url": None, **more,
    }  # fmt: skip


def _open_tasks(connection: Connection) -> list[dict[str, Any]]:
    """Open tasks by attached project, counted by an index."""
    attached = sa.select(projects.c.id, projects.c.title, projects.c.instance_url, projects.c.ls_project_id).where(
        projects.c.state == "attached"
    )
    found = []
    for project in connection.execute(attached.order_by(projects.c.id)).all():
        mine = sa.and_(tasks.c.state == "open", tasks.c.project_id == project.id)
        some = sa.select(tasks.c.created_at).where(mine).limit(MOST).subquery()
        number, oldest = connection.execute(sa.select(sa.func.count(), sa.func.min(some.c.created_at))).one()
        if number:
            url = f"{project.instance_url}/projects/{project.ls_project_id}"
            what = f"open tasks in {project.title or project.ls_project_id}"
            found.append(_row(ANNOTATORS, what, int(number), _time(oldest), "Annotate them in Label Studio.", url=url))
    return found


def _words(connection: Connection) -> list[dict[str, Any]]:
    """Words that people correct repeatedly, and nobody has approved or refused."""
    mine = sa.select(sa.func.count(), sa.func.min(hotwords.c.created_at)).where(hotwords.c.state == "suggested")
    number, oldest = connection.execute(mine).one()
    step = "`python -m ml_backend hotwords list` shows them; approve or refuse each."
    return [_row(ENGINEER, "suggested hotwords", int(number), _time(oldest), step)] if number else []


def _better_versions(connection: Connection) -> list[dict[str, Any]]:
    """Versions that the gate found better than the champion, and that never served."""
    version = model_versions.c
    served = sa.exists().where(alias_history.c.to_version == version.version, alias_history.c.alias == CHAMPION)
    found = (
        sa.select(version.version, version.kind, sa.func.max(evaluations.c.created_at).label("since"))
        .join(evaluations, evaluations.c.model_version_id == version.id)
        .where(evaluations.c.verdict == BETTER, version.rolled_back_at.is_(None), ~served)
        .group_by(version.version, version.kind)
    )
    return [
        _row(
            ENGINEER, f"{row.kind} version found better than the champion: {row.version}", 1, _time(row.since),
            f"`python -m ml_backend promote {row.version}`, or leave it.", version=row.version,
        )
        for row in connection.execute(found)
    ]  # fmt: skip


def _retention(connection: Connection) -> list[dict[str, Any]]:
    """Periods that were reported and not confirmed."""
    row = tables.retention.c
    found = sa.select(row.bucket, row.updated_at).where(row.state == "reported").order_by(row.bucket)
    return [
        _row(
            OPERATOR, f"retention period of {one.bucket} to confirm", 1, one.updated_at,
            f"`python -m ml_backend retention confirm {one.bucket} DAYS`, or set another period.",
        )
        for one in connection.execute(found)
    ]  # fmt: skip


def _bad_jobs(connection: Connection) -> list[dict[str, Any]]:
    some = sa.select(jobs.c.finished_at).where(jobs.c.state.in_(JOB_TROUBLE)).limit(MOST).subquery()
    number, oldest = connection.execute(sa.select(sa.func.count(), sa.func.min(some.c.finished_at))).one()
    step = "`python -m ml_backend jobs list --trouble` says why; retry or cancel each."
    return [_row(OPERATOR, "jobs ended badly", int(number), _time(oldest), step)] if number else []


def _time(value: datetime | None) -> datetime | None:
    """With its zone: on some databases an aggregate loses its column's type."""
    return tables.UtcTime().process_result_value(value, None) if value is not None else None
