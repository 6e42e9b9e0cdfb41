"""Job rows: insert, find, show, retry and cancel them.

A job is a row; its arguments are ids and short words. `enqueue` only inserts the row, in the caller's transaction, so
a web request never talks to Redis. `relay` sends due rows to RQ, `runner` executes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, log, quantities, tables
from ml_backend.context import JobContext
from ml_backend.db import Database
from ml_backend.errors import InvalidInput
from ml_backend.jobs.job_kinds import LIVE, JobKind
from ml_backend.tables import jobs

MAX_ARGUMENT_CHARS, MAX_ARGUMENT_IDS = 200, 1000


def enqueue(
    connection: Connection,
    kind: JobKind,
    *,
    key: str | None = None,
    priority: int | None = None,
    due_at: datetime | None = None,
    **arguments: Any,
) -> int:
    """Insert a job row; returns its id.

    With `key`, at most one job of that key waits: if there is one, its id is returned and its priority is raised to
    this caller's. A running job does not count: a change that arrives while it runs needs another run after it (the
    runner never runs two jobs of one key at once). Safe when raced.
    """
    values = {
        "name": kind.name,
        "queue": kind.queue,
        "arguments": _plain(arguments),
        "trace": log.trace(arguments),
        "unique_key": f"{kind.name}:{key}"[:200] if key is not None else None,
        "priority": kind.priority if priority is None else priority,
        "due_at": due_at or tables.now(),
        "state": "waiting",
    }
    if key is None:
        return int(connection.execute(sa.insert(jobs).values(**values).returning(jobs.c.id)).scalar_one())
    return _enqueue_once(connection, values)


def urgency(context: JobContext) -> int:
    """The running job's priority, for the jobs that it enqueues: an interactive request needs all of them."""
    rows = context.db.rows(sa.select(jobs.c.priority).where(jobs.c.id == context.job_id))
    return int(rows[0].priority) if rows else LIVE


def enqueue_many(connection: Connection, kind: JobKind, argument: str, ids: Sequence[int], *, priority: int) -> None:
    """One job for each id, keyed by it, due now; jobs that already wait are not changed. For back-fill."""
    if not ids:
        return
    common = {"name": kind.name, "queue": kind.queue, "priority": priority, "due_at": tables.now(), "state": "waiting"}
    rows = [
        {
            **common, "unique_key": f"{kind.name}:{one}", "arguments": {argument: int(one)},
            "trace": log.trace({argument: int(one)}),
        }
        for one in ids
    ]  # fmt: skip
    db.insert_missing(connection, jobs, rows)


def _enqueue_once(connection: Connection, values: dict[str, Any]) -> int:
    """One statement on the partial unique index, so that two concurrent callers cannot both insert.

    A job with a raised priority goes through the relay again, which puts it in front. A job that failed before keeps
    its back-off unless a person waits for it now.
    """

    def change(new: Any) -> dict[str, Any]:
        more_urgent = new.priority < jobs.c.priority
        sooner = sa.and_(new.due_at < jobs.c.due_at, sa.or_(jobs.c.attempt == 0, more_urgent))
        return {
            "state": sa.case((more_urgent, "waiting"), else_=jobs.c.state),
            "priority": sa.case((more_urgent, new.priority), else_=jobs.c.priority),
            "due_at": sa.case((sooner, new.due_at), else_=jobs.c.due_at),
        }

    waiting = sa.text("state IN ('waiting','queued')")
    row = db.upsert(connection, jobs, values, key=("unique_key",), change=change, where=waiting, returning=(jobs.c.id,))
    return int(row.id)


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Accept only ids and short words: rows are shown to people and must never hold a call's content."""
    for name, value in arguments.items():
        if isinstance(value, list) and len(value) <= MAX_ARGUMENT_IDS and all(type(entry) is int for entry in value):
            continue
        if value is not None and not isinstance(value, int | float | str):
            raise TypeError(
                f"job argument {name} must be an id, a list of ids or a short word, not {type(value).__name__}"
            )
        if isinstance(value, str) and len(value) > MAX_ARGUMENT_CHARS:
            raise ValueError(
                f"job argument {name} is longer than {MAX_ARGUMENT_CHARS} characters: store it, pass its id"
            )
    return dict(arguments)


