"""The resources of a process: settings, database, object store; for a job, also its own row.

The command line opens a context once per process and passes it as an argument. Nothing here is global.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ml_backend.db import Database
from ml_backend.settings import Settings
from ml_backend.storage.object_store import ObjectStore


@dataclass(frozen=True)
class Context:
    """The resources of one process."""

    settings: Settings
    db: Database
    store: ObjectStore
    kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)  # e.g. the loaded model
    making: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)  # a lock for each name of `kept`

    def keep(self, name: str, make: Callable[[], Any]) -> Any:
        """An expensive object, made at most once per process (the transcriber, a Label Studio client)."""
        if name not in self.kept:
            with self.making.setdefault(name, threading.RLock()):
                if name not in self.kept:
                    self.kept[name] = make()
        return self.kept[name]


def open_context(settings: Settings) -> Context:
    """The context of this process. Refuses a database of another schema version; opens no network connection else."""
    from ml_backend import file_permissions
    from ml_backend.storage import configured_store

    file_permissions.folder(settings.data_dir)
    database = Database(settings.database)
    database.check_schema()
    return Context(settings, database, configured_store.open_store(settings))


@dataclass(frozen=True)
class JobContext(Context):
    """The context of one running job."""

    job_id: int = 0
    attempt: int = 1
    report: Callable[[float, str], None] = lambda fraction, note: None  # progress, 0..1 and a short note


@dataclass
class PooledItem:
    """One member of a pooled batch: settle it with `done()` or `failed(error)`."""

    job_id: int
    attempt: int
    arguments: dict[str, Any]
    settled: bool = False
    error: BaseException | None = None
    on_settled: Callable[[PooledItem], None] | None = field(default=None, repr=False, compare=False)

    def done(self) -> None:
        """Mark this member as finished, after its effects are committed. Its row is written at once."""
        self._settle(None)

    def failed(self, error: BaseException) -> None:
        """Mark this member as failed; the others go on."""
        self._settle(error)

    def _settle(self, error: BaseException | None) -> None:
        if self.settled:
            return
        self.settled, self.error = True, error
        if self.on_settled:
            self.on_settled(self)
