"""Spellings of labels -> one spelling each: names that differ only in case, spaces, hyphens or underscores are one.

A spelling that the database has stays, so that a model's labels do not change with the next import. Of new ones the
most frequent is taken, and in a tie the first in alphabetical order.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

_BETWEEN = re.compile(r"[\s_-]+")


def key(name: str) -> str:
    """Equal for all spellings of one label."""
    return _BETWEEN.sub("_", unicodedata.normalize("NFKC", name).casefold()).strip("_") or name.strip()


class LabelNames:
    """The spelling of each intent and entity, and how often another one was replaced."""

    def __init__(self, known: Iterable[str] = (), counted: Mapping[str, int] | None = None,
                 entities: Iterable[str] = ()) -> None:  # fmt: skip
        self._intents = {key(name): name for name in sorted(known, reverse=True)}
        spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for name, times in (counted or {}).items():
            spellings[key(name)][" ".join(name.split())] += times
        for label, found in spellings.items():
            best = min(found, key=lambda name: (-found[name], name))
            self._intents.setdefault(label, best)
        self._entities = {key(name): name for name in sorted(entities, reverse=True)}
        self._merged: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def intent(self, name: str) -> str:
        """The spelling that is stored."""
        return self._spelled(self._intents, name)

    def entity(self, name: str) -> str:
        """The same for an entity."""
        return self._spelled(self._entities, name)

    @property
    def merged(self) -> dict[str, dict[str, int]]:
        """Each stored spelling with those that were replaced by it, and how many times."""
        return {name: dict(sorted(found.items())) for name, found in sorted(self._merged.items())}

    def _spelled(self, known: dict[str, str], name: str) -> str:
        plain = " ".join(name.split())
        stored = known.setdefault(key(name), plain)
        if stored != name:
            self._merged[stored][name] += 1
        return stored
