"""(kind, model, call, language) -> the loaded engine of the version that answers.

Every kind that is loaded has a snapshot: its routes (aliases and running experiments, by the same stable hash
as drafts) and the engines of all versions that they can choose. A thread compares the aliases twice a second; after a
promotion the new versions are loaded while the old ones answer, then the snapshot is replaced at once. A request works
with one engine from beginning to end, so no answer mixes versions, and an engine leaves memory with the last request
that uses it. What does not load changes nothing: the old snapshot keeps answering. Of an
experiment whose version this machine cannot load, the champion answers the calls, and they are on no side.

LOADERS says how an engine is loaded; another kind is one entry.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_backend import log, quantities
from ml_backend.api.live import openai_form
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, InvalidInput, PermanentError, RetryableError
from ml_backend.models import kinds, registry, routing
from ml_backend.models.registry import ANY_LANGUAGE, Version
from ml_backend.serving import alias_follower, default_model

FAILED_S = 60.0  # time before a snapshot with a version that failed to load is tried again
AGAIN_S = 5.0  # the same where nothing answers yet
SPARE = 1  # versions that were asked for by name and stay loaded, of every kind

_log = log.get("live")
Loader = Callable[[Context, Version], Any]


@dataclass(frozen=True)
class LiveEngine:
    """A loaded version. `experiment_id` and `arm` say why it was chosen, where an experiment did.

    `shadow` is asked the same when the caller has the answer, where the experiment is one in shadow.
    """

    version: Version
    engine: Any
    experiment_id: int | None = None
    arm: str | None = None
    shadow: LiveEngine | None = None


@dataclass(frozen=True)
class _Snapshot:
    """What answers for one kind now."""

    routes: routing.Routes
    languages: frozenset[str]
    engines: Mapping[str, Any]
    revision: str
    trouble: str = ""  # why a challenger does not answer here; the champion answers its calls


@dataclass
class _Held:
    """One kind: its snapshot, and engines that were asked for by name, the last used one last."""

    snapshot: _Snapshot | None = None
    spare: OrderedDict[str, Any] = field(default_factory=OrderedDict)
    failed: tuple[str, float] = ("", 0.0)  # a revision that did not load, and when to try again
    tried: str = ""  # the version that was loaded last, with success or not
    trouble: str = ""  # why what the aliases name does not answer; empty where it does


def _parser(context: Context, version: Version) -> Any:
    from ml_backend.nlu import loading

    loaded = loading.load(registry.verified(context, version))
    _warm(version, lambda: loaded.parse("where is my order"))
    return loaded


def _speaker(context: Context, version: Version) -> Any:
    from ml_backend.tts import voice_loading

    loaded = voice_loading.load(context.settings, Path(registry.verified(context, version)))
    _warm(version, loaded.warm)
    return loaded


def _warm(version: Version, run: Callable[[], object]) -> None:
    """Run it once: the first request finds everything in memory, and what cannot run never answers."""
    try:
        run()
    except Exception as error:  # ONNX Runtime raises types of its own
        raise PermanentError(
            "model-self-check", f"Model version {version.version} fails ({quantities.shortened(str(error), 80)}).",
            "Do not serve it; look at its evaluation.",
        ) from error  # fmt: skip


def _recogniser(context: Context, version: Version) -> Any:
    from ml_backend.api.live.live_batches import LiveBatches
    from ml_backend.asr.engine import Transcriber

    settings = context.settings
    location = registry.verified(context, version)
    loaded = Transcriber.load(location, settings=settings, model_version=version.version)
    loaded.self_check()
    return LiveBatches(loaded, most=settings.asr_batch_size, wait_s=settings.live_batch_wait_ms / 1000)


LOADERS: Mapping[str, Loader] = {kinds.ASR: _recogniser, kinds.NLU: _parser, kinds.TTS: _speaker}


class LiveEngines:
    """The engines of this process. Thread-safe; made after the fork.

    `serve` loads every kind when it starts (`begin`); another process loads a kind when it is first asked for.
    """

    def __init__(self, context: Context, loaders: Mapping[str, Loader] = LOADERS) -> None:
        self._context, self._loaders, self._pid = context, loaders, os.getpid()
        self._held = {kind: _Held() for kind in loaders}
        self._loading = threading.RLock()  # one load at a time
        self._follower: threading.Thread | None = None

    def answering(
        self, kind: str, *, model: str = "", call: str | None = None, language: str | None = None
    ) -> LiveEngine:
        """The engine that answers. Without a call, no experiment is asked: its outcome could not be counted."""
        if model not in ("", registry.CHAMPION):
            version = self._named(kind, model, language)
            return LiveEngine(version, self._of_version(kind, version))
        snapshot = self._snapshot(kind)
        language = language if language in snapshot.languages else None
        if not call:
            version = snapshot.routes.champion_of(language)
            return LiveEngine(version, snapshot.engines[version.version])
        route = snapshot.routes.choose(call, language=language)
        if route.version.version not in snapshot.engines:  # the challenger does not load here: its arm is not counted
            version = snapshot.routes.champion_of(language)
            return LiveEngine(version, snapshot.engines[version.version])
        shadow = route.shadow if route.shadow is not None and route.shadow.version in snapshot.engines else None
        return LiveEngine(
            route.version, snapshot.engines[route.version.version], route.experiment_id, route.arm,
            LiveEngine(shadow, snapshot.engines[shadow.version]) if shadow is not None else None,
        )  # fmt: skip

    def begin(self) -> None:
        """Load what answers of every kind in a thread, so that no caller waits for it later."""
        threading.Thread(target=self._load_all, name="load-live-models", daemon=True).start()

    def missing(self) -> list[str]:
        """Kinds that cannot answer yet."""
        return [kind for kind, held in self._held.items() if held.snapshot is None]

    def troubles(self) -> dict[str, str]:
        """Kinds whose promoted version does not load here, each with the reason: what answered before goes on."""
        return {kind: held.trouble for kind, held in self._held.items() if held.trouble}

    def follow(self) -> None:
        """Read the aliases once; load what is new, and answer with it when all of it is loaded."""
        for kind, held in self._held.items():
            if held.snapshot is not None:
                self._refresh(kind)

    def _load_all(self) -> None:
        trouble = log.Lasting()
        while missing := self.missing():
            for kind in missing:
                try:
                    self._snapshot(kind)
                except Exception as error:  # the other kinds must not wait for this one
                    if trouble.is_news():
                        reason = quantities.shortened(str(error) or type(error).__name__, 200)
                        _log.error("live_kind_not_loaded", kind=kind, reason=reason)
            if self.missing():
                time.sleep(AGAIN_S)
        _log.info("live_models_loaded")

    def _snapshot(self, kind: str) -> _Snapshot:
        found = self._held[kind].snapshot
        if found is not None:
            return found
        with self._loading:
            if self._held[kind].snapshot is None:
                default_model.ensure(self._context, kind)  # a new deployment has no champion yet
                self._refresh(kind)
                if self._follower is None:
                    self._follower = alias_follower.begin(self, "follow-live-aliases")
            found = self._held[kind].snapshot
        assert found is not None  # noqa: S101 - `_refresh` raises where there is none
        return found

    def _refresh(self, kind: str) -> None:
        with self._loading:
            held = self._held[kind]
            before = held.snapshot
            routes = routing.Routes(self._context, kind)
            revision = routes.revision
            if before is not None and revision == before.revision and not before.trouble:
                return
            if held.failed[0] == revision and (left_s := held.failed[1] - time.monotonic()) > 0:
                if before is not None:
                    return
                raise RetryableError(
                    "model-not-loaded", f"The {kind} model does not load.",
                    "Send it again; `python -m ml_backend status` has the reason for the operator.", after_s=left_s,
                )  # fmt: skip
            try:
                fresh = self._loaded(kind, routes, before)
            except Exception as error:  # each engine's library has errors of its own
                reason = quantities.shortened(str(error) or type(error).__name__, 200)
                rest = "Nothing answers" if before is None else "What answered before goes on"
                held.trouble = f"{held.tried} does not load: {reason} {rest}."
                held.failed = (revision, time.monotonic() + (AGAIN_S if before is None else FAILED_S))
                if before is None:
                    raise
                _log.error("live_model_not_loaded", kind=kind, model_version=held.tried, reason=reason)
                return
            held.snapshot, held.trouble = fresh, fresh.trouble
            held.failed = (revision, time.monotonic() + FAILED_S) if fresh.trouble else ("", 0.0)
            if before is not None and before.revision != revision:
                _log.info("live_models_swapped", kind=kind, versions=sorted(fresh.engines))

    def _loaded(self, kind: str, routes: routing.Routes, before: _Snapshot | None) -> _Snapshot:
        """Every version that the routes can choose, loaded; those of `before` are taken over."""
        engines: dict[str, Any] = {}
        languages = routes.languages
        for version in routes.champions(languages):
            engines[version.version] = self._taken_or_loaded(kind, version, before)
        trouble = ""
        for version in routes.challengers():
            try:
                engines[version.version] = self._taken_or_loaded(kind, version, before)
            except PermanentError as error:  # it loads nowhere
                routing.withdraw(self._context, version, reason=f"It does not load: {error}")
                _log.error("challenger_not_loaded", model_version=version.version)
                return self._loaded(kind, routing.Routes(self._context, kind), before)  # without its experiment
            except (ConfigurationError, RuntimeError) as error:  # this machine lacks something: memory, an environment
                reason = quantities.shortened(str(error), 200)
                trouble = f"{version.version} does not load here: {reason} The champion answers its calls."
                _log.error("challenger_not_loaded_here", model_version=version.version, reason=reason)
        return _Snapshot(routes, languages, engines, routes.revision, trouble)

    def _taken_or_loaded(self, kind: str, version: Version, before: _Snapshot | None) -> Any:
        if before is not None and version.version in before.engines:
            return before.engines[version.version]
        self._held[kind].tried = version.version
        spare = self._held[kind].spare.pop(version.version, None)
        return spare if spare is not None else self._loaders[kind](self._context, version)

    def _of_version(self, kind: str, version: Version) -> Any:
        """A version by name: one that answers anyway, else loaded and kept for the next request."""
        held = self._held[kind]
        if held.snapshot is not None and version.version in held.snapshot.engines:
            return held.snapshot.engines[version.version]
        with self._loading:
            engine = held.spare.pop(version.version, None) or self._loaders[kind](self._context, version)
            held.spare[version.version] = engine
            while len(held.spare) > SPARE:
                held.spare.popitem(last=False)
            return engine

    def _named(self, kind: str, name: str, language: str | None) -> Version:
        """An alias of the kind, or a version; 404 for what is neither."""
        for spoken in (language, ANY_LANGUAGE):
            if spoken and (found := registry.aliased(self._context, kind, language=spoken, alias=name)) is not None:
                return found
        try:
            version = registry.find(self._context, name, kind=kind)
        except PermanentError:
            raise openai_form.unknown_model(name) from None
        if version.kind != kind:
            raise openai_form.about(
                "model",
                InvalidInput(
                    "wrong-kind", f"{version.version} is a model of kind {version.kind}, not {kind}.",
                    "Leave the model out: the champion answers. GET /v1/models lists the others.",
                ),
            )  # fmt: skip
        return version


def troubles(context: Context) -> dict[str, str]:
    """Of this process, where it has loaded anything."""
    found: LiveEngines | None = context.kept.get("live-engines")
    return found.troubles() if found is not None else {}


def of(context: Context) -> LiveEngines:
    """The engines of this process."""
    found: LiveEngines = context.keep("live-engines", lambda: LiveEngines(context))
    return found
