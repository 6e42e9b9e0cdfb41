"""Many small writes at once -> one commit for all that wait: each caller returns when its own is on disk.

One commit with a durable disk write takes milliseconds, and jobs want the database too. The first of the waiting
threads writes for all of them, so a burst costs about as many commits as there are turns, not as there are requests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from sqlalchemy.engine import Connection

from ml_backend import log
from ml_backend.db import Database
from ml_backend.errors import RetryableError
from ml_backend.jobs import failpoints

Item = TypeVar("Item")


class _Waiting(Generic[Item]):
    """One item, and what became of it."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.trace = log.trace()  # another request's thread may write it
        self.ended = threading.Event()
        self.error: Exception | None = None


class GroupCommit(Generic[Item]):
    """`put(item)` returns when `write(connection, item)` was committed, and raises what prevented that.

    No thread waits longer than `wait_s`, neither for the database nor for its turn.
    """

    def __init__(self, database: Database, write: Callable[[Connection, Item], None], *, wait_s: float) -> None:
        self._database, self._write, self._wait_s = database, write, wait_s
        self._waiting: list[_Waiting[Item]] = []
        self._list, self._turn = threading.Lock(), threading.Lock()

    def put(self, item: Item) -> None:
        """Commit this item, with those of other threads that wait at the same time."""
        mine = _Waiting(item)
        with self._list:
            self._waiting.append(mine)
        if self._turn.acquire(timeout=self._wait_s):
            try:
                if not mine.ended.is_set():
                    self._commit(self._take())
            finally:
                self._turn.release()
        elif not self._withdrawn(mine):
            mine.ended.wait(self._wait_s)  # another thread is writing it
        if mine.error is not None:
            raise mine.error
        if not mine.ended.is_set():
            raise RetryableError("database-busy", "The database is busy.", "Try again in a moment.")

    def _take(self) -> list[_Waiting[Item]]:
        with self._list:
            taken, self._waiting = self._waiting, []
        return taken

    def _withdrawn(self, mine: _Waiting[Item]) -> bool:
        with self._list:
            if mine not in self._waiting:
                return False
            self._waiting.remove(mine)
        return True

    def _commit(self, batch: list[_Waiting[Item]]) -> None:
        """All in one transaction; when an item spoils it, each in its own, so that the others are kept."""
        try:
            self._transaction(batch)
        except Exception as error:  # whoever waits gets it raised, so it must reach each of them
            if len(batch) > 1 and not isinstance(error, RetryableError):
                for each in batch:
                    self._commit([each])
                return
            for each in batch:
                each.error = error
        for each in batch:
            each.ended.set()

    def _transaction(self, batch: list[_Waiting[Item]]) -> None:
        with self._database.transaction(wait_s=self._wait_s) as connection:
            for each in batch:
                with log.about(trace=each.trace):
                    self._write(connection, each.item)
            failpoints.hit("web.before-commit")
        failpoints.hit("web.after-commit")
