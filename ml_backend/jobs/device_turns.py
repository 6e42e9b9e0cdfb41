"""Who goes first on the device of one machine: live requests, then what a person waits for, then everything else.

`serve` and the workers are separate processes. Who must not wait marks the device, and the others look before each
batch and wait while a mark stands. The marks are locks on bytes of one file in the data directory (open file
description locks, fcntl(2)): taking one is a system call of a microsecond, nobody waits for the one who looks, and the
kernel removes the marks of a process that is killed. Nothing here asks the database.

Nobody waits for ever. Before one batch bulk work waits at most `MOST_S`, and in one job at most a quarter of its time
limit; a job that a person waits for gives way to live requests for a second. Where the file cannot be locked, all go at
once, as they would without this.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml_backend import log
from ml_backend.context import Context
from ml_backend.jobs.job_kinds import BULK, WAITED_FOR

LIVE_REQUEST = -1  # before every job
MOST_S, MOST_WAITED_FOR_S = 20.0, 1.0  # waited before one batch; the second by a job that a person waits for
SHARE_OF_LIMIT = 0.25  # of a job's time limit that it may wait in all
POLL_S = 0.02
_MARKS = (LIVE_REQUEST, WAITED_FOR)  # the ranks that mark the device, each by the byte of its place here
_FLOCK = "hhqqi4x"  # struct flock of Linux on 64 bits: type, whence, start, length, pid

_log = log.get("device")


class DeviceTurns:
    """The marks of this process, and its look at all others'. Thread-safe; make it after the fork."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._inside = dict.fromkeys(_MARKS, 0)
        self._marking = self._looking = -1  # two descriptions of one file: a look sees this process's marks too
        self._rank, self._left_s = BULK, float("inf")
        self._works: bool | None = None

    @contextmanager
    def taken(self, rank: int = LIVE_REQUEST) -> Iterator[None]:
        """Mark the device during the block; any number at a time."""
        self._count(rank, 1)
        try:
            yield
        finally:
            self._count(rank, -1)

    @contextmanager
    def job(self, priority: int, *, time_limit_s: float) -> Iterator[None]:
        """During the block, `give_way` waits as a job of this priority does."""
        self._rank, self._left_s = priority, time_limit_s * SHARE_OF_LIMIT
        try:
            if priority > WAITED_FOR:
                yield
            else:
                with self.taken(WAITED_FOR):
                    yield
        finally:
            self._rank, self._left_s = BULK, float("inf")

    def give_way(self) -> None:
        """Before a batch: wait while somebody who goes first is at work, at most as long as this job may."""
        began = time.monotonic()
        most_s = min(MOST_S if self._rank > WAITED_FOR else MOST_WAITED_FOR_S, self._left_s)
        while time.monotonic() - began < most_s and self.is_taken(before=self._rank):
            time.sleep(POLL_S)
        self._left_s -= time.monotonic() - began

    def is_taken(self, *, before: int = BULK) -> bool:
        """Whether somebody who goes before this rank is at work, in any process of this machine."""
        if not self._is_there():
            return False
        return any(rank < before and self._stands(place) for place, rank in enumerate(_MARKS))

    def _count(self, rank: int, by: int) -> None:
        if not self._is_there():
            return
        with self._lock:
            before, self._inside[rank] = self._inside[rank], self._inside[rank] + by
            if bool(before) != bool(self._inside[rank]):
                kind = fcntl.F_RDLCK if self._inside[rank] else fcntl.F_UNLCK
                self._ask(self._marking, fcntl.F_OFD_SETLK, kind, _MARKS.index(rank))

    def _stands(self, place: int) -> bool:
        return self._ask(self._looking, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, place) != fcntl.F_UNLCK

    def _is_there(self) -> bool:
        if self._works is None:
            with self._lock:
                if self._works is None:
                    self._works = self._opened()
        return self._works

    def _opened(self) -> bool:
        try:
            self._marking, self._looking = (
                os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for _ in range(2)
            )
            self._stands(0)
        except (OSError, AttributeError) as error:  # another system than Linux, or a file system without locks
            _log.warning("device_turns_not_kept", reason=type(error).__name__)
            return False
        return True

    def _ask(self, file: int, command: int, kind: int, place: int) -> int:
        answer = fcntl.fcntl(file, command, struct.pack(_FLOCK, kind, os.SEEK_SET, place, 1, 0))
        return int(struct.unpack(_FLOCK, answer)[0])

    def __del__(self) -> None:
        for file in (self._marking, self._looking):
            if file >= 0:
                os.close(file)


def of(context: Context) -> DeviceTurns:
    """The turns on this machine's device; one object per process."""
    found: DeviceTurns = context.keep("device-turns", lambda: DeviceTurns(context.settings.data_dir / "device-turns"))
    return found
