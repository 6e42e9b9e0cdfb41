"""Jobs, newest first, for /api and the page; filtered by state and kind."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.tables import JOB_STATES, jobs
from ml_backend.views.queries import PagedQuery, one_of

SHOWN = (
    "id", "name", "queue", "arguments", "priority", "state", "attempt", "due_at", "created_at", "started_at",
    "finished_at", "progress", "error_code", "error", "next_step",
)  # fmt: skip
_State = Annotated[
    str,
    one_of(JOB_STATES, InvalidInput("unknown-state", "There is no such state.", f"Known: {', '.join(JOB_STATES)}.")),
]


class JobQuery(PagedQuery):
    """Which jobs."""

    state: Annotated[tuple[_State, ...], Field(description="Only jobs in this state.")] = ()
    name: Annotated[tuple[str, ...], Field(description="Only this kind of job, e.g. transcribe-recording.")] = ()


def every(context: Context, query: JobQuery) -> list[dict[str, Any]]:
    """One page of jobs."""
    statement = sa.select(*(jobs.c[name] for name in SHOWN)).order_by(jobs.c.id.desc())
    for column, values in ((jobs.c.state, query.state), (jobs.c.name, query.name)):
        statement = statement.where(column.in_(values)) if values else statement
    if query.before is not None:
        statement = statement.where(jobs.c.id < query.before)
    return [to_dict(row) for row in context.db.rows(statement.limit(query.limit))]


def one(context: Context, job_id: int) -> dict[str, Any]:
    """One job; InvalidInput 404 when there is none."""
    rows = context.db.rows(sa.select(*(jobs.c[name] for name in SHOWN)).where(jobs.c.id == job_id))
    if not rows:
        raise InvalidInput("no-such-job", "There is no job with this id.", "List them: /api/jobs.", status=404)
    return to_dict(rows[0])


def to_dict(row: sa.Row[Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row._mapping.items()}
