"""Calls whose time has come and whom no job serves -> their job again. The ledger is the plan, jobs only carry it out.

A job can end for good while its call still waits: a setting was wrong, a person cancelled it, a backup was restored.
So what is due and forgotten is enqueued anew, some at a time. What killed its workers stays set aside.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.calls.states import FETCH, LOOK_UP, WAIT
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.jobs.schedules import last_ended
from ml_backend.tables import calls, recordings
from ml_backend.tables import jobs as job_rows

FORGOTTEN = timedelta(minutes=15)
AT_ONCE = 50
_SERVED = ("waiting", "queued", "running", "quarantined")


def take_up(context: Context) -> int:
    """Enqueue what is overdue; gives how many."""
    late = tables.now() - FORGOTTEN
    fetches = (
        sa.select(recordings.c.id, recordings.c.priority)
        .join(calls, calls.c.id == recordings.c.call_id)
        .where(calls.c.next_action == FETCH, calls.c.due_at < late)
        .where(recordings.c.state == "found", recordings.c.object_key.is_(None))
        .where(~_served(job_kinds.FETCH_RECORDING, recordings.c.id))
        .order_by(recordings.c.priority, last_ended(job_kinds.FETCH_RECORDING, recordings.c.id).asc().nulls_first())
        .order_by(recordings.c.id)
        .limit(AT_ONCE)
    )
    look_ups = (
        sa.select(calls.c.id)
        .where(calls.c.next_action.in_((LOOK_UP, WAIT)), calls.c.due_at < late)
        .where(~_served(job_kinds.LOOK_UP_CALL, calls.c.id))
        .order_by(last_ended(job_kinds.LOOK_UP_CALL, calls.c.id).asc().nulls_first(), calls.c.due_at)
        .limit(AT_ONCE)
    )
    found, asked = context.db.rows(fetches), context.db.rows(look_ups)
    with context.db.transaction() as connection:
        for row in found:
            enqueueing.enqueue(
                connection, job_kinds.FETCH_RECORDING, key=str(row.id), priority=row.priority, recording_id=row.id
            )
    with context.db.transaction() as connection:
        for row in asked:
            enqueueing.enqueue(connection, job_kinds.LOOK_UP_CALL, key=str(row.id), call_id=row.id)
    return len(found) + len(asked)


def _served(kind: job_kinds.JobKind, row_id: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    key = sa.literal(f"{kind.name}:") + sa.cast(row_id, sa.String)
    return sa.exists(sa.select(job_rows.c.id).where(job_rows.c.unique_key == key, job_rows.c.state.in_(_SERVED)))
