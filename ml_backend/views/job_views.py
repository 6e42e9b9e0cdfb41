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
    if query.state:
        # Nearly all jobs are done: the newest of them are found by walking the rows. An index of states would make
        # SQLite sort a million; the expression keeps it from using one.
        state = sa.func.coalesce(jobs.c.state, "") if "done" in query.state and not query.name else jobs.c.state
        statement = statement.where(state.in_(query.state))
    if query.name:
        statement = statement.where(jobs.c.name.in_(query.name))
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
