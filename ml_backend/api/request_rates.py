"""How often one token may ask what is for the phone system: a token bucket each, in every process.

The rate is divided by the number of processes behind the port, because none knows what the others answered: a client
that keeps one connection open is always answered by the same process and gets that process's part. A burst of ten
seconds' worth, and at least five requests, passes at once.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from ml_backend import quantities
from ml_backend.errors import RetryableError
from ml_backend.settings import Settings

BURST_S = 10.0
LEAST_BURST = 5.0
CODE = "rate-limited"


class RequestRates:
    """The buckets of one process. Thread-safe."""

    def __init__(self, settings: Settings, *, processes: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._usual, self._of_name = settings.live_rate_per_minute, settings.rates_by_token
        self._processes, self._clock, self._lock = processes, clock, threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}  # token's name -> (requests that may pass, at)

    def take(self, name: str) -> None:
        """One request of the token with this name; RetryableError 429 when it asks too often."""
        rate = self._of_name.get(name, self._usual)
        if not rate:
            return
        per_s = rate / 60 / self._processes
        most = max(1.0, max(LEAST_BURST, rate / 60 * BURST_S) / self._processes)
        with self._lock:
            now = self._clock()
            left, at = self._buckets.get(name, (most, now))
            left = min(most, left + (now - at) * per_s)
            passes = left >= 1.0
            self._buckets[name] = (left - 1.0 if passes else left, now)
        if not passes:
            raise RetryableError(
                CODE, f"The token {name} asks more than {quantities.counted(rate, 'time')} a minute.",
                "Send it again after the seconds of Retry-After, or let the operator raise LIVE_RATES.",
                status=429, after_s=math.ceil((1.0 - left) / per_s),
            )  # fmt: skip
