"""Every background job by name: the only upward reference of the kernel is a dotted path in this table.

A job is a row; arguments are ids and short words. `enqueue` only inserts the row, in the caller's transaction, so
a web request never talks to Redis. `relay` hands due rows to RQ, `runner` executes them. Jobs are safe to repeat.

A job function is `def name(context: JobContext, **arguments) -> None`. A pooled one is
`def name(context: JobContext, items: list[PooledItem]) -> None` and calls `item.done()` or `item.failed(error)`
for each member; members not settled when it returns count as failed retryable.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables

WAITED_FOR, LIVE, BULK = 0, 50, 100  # priorities: a person waits; a call just ended; back-fill

QUEUES = ("sync", "transcribe", "training")  # one worker process listens on exactly one queue


@dataclass(frozen=True)
class JobKind:
    """One kind of job. `pooled` jobs are run together, up to ASR_POOL_S seconds of audio; retries run alone."""

    name: str
    path: str
    queue: str
    time_limit_s: float
    max_attempts: int = 5
    priority: int = LIVE
    pooled: bool = False


READ_EVENT = JobKind("read-event", "sync.annotations.read_event", "sync", 120)
SYNC_PROJECT = JobKind("sync-project", "sync.tasks.sync_project", "sync", 600)
FIND_TASKS = JobKind("find-tasks", "sync.reconcile.find_tasks", "sync", 900)
READ_ANNOTATION = JobKind("read-annotation", "sync.annotations.read_annotation", "sync", 120)
INGEST_RECORDING = JobKind("ingest-recording", "sync.ingest.ingest_recording", "sync", 900)
TRANSCRIBE_RECORDING = JobKind(
    "transcribe-recording", "sync.transcribe.transcribe_recordings", "transcribe", 1800, pooled=True
)
CREATE_TASKS = JobKind("create-tasks", "sync.tasks.create_tasks", "sync", 600)
PUSH_PREDICTIONS = JobKind("push-predictions", "sync.tasks.push_predictions", "sync", 600)
CONFIRM_ANSWERS = JobKind("confirm-answers", "sync.tasks.confirm_answers", "sync", 300)
REDRAFT_PROJECT = JobKind("redraft-project", "sync.tasks.redraft_project", "sync", 1800)
TRAIN = JobKind("train", "training.pipeline.train_requested", "training", 24 * 3600, max_attempts=3, priority=BULK)

KINDS: dict[str, JobKind] = {
    kind.name: kind
    for kind in (
        READ_EVENT, SYNC_PROJECT, FIND_TASKS, READ_ANNOTATION, INGEST_RECORDING, TRANSCRIBE_RECORDING,
        CREATE_TASKS, PUSH_PREDICTIONS, CONFIRM_ANSWERS, REDRAFT_PROJECT, TRAIN,
    )
}  # fmt: skip


def enqueue(
    connection: Connection,
    kind: JobKind,
    *,
    key: str | None = None,
    priority: int | None = None,
    due_at: datetime | None = None,
    **arguments: Any,
) -> int:
    """Insert a job row; gives its id.

    With `key`, at most one job of that key is waiting: the existing one's id comes back, and its priority is
    raised when this caller's is more urgent. A job already running does not count: news that arrives while it
    runs gets a run of its own, after it (the runner never runs two of one key at once).
    """
    values = {
        "name": kind.name,
        "queue": kind.queue,
        "arguments": arguments,
        "unique_key": f"{kind.name}:{key}" if key is not None else None,
        "priority": kind.priority if priority is None else priority,
        "due_at": due_at or tables.now(),
        "state": "waiting",
    }
    if key is None:
        return int(connection.execute(sa.insert(tables.jobs).values(**values)).inserted_primary_key[0])
    return _enqueue_once(connection, values)


def _enqueue_once(connection: Connection, values: dict[str, Any]) -> int:
    waiting = sa.and_(tables.jobs.c.unique_key == values["unique_key"], tables.jobs.c.state.in_(("waiting", "queued")))
    found = connection.execute(sa.select(tables.jobs.c.id, tables.jobs.c.priority).where(waiting)).first()
    if found is None:
        return int(connection.execute(sa.insert(tables.jobs).values(**values)).inserted_primary_key[0])
    if values["priority"] < found.priority:
        urgent = {"priority": values["priority"], "due_at": values["due_at"]}
        connection.execute(sa.update(tables.jobs).where(tables.jobs.c.id == found.id).values(**urgent))
    return int(found.id)
