"""The rate limit for Exotel's API: shared by all processes of an account, kept in the database.

Exotel limits requests per account. Every request takes the next free time slot; EXOTEL_REQUESTS_PER_MINUTE sets how
many slots there are in a minute. A job whose slot is far away is rescheduled and does not block its worker.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.db import Database
from ml_backend.errors import RetryableError
from sync.exotel import reader_positions

MAX_SLEEP_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 3600.0
PATIENT = 5  # attempts for which the provider's own waiting time is used
MAX_AHEAD = timedelta(hours=1, minutes=5)  # a slot further ahead was taken before the clock was set back
THEIRS = (  # failures of the provider, which can end in `missing`; our own failures never make a call missing
    "http-timeout", "http-unreachable", "http-busy", "http-unavailable", "host-unknown", "download-cut",
    "download-deadline", "exotel-strange-answer",
)  # fmt: skip


class RateLimiter:
    """`take()` before each request; `hold(seconds)` after a 429."""

    def __init__(
        self,
        database: Database,
        account: str,
        *,
        per_minute: int,
        sleep: Callable[[float], None] = time.sleep,
        max_sleep_s: float = MAX_SLEEP_S,
    ) -> None:
        self.database = database
        self.name = f"exotel-pace:{account}"[:200]
        self.apart = timedelta(seconds=60 / per_minute)
        self.sleep = sleep
        self.max_sleep_s = max_sleep_s

    def take(self) -> None:
        """Wait for the next slot. RetryableError `exotel-pace` when that is longer than a worker should sleep."""
        now = tables.now()
        with self.database.transaction() as connection:
            place = self._next(connection, now)
            wait_s = (place - now).total_seconds()
            if wait_s <= self.max_sleep_s:
                self._write(connection, place + self.apart)
        if wait_s > self.max_sleep_s:
            raise RetryableError(
                "exotel-pace",
                f"Exotel may be asked again in {wait_s:.0f} s.",
                "It is done then; EXOTEL_REQUESTS_PER_MINUTE sets the rate limit.",
                after_s=wait_s,
            )
        if wait_s > 0:
            self.sleep(wait_s)

    def hold(self, seconds: float) -> None:
        """Send no request for this long: Exotel answered 429 (too many requests)."""
        until = tables.now() + timedelta(seconds=seconds)
        with self.database.transaction() as connection:
            if until > self._next(connection, tables.now()):
                self._write(connection, until)

    def _next(self, connection: Connection, now: datetime) -> datetime:
        row = reader_positions.read(connection, self.name)
        place = now if row is None else datetime.fromisoformat(row.position["next"]).astimezone(UTC)
        return now if place < now or place > now + MAX_AHEAD else place

    def _write(self, connection: Connection, place: datetime) -> None:
        reader_positions.write(connection, self.name, {"next": place.isoformat()}, state="pace")


def pause_s(error: RetryableError, attempt: int) -> float:
    """How long to wait after a temporary failure: the time the provider states, else exponential back-off with jitter.

    After PATIENT attempts the back-off applies even if the provider states a shorter time.
    """
    if error.after_s is not None and attempt <= PATIENT:
        return error.after_s
    bound = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempt - 1, 12))
    return max(error.after_s or 0.0, random.uniform(bound / 2, bound))
