"""How fast Exotel may be asked: one pace for all processes of an account, kept in the database.

Exotel counts per account, and asks for much less than we could send. Every request takes the next free place in time;
places are EXOTEL_REQUESTS_PER_MINUTE apart. Who would have to wait long gives its worker back instead of sleeping.
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
PATIENT = 5  # times the provider's own figure is taken
MAX_AHEAD = timedelta(hours=1, minutes=5)  # a place further away was taken before a clock went back
THEIRS = (  # trouble of the provider's side: in the end it is gone there. Our own side's never makes a call missing.
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
        """Wait for the next place. RetryableError `exotel-pace` when that is longer than a worker should sleep."""
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
                "It is done then; EXOTEL_REQUESTS_PER_MINUTE sets the pace.",
                after_s=wait_s,
            )
        if wait_s > 0:
            self.sleep(wait_s)

    def hold(self, seconds: float) -> None:
        """Nobody asks for this long: Exotel said that it is too much."""
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
    """How long to wait after trouble that passes: what the provider asks for, else a growing time with jitter.

    Who asks for half a minute again and again gets the growing time too.
    """
    if error.after_s is not None and attempt <= PATIENT:
        return error.after_s
    bound = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempt - 1, 12))
    return max(error.after_s or 0.0, random.uniform(bound / 2, bound))
