"""The position of each reader of an outside source, and the process that reads: rows of `checkpoints`, by name.

A lease is a row too: (owner, until). Two readers of one source would not harm the ledger, but would ask the provider
twice. So one process holds the lease and renews it with every page; any other process stops.
"""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.jobs import leases
from ml_backend.tables import checkpoints

LEASE = timedelta(seconds=120)


def look(connection: Connection, name: str) -> sa.Row[Any] | None:
    """The row, or None."""
    return connection.execute(sa.select(checkpoints).where(checkpoints.c.name == name)).first()


def read(connection: Connection, name: str) -> sa.Row[Any] | None:
    """The row, locked until the transaction ends where the database can."""
    return connection.execute(sa.select(checkpoints).where(checkpoints.c.name == name).with_for_update()).first()


def write(connection: Connection, name: str, position: dict[str, Any], **values: Any) -> None:
    """Upsert the checkpoint. Safe under concurrent writes."""
    values = {"name": name, "position": position, "updated_at": tables.now(), **values}
    db.upsert(connection, checkpoints, values, key=("name",))


def remove(connection: Connection, name: str) -> None:
    """Forget it."""
    connection.execute(sa.delete(checkpoints).where(checkpoints.c.name == name))


def lease(connection: Connection, name: str, owner: str) -> bool:
    """Take or renew the lease; False while another owner holds it. A lease too far in the future counts as expired,
    because the clock was set back."""
    now = leases.clock(connection)
    held = read(connection, name)
    if held is not None and held.position.get("owner") not in (None, owner):
        until = datetime.fromisoformat(held.position["until"]).astimezone(UTC)
        if now < until <= now + LEASE and not _is_gone(str(held.position["owner"])):
            return False
    write(connection, name, {"owner": owner, "until": (now + LEASE).isoformat()}, state="held")
    return True


def release(connection: Connection, name: str, owner: str) -> None:
    """Give the lease back, if it is ours."""
    held = read(connection, name)
    if held is not None and held.position.get("owner") == owner:
        remove(connection, name)


def _is_gone(owner: str) -> bool:
    """Whether the lease's owner was a process of this machine that has ended, so its lease can be taken at once."""
    _, _, place = owner.partition("@")
    host, pid, *_ = [*place.split(":"), "", ""]
    return host == socket.gethostname()[:60] and pid.isdecimal() and not psutil.pid_exists(int(pid))
