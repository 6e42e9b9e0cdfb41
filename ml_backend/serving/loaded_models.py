"""Aliases -> the loaded Transcribers of this process: a promotion reaches every worker within a second.

A thread polls the aliases and loads a new version while the old one serves. The new version passes its self-check, the
reference is switched, and the old model is freed when no call uses it. If memory holds only one model
(ASR_MODELS_LOADED=1), the thread waits until no call uses the old one, unloads it, and loads and checks the new one. If
that fails, the old version is loaded again and serves. Every answer comes from one Transcriber, so none mixes versions.

The thread and the models belong to the process that created them: CTranslate2 hangs after a fork.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ml_backend import log, quantities
from ml_backend.asr.engine import Transcriber, after_fork
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, KaanError, PermanentError, RetryableError
from ml_backend.jobs import device_turns
from ml_backend.models import model_files, registry, routing
from ml_backend.models.registry import Version
from ml_backend.serving import alias_follower, default_model

FAILED_S = 60.0  # time before a version that failed to load is tried again

_log = log.get("serving")


@dataclass
class _Loaded:
    """One model in memory. `users` counts the `using` blocks that hold it now."""

    transcriber: Transcriber
    version: Version
    users: int = 0
    used_at: float = 0.0


class Serving:
    """The models of this process. Thread-safe; `using` is the only access to a model."""

    def __init__(self, context: Context) -> None:
        self._context, self._pid = context, os.getpid()
        self._most = context.settings.asr_models_loaded
        self._changed = threading.Condition()
        self._loaded: dict[str, _Loaded] = {}
        self._champion: Version | None = None  # the version that serves now; the alias may already name another
        self._loading = threading.Lock()  # one load at a time
        self._failed: dict[str, float] = {}
        self._follower: threading.Thread | None = None

    @contextmanager
    def using(self, version: Version | None = None) -> Iterator[Transcriber]:
        """A version's Transcriber, by default the champion's; it is not freed before the block ends."""
        if os.getpid() != self._pid:
            raise after_fork()
        try:
            slot = self._taken(version)
        except (PermanentError, ConfigurationError, RuntimeError) as error:
            if version is None or not routing.withdraw(self._context, version, reason=f"It does not load: {error}"):
                raise
            _log.error(
                "challenger_not_loaded", model_version=version.version, reason=quantities.shortened(str(error), 200)
            )
            raise RetryableError(
                "challenger-withdrawn", f"{version.version} does not load; its experiment has ended.",
                "The champion transcribes the call.", after_s=1.0,
            ) from error  # fmt: skip
        try:
            yield slot.transcriber
        finally:
            with self._changed:
                slot.users -= 1
                slot.used_at = time.monotonic()
                self._changed.notify_all()

    def follow(self) -> None:
        """Read the champion's alias once, and serve its version if that loads and passes its self-check."""
        wanted, before = routing.champion(self._context), self._champion
        if before is not None and wanted.version == before.version:
            return
        if time.monotonic() < self._failed.get(wanted.version, 0.0):
            return
        try:
            self._load(wanted, serve=True)
        except (KaanError, RuntimeError) as error:
            if before is None:
                raise
            self._failed[wanted.version] = time.monotonic() + FAILED_S
            _log.error("model_not_loaded", model_version=wanted.version, reason=quantities.shortened(str(error), 200))
            return
        if before is not None:
            _log.info("model_swapped", model_version=wanted.version, before=before.version)
        self._free()

    def _taken(self, version: Version | None) -> _Loaded:
        if self._champion is None:
            default_model.ensure(self._context)  # the first worker of a new deployment finds no champion
            self.follow()
            self._begin()
        while True:
            with self._changed:
                wanted = version or self._champion
                slot = self._loaded.get(wanted.version) if wanted is not None else None
                if slot is not None:
                    slot.users += 1
                    return slot
            self._load(version)

    def _load(self, version: Version | None, *, serve: bool = False) -> None:
        """Load a version, by default the one that serves when the lock is free.

        If there is no room, another version is unloaded first, and loaded again on failure.
        """
        with self._loading:
            wanted = version or self._champion
            assert wanted is not None  # noqa: S101 - whoever names none has seen a champion
            if wanted.version not in self._loaded:
                model_files.place(self._context, wanted.location)  # fetched while the old version still serves
                gone = self._make_room()
                try:
                    fresh = self._checked(wanted)
                except (KaanError, RuntimeError):
                    if gone is not None:
                        self._keep(gone, self._checked(gone))
                    raise
                self._keep(wanted, fresh)
            if serve:
                with self._changed:
                    self._champion = wanted

    def _checked(self, version: Version) -> Transcriber:
        location = registry.verified(self._context, version)
        fresh = Transcriber.load(
            location, settings=self._context.settings, model_version=version.version,
            before_batch=device_turns.of(self._context).give_way,
        )  # fmt: skip
        fresh.self_check()
        return fresh

    def _keep(self, version: Version, transcriber: Transcriber) -> None:
        with self._changed:
            self._loaded[version.version] = _Loaded(transcriber, version, used_at=time.monotonic())
            self._changed.notify_all()

    def _make_room(self) -> Version | None:
        """At the limit, unload the least recently used model; waits until no call uses it."""
        with self._changed:
            if len(self._loaded) < self._most:
                return None
            serves = self._champion.version if self._champion is not None else ""
            spare = [slot for name, slot in self._loaded.items() if name != serves] if self._most > 1 else []
            slot = min(spare or self._loaded.values(), key=lambda each: each.used_at)
            del self._loaded[slot.version.version]  # no new call can use it
            self._changed.wait_for(lambda: slot.users == 0)
        slot.transcriber.unload()
        return slot.version

    def _free(self) -> None:
        """Drop models that are neither the champion nor the challenger of a running experiment."""
        wanted = routing.challengers(self._context)
        with self._changed:
            if self._champion is not None:
                wanted.add(self._champion.version)
            for name in [name for name in self._loaded if name not in wanted]:
                del self._loaded[name]  # freed when no call uses it

    def _begin(self) -> None:
        with self._changed:
            if self._follower is None:
                self._follower = alias_follower.begin(self)


def of(context: Context) -> Serving:
    """The models of this process."""
    serving: Serving = context.keep("asr", lambda: Serving(context))
    return serving


@contextmanager
def using(context: Context, version: Version | None = None) -> Iterator[Transcriber]:
    """A Transcriber: the champion's, or the named version's."""
    with of(context).using(version) as transcriber:
        yield transcriber
