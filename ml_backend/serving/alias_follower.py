"""A thread that tells an object to look at the aliases again, twice a second, for as long as the object exists.

A promotion is a row. Whoever holds loaded models has a method `follow` that reads the aliases once and loads what is
new; the thread calls it. Start it after the fork: neither the models nor the thread survive one.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import Any, Protocol

from ml_backend import log, quantities

POLL_S = 0.5  # interval at which the aliases are read

_log = log.get("serving")


class Follows(Protocol):
    """What holds loaded models."""

    def follow(self) -> None: ...


def begin(holder: Follows, name: str = "follow-aliases") -> threading.Thread:
    """Follow the aliases from now on; the thread ends with `holder`."""
    thread = threading.Thread(target=_follow_on, args=(weakref.ref(holder),), name=name, daemon=True)
    thread.start()
    return thread


def _follow_on(found: weakref.ref[Any]) -> None:
    trouble = log.Lasting()
    while True:
        time.sleep(POLL_S)
        holder = found()
        if holder is None:
            return
        try:
            holder.follow()
        except Exception as error:  # the database is unavailable, or an unknown error: the old version keeps serving
            if trouble.is_news():
                _log.warning("aliases_not_read", reason=quantities.shortened(str(error), 200))
        else:
            if trouble.is_over():
                _log.info("aliases_read_again")
        del holder
