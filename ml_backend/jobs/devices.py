"""Leases on devices: while training holds one, live transcription continues and bulk transcription waits.

One GPU, or the processors of one machine, transcribe calls that just ended, train models and score them. A training run
or an evaluation holds the device's lease while it computes; meanwhile the relay sends no bulk transcription. Live calls
are always transcribed: training uses a share of the memory (TRAINING_MEMORY_SHARE) and runs in TRAINING_WINDOW.
"""

from __future__ import annotations

import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, RetryableError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import device_leases

TRAINING, EXPORTING = "training", "export"  # purpose of a lease; only TRAINING makes bulk transcription wait
HOLD_S = 60.0
LOOK_AGAIN = timedelta(minutes=5)
_WINDOW = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)


class Busy(RetryableError):
    """The device is held, perhaps for hours: the job is enqueued again later and does not count as failed."""


def here(choice: str) -> str:
    """The device of this machine for auto, cpu or cuda. One device has one name and one lease."""
    gpu = choice.startswith("cuda") or (choice == "auto" and shutil.which("nvidia-smi") is not None)
    return f"{socket.gethostname()[:40]}:{'cuda' if gpu else 'cpu'}"


def ask_again(context: Context, kind: job_kinds.JobKind, key: str, **arguments: Any) -> None:
    """Enqueue a job again, to run later, after it found the device taken."""
    with context.db.transaction() as connection:
        enqueueing.enqueue(connection, kind, key=key, due_at=tables.now() + LOOK_AGAIN, **arguments)


def take(connection: Connection, device: str, owner: str, *, purpose: str = TRAINING, hold_s: float = HOLD_S) -> bool:
    """Take a free device, or extend the owner's lease; False while another owner has it."""
    db.insert_missing(connection, device_leases, [{"device": device}])
    now = tables.now()
    free = sa.or_(device_leases.c.owner.is_(None), device_leases.c.owner == owner, device_leases.c.until < now)
    mine = {"owner": owner, "purpose": purpose, "until": now + timedelta(seconds=hold_s)}
    taken = sa.update(device_leases).where(device_leases.c.device == device, free).values(**mine)
    return connection.execute(taken).rowcount == 1


def give_back(connection: Connection, device: str, owner: str) -> None:
    """Release a device; does nothing if another owner has it by now."""
    mine = sa.and_(device_leases.c.device == device, device_leases.c.owner == owner)
    connection.execute(sa.update(device_leases).where(mine).values(owner=None, purpose=None, until=None))


def is_held(connection: Connection, device: str) -> bool:
    """Whether the device is leased now."""
    taken = sa.and_(device_leases.c.device == device, device_leases.c.until > tables.now())
    return connection.execute(sa.select(device_leases.c.device).where(taken)).first() is not None


def is_training(connection: Connection) -> bool:
    """Whether a model is being trained or scored now."""
    held = sa.and_(device_leases.c.purpose == TRAINING, device_leases.c.until > tables.now())
    return connection.execute(sa.select(device_leases.c.device).where(held).limit(1)).first() is not None


@contextmanager
def held(
    context: Context, device: str, owner: str, *, purpose: str = TRAINING, beat_s: float = HOLD_S / 4
) -> Iterator[None]:
    """Hold a device, or the right to write under a name, during the block. Raises `Busy` while another owner has it."""
    with context.db.transaction() as connection:
        if not take(connection, device, owner, purpose=purpose):
            if purpose == EXPORTING:
                raise Busy(
                    "export-running", f"Another export writes this dataset now ({device}).",
                    "Try again when it is done (`datasets list`); a job does so by itself.",
                )  # fmt: skip
            raise Busy(
                "device-busy", f"Another model is being trained or scored ({device}).",
                "Try again when that is done (`train list`); a job does so by itself.",
            )  # fmt: skip
    done = threading.Event()

    def beat() -> None:
        while not done.wait(beat_s):
            try:
                with context.db.transaction() as connection:
                    take(connection, device, owner, purpose=purpose)
            except RetryableError:
                continue  # the database is unavailable for a moment; the lease lasts four beats

    pulse = threading.Thread(target=beat, name="device-lease", daemon=True)
    pulse.start()
    try:
        yield
    finally:
        done.set()
        pulse.join()
        with context.db.transaction() as connection:
            give_back(connection, device, owner)


def opens_at(window: str, now: datetime, *, zone: str) -> datetime:
    """When training may begin: now if inside the window or without one, else at its next start.

    `window` is `HH:MM-HH:MM` in local time and may cross midnight.
    """
    if not window.strip():
        return now
    found = _WINDOW.fullmatch(window.strip())
    try:
        hours = [int(each) for each in found.groups()] if found else []
        first, last = time(hours[0], hours[1]), time(hours[2], hours[3])
    except (IndexError, ValueError):
        raise ConfigurationError(
            "bad-window", f"TRAINING_WINDOW {window[:20]!r} is not a span of hours.", "Write it like 22:00-06:00."
        ) from None
    here = now.astimezone(ZoneInfo(zone))
    inside = first <= here.time() < last if first < last else here.time() >= first or here.time() < last
    if inside or first == last:
        return now
    begins = here.replace(hour=first.hour, minute=first.minute, second=0, microsecond=0)
    return (begins if begins > here else begins + timedelta(days=1)).astimezone(now.tzinfo)
