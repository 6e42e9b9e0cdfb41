"""Recording -> the model version that transcribes it: the champion, or the challenger of a running experiment.

The arm of a call depends only on the experiment's salt and the call (SHA-256, not Python's `hash`, which differs
between processes), so all recordings of a call, and every repetition, are in one arm.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ml_backend import quantities, tables
from ml_backend.context import Context
from ml_backend.errors import KaanError
from ml_backend.models import registry
from ml_backend.models.registry import ANY_LANGUAGE, Version
from ml_backend.tables import experiments

CHAMPION, CHALLENGER = "champion", "challenger"
AB, SHADOW = "ab", "shadow"


@dataclass(frozen=True)
class Route:
    """The version whose text people see; in an experiment, its id and arm, and the shadow version if there is one."""

    version: Version
    experiment_id: int | None = None
    arm: str | None = None
    shadow: Version | None = None


def champion(context: Context, kind: str = "asr", *, language: str = ANY_LANGUAGE) -> Version:
    """The version that serves a language."""
    return registry.champion(context, kind, language=language)


class Routes:
    """A snapshot of the aliases and running experiments, for any number of recordings."""

    def __init__(self, context: Context, kind: str = "asr") -> None:
        self._context, self._kind = context, kind
        self._experiments = _running(context, kind)
        self._champions: dict[str, Version] = {}
        self._others: dict[str, Version | None] = {}
        self._revision: str | None = None

    @property
    def revision(self) -> str:
        """A digest of the aliases and running experiments, on which routes depend besides the recording."""
        if self._revision is None:
            alias = tables.aliases.c
            serving = sa.select(alias.language, alias.alias, alias.model_version_id).where(alias.kind == self._kind)
            compared = [
                (one.id, one.champion, one.challenger, one.language, one.kind, one.salt, one.traffic_share)
                for one in self._experiments
            ]
            said = [sorted(list(map(str, row)) for row in rows) for rows in (self._context.db.rows(serving), compared)]
            self._revision = hashlib.sha256(json.dumps(said, ensure_ascii=False).encode()).hexdigest()[:16]
        return self._revision

    @property
    def languages(self) -> frozenset[str]:
        """The languages with a champion or an experiment of their own; all others are routed alike."""
        alias = tables.aliases.c
        own = sa.select(alias.language).where(alias.kind == self._kind, alias.alias == registry.CHAMPION)
        found = {str(row.language) for row in self._context.db.rows(own)} | {str(e.language) for e in self._experiments}
        return frozenset(found - {ANY_LANGUAGE})

    def champions(self, languages: Iterable[str] = ()) -> list[Version]:
        """The versions that answer as champions, for every language or one of these."""
        found = {version.version: version for version in map(self._champion, (ANY_LANGUAGE, *sorted(languages)))}
        return list(found.values())

    def challengers(self) -> list[Version]:
        """The versions of this kind that running experiments compare with a champion."""
        mine = [self._find(one.challenger) for one in self._experiments]
        return [version for version in mine if version is not None]

    def champion_of(self, language: str | None = None) -> Version:
        """The version that answers where no call is known."""
        return self._champion(language or ANY_LANGUAGE)

    def kept(self, route: Route, *, language: str | None) -> dict[str, Any]:
        """A route as a recording's row stores it; `language` is the one it was chosen for."""
        return {
            "version": route.version.version,
            "experiment_id": route.experiment_id,
            "arm": route.arm,
            "shadow": route.shadow.version if route.shadow is not None else None,
            "language": language,
            "revision": self.revision,
        }

    def restored(self, kept: Mapping[str, Any] | None, *, language: str | None) -> Route | None:
        """The route that `kept` stored; None if the language, an alias or an experiment has changed since."""
        if not kept or (kept.get("language"), kept.get("revision")) != (language, self.revision):
            return None
        version, shadow = self._find(str(kept["version"])), kept.get("shadow")
        if version is None:
            return None
        return Route(version, kept.get("experiment_id"), kept.get("arm"), self._find(str(shadow)) if shadow else None)

    def choose(self, key: str, *, language: str | None = None) -> Route:
        """The route of one recording; `key` is its call's id, or its audio's digest when no call is known."""
        serving = self._champion(language or ANY_LANGUAGE)
        for experiment in self._experiments:
            if experiment.language not in (ANY_LANGUAGE, language) or experiment.champion != serving.version:
                continue
            other = self._find(experiment.challenger)
            if other is None:
                continue  # the version is gone: skip the experiment
            if experiment.kind == SHADOW:
                return Route(serving, experiment.id, CHAMPION, other if _within(experiment, key) else None)
            arm = arm_of(experiment, key)
            return Route(other if arm == CHALLENGER else serving, experiment.id, arm)
        return Route(serving)

    def _champion(self, language: str) -> Version:
        if language not in self._champions:
            self._champions[language] = champion(self._context, self._kind, language=language)
        return self._champions[language]

    def _find(self, name: str) -> Version | None:
        if name not in self._others:
            try:
                self._others[name] = registry.find(self._context, name)
            except KaanError:
                self._others[name] = None
        return self._others[name]


def share_of(salt: str, key: str) -> float:
    """A call's position in 0..1, the same on every machine and in every process."""
    digest = hashlib.sha256(f"{salt}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def arm_of(experiment: sa.Row[Any], key: str) -> str:
    """The side of a call whose answer people get; in shadow they all get the champion's."""
    return CHALLENGER if experiment.kind != SHADOW and _within(experiment, key) else CHAMPION


def _within(experiment: sa.Row[Any], key: str) -> bool:
    return share_of(str(experiment.salt or experiment.name), key) < float(experiment.traffic_share)


def challengers(context: Context, kind: str = "asr") -> set[str]:
    """Versions of a kind that running experiments compare with the champion."""
    return {str(experiment.challenger) for experiment in _running(context, kind)}


def withdraw(context: Context, version: Version, *, reason: str) -> bool:
    """End the experiments of a version that cannot be served; returns whether there was one."""
    mine = sa.and_(experiments.c.challenger == version.version, experiments.c.state == "running")
    values = {
        "state": "withdrawn",
        "reason_code": "withdrawn",
        "reason": quantities.shortened(reason, 400),
        "ended_at": tables.now(),
    }
    with context.db.transaction() as connection:
        ended = bool(connection.execute(sa.update(experiments).where(mine).values(**values)).rowcount)
        if ended:
            registry.draft_anew(connection)
    return ended


def _running(context: Context, kind: str) -> list[sa.Row[Any]]:
    mine = sa.and_(experiments.c.state == "running", experiments.c.model_kind == kind)
    statement = sa.select(experiments).where(mine).order_by(experiments.c.id)
    return list(context.db.rows(statement))
