"""One row per live process, written every few seconds, for `status` and `/ready`.

A row may be stale, so nothing relies on it for correctness. `leases` also reads whether a process that ended had been
asked to stop, because a deployment must not count as the job's fault.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ml_backend import db, packages, tables
from ml_backend.db import Database
from ml_backend.tables import processes

ALIVE_S = 60.0  # a process without a heartbeat for this long counts as gone


def own_name(role: str) -> str:
    """The name of a listening process."""
    return f"{role}-{socket.gethostname()}-{os.getpid()}"


def note_inside(connection: sa.Connection, name: str, inside: Mapping[str, int]) -> None:
    """What a listening process is answering now, where it has had a heartbeat; its heartbeats say so too."""
    mine = processes.c.name == name
    found = connection.execute(sa.select(processes.c.detail).where(mine).with_for_update()).scalar()
    changed = {**(found or {}), "inside": dict(inside)}
    connection.execute(sa.update(processes).where(mine).values(detail=changed))


def seen(
    database: Database,
    name: str,
    role: str,
    *,
    started_at: datetime,
    pid: int | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Record a heartbeat (a child gives its parent's `pid`). Without `detail`, a recorded request to stop stays."""
    values = {"name": name, "role": role[:30], "pid": pid or os.getpid(), "started_at": started_at}
    with database.transaction() as connection:
        now = tables.now()
        changed = {"seen_at": now, **({"detail": detail} if detail is not None else {})}
        db.upsert(connection, processes, {**values, **changed}, key=("name",), change=lambda new: changed)


def stopping(database: Database, name: str) -> None:
    """Record that this process was asked to stop."""
    with database.transaction() as connection:
        known = sa.update(processes).where(processes.c.name == name)
        connection.execute(known.values(detail={"stopping": True}, seen_at=tables.now()))


def is_stopping(database: Database, name: str) -> bool:
    """Whether this process was asked to stop."""
    rows = database.rows(sa.select(processes.c.detail).where(processes.c.name == name))
    return any((row.detail or {}).get("stopping") for row in rows)


def gone(database: Database, name: str) -> None:
    """Remove the row of a process that ended normally."""
    with database.transaction() as connection:
        connection.execute(sa.delete(processes).where(processes.c.name == name))


def alive(database: Database, *, role: str | None = None) -> Sequence[sa.Row[Any]]:
    """Processes with a recent heartbeat, of one role or of all."""
    recent = sa.select(processes).where(processes.c.seen_at > tables.now() - timedelta(seconds=ALIVE_S))
    if role is not None:
        recent = recent.where(processes.c.role == role)
    return database.rows(recent.order_by(processes.c.role, processes.c.name))


def not_loaded(rows: Iterable[sa.Row[Any]]) -> dict[str, list[str]]:
    """Kind of model -> why the promoted version does not answer, of the processes in these rows that say so."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for kind, reason in sorted(((row.detail or {}).get("not_loaded") or {}).items()):
            if reason not in found.setdefault(kind, []):
                found[kind].append(reason)
    return found


def runs_queue(database: Database, queue: str) -> bool:
    """Whether a worker of this queue is alive."""
    return bool(alive(database, role=f"worker:{queue}"))


def waits_for(database: Database, queue: str) -> str:
    """A sentence for the person who enqueued a job: how to start its worker; empty if one is running."""
    if runs_queue(database, queue):
        return ""
    sentence = f"No {queue} worker is running; start one: `python -m ml_backend worker {queue}`"
    if queue == "training" and packages.missing(*packages.TRAINER):
        sentence += ", on a machine with the training set (`make environment-training`)"
    return f"{sentence}."


def remove_old(connection: sa.Connection, *, days: float = 1.0) -> None:
    """Delete rows of processes without a heartbeat for `days`."""
    connection.execute(sa.delete(processes).where(processes.c.seen_at < tables.now() - timedelta(days=days)))


_REFUSED = "refused-messages:"


def count_refused_message(connection: sa.Connection, queue: str) -> None:
    """Count a message that was removed from Redis because it was not ours: one row of `summaries` per queue."""
    name = f"{_REFUSED}{queue}"
    body = tables.summaries.c.body
    found = connection.execute(sa.select(body).where(tables.summaries.c.name == name).with_for_update()).scalar()
    counted = {"queue": queue, "number": (found or {}).get("number", 0) + 1}
    values = {"name": name, "body": counted, "made_at": tables.now()}
    db.upsert(connection, tables.summaries, values, key=("name",))


def refused_messages(connection: sa.Connection) -> dict[str, int]:
    """queue -> messages removed so far because they were not ours."""
    rows = connection.execute(sa.select(tables.summaries.c.body).where(tables.summaries.c.name.startswith(_REFUSED)))
    return {row.body["queue"]: int(row.body["number"]) for row in rows}
