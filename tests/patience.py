"""Waiting for something to become true, with a deadline instead of a sleep that hopes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(happens: Callable[[], Any], what: str, *, within_s: float = 30.0, every_s: float = 0.05) -> Any:
    """The first truthy answer; AssertionError that says what did not happen."""
    deadline = time.monotonic() + within_s
    while not (answer := happens()):
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        time.sleep(every_s)
    return answer