def find(
    database: Database, *, states: Sequence[str] = (), names: Sequence[str] = (), limit: int = 50
) -> Sequence[sa.Row[Any]]:
    """Job rows: first running ones, then waiting ones in the order they will run, then the latest ended."""
    order = sa.case({"running": 0, "queued": 1, "waiting": 1}, value=jobs.c.state, else_=2)
    waits = jobs.c.state.in_(("queued", "waiting"))
    statement = sa.select(jobs).order_by(
        order, sa.case((waits, jobs.c.priority)), sa.case((waits, jobs.c.due_at)), jobs.c.id.desc()
    )
    if states:
        statement = statement.where(jobs.c.state.in_(states))
    if names:
        statement = statement.where(jobs.c.name.in_(names))
    return database.rows(statement.limit(limit))


def counts(database: Database) -> dict[str, int]:
    """How many jobs are in each state."""
    rows = database.rows(sa.select(jobs.c.state, sa.func.count().label("number")).group_by(jobs.c.state))
    return {row.state: int(row.number) for row in rows}


def show(database: Database, job_id: int) -> sa.Row[Any]:
    """One job row, or InvalidInput with status 404."""
    rows = database.rows(sa.select(jobs).where(jobs.c.id == job_id))
    if not rows:
        raise _no_such_job(job_id)
    return rows[0]


def retry(database: Database, job_id: int, *, said: str = "") -> str:
    """Run an ended job again with its attempts reset; returns a sentence that says what happened. Safe to repeat.

    A job that waits for its next attempt runs at once. A running job raises `job-running`. `said` (who asks for it and
    why) stands in the row until the job begins.
    """
    with database.transaction() as connection:
        row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id).with_for_update()).first()
        if row is None:
            raise _no_such_job(job_id)
        if row.state == "running":
            raise InvalidInput("job-running", f"Job {job_id} is running now.", "Wait for it, or cancel it.", status=409)
        fresh = {"due_at": tables.now(), "finished_at": None, "queued_at": None, "failures": 0, "deaths": 0}
        fresh |= _noted(said)
        try:
            with connection.begin_nested():
                again = sa.update(jobs).where(jobs.c.id == job_id, jobs.c.state != "running")
                connection.execute(again.values(state="waiting", **fresh))
        except sa.exc.IntegrityError:
            return f"Job {job_id} is not needed: another job for the same thing is waiting."
    return f"Job {job_id} ({row.name}) will run as soon as a worker is free."


def cancel(database: Database, job_id: int, *, said: str = "") -> str:
    """Cancel a job; the heartbeat of a running one ends it within seconds. Returns one sentence.

    `said`, who asks for it and why, stays in the row.
    """
    row = show(database, job_id)
    ended = {
        "state": "cancelled",
        "finished_at": tables.now(),
        "lease_owner": None,
        "lease_until": None,
        **_noted(said),
    }
    with database.transaction() as connection:
        live = sa.and_(jobs.c.id == job_id, jobs.c.state.in_(("waiting", "queued", "running")))
        if connection.execute(sa.update(jobs).where(live).values(**ended)).rowcount:
            return f"Job {job_id} ({row.name}) is cancelled."
    return f"Job {job_id} ({row.name}) has ended already: it is {show(database, job_id).state}."


def _noted(said: str) -> dict[str, Any]:
    return {"progress": {"fraction": 0.0, "note": quantities.shortened(said, MAX_ARGUMENT_CHARS)}} if said else {}


def _no_such_job(job_id: int) -> InvalidInput:
    next_step = "List them with `python -m ml_backend jobs list`."
    return InvalidInput("no-such-job", f"There is no job {job_id}.", next_step, status=404)
