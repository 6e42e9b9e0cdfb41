"""How many live requests one process takes: who is one too many gets 429 and a time to come again, so no queue grows.

A waiting request holds a thread and its audio, and a caller on the line is gone after seconds. So it is better sent
away at once, where OpenAI's clients come again by themselves, perhaps to another process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ml_backend.errors import RetryableError
from ml_backend.jobs.device_turns import DeviceTurns


class Admission:
    """At most `most` requests at a time in this process. While one is here, jobs on the same device give way."""

    def __init__(self, most: int, turns: DeviceTurns) -> None:
        self._most, self._turns, self._inside, self._lock = most, turns, 0, threading.Lock()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """For the time of one request; 429 when too many are here."""
        with self._lock:
            if self._inside >= self._most:
                raise RetryableError(
                    "live-busy", f"{self._most} requests are being answered or wait.",
                    "Send it again after the seconds of Retry-After.", status=429, after_s=1.0,
                )  # fmt: skip
            self._inside += 1
        try:
            with self._turns.taken():
                yield
        finally:
            with self._lock:
                self._inside -= 1
