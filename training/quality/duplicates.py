"""Samples -> calls that are in the material twice: the same audio, or the same call recorded or converted again.

The same bytes are the same audio. A call that was converted again has other bytes, but the same length and nearly the
same words: what two people wrote down of it differs in some of them, and a call between two others has either another
length or other words. What is said in many calls (greetings, scripts) is left out before words are compared.

Words are compared three in a row, by MinHash (Broder 1997): the share of equal minima estimates the share of triples
two texts have in common, needs 384 bytes per call, and adds up over the parts of a call.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import material
from ml_backend.tables import recordings, samples
from training import normalize

MINIMA = 96
LEAST_TRIPLES = 6  # that few other calls have; a call of fewer cannot be told from others
ALIKE = 0.2  # one word in four written otherwise still leaves so much; calls of one script share hardly any
SAME_LENGTH_S = 0.3  # what an encoder adds at the ends
BLOCK = 2048  # calls compared with as many others at a time
SAME_AUDIO, SAME_CALL = "same-audio", "same-call"

Hashes = npt.NDArray[np.uint64]
Minima = npt.NDArray[np.uint32]

_random = np.random.default_rng(20260101)
_FACTORS = _random.integers(0, 2**63, MINIMA, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS = _random.integers(0, 2**63, MINIMA, dtype=np.uint64)
_STEP, _MIX = np.uint64(1_000_003), np.uint64(0xBF58476D1CE4E5B9)


class Familiar:
    """How many texts each triple of words is in, in 8 MB however many there are (two triples may share a counter)."""

    def __init__(self, texts: Iterable[Hashes]) -> None:
        self._counters = np.zeros(2**22, dtype=np.uint16)
        self._texts = 0
        for found in texts:
            places = found & np.uint64(2**22 - 1)  # a place that is there twice counts once all the same
            self._counters[places] += self._counters[places] < np.iinfo(np.uint16).max
            self._texts += 1

    def rare(self, found: Hashes) -> Hashes:
        """Those that hardly any other text has."""
        rare: Hashes = found[self._counters[found & np.uint64(2**22 - 1)] <= max(4, self._texts // 200)]
        return rare


@dataclass(slots=True)  # there is one of each recording at once
class Heard:
    """What was written down of one recording, as the smallest hashes of its rare triples."""

    recording_id: int
    audio_sha256: str | None
    duration_s: float | None
    identity: str = ""  # where it came from, the same in every database
    blind: bool = False
    rare: int = 0
    minima: Minima = field(default_factory=lambda: np.full(MINIMA, 2**32 - 1, dtype=np.uint32))

    def add(self, found: Hashes) -> None:
        """The rare triples of one more part of the call."""
        if len(found):
            hashes = found[None, :] * _FACTORS[:, None] + _OFFSETS[:, None]
            smallest = (hashes >> np.uint64(32)).min(axis=1).astype(np.uint32)
            self.rare += len(found)
            self.minima = np.minimum(self.minima, smallest)


def triples(text: str, language: str | None = None) -> Hashes:
    """Three words in a row, each as one number."""
    words = normalize.indic(text, language).split()
    codes: Hashes = np.array([zlib.crc32(word.encode()) for word in words], dtype=np.uint64)
    if len(codes) < 3:
        return np.zeros(0, dtype=np.uint64)
    found = (codes[:-2] * _STEP + codes[1:-1]) * _STEP + codes[2:]
    found = (found ^ (found >> np.uint64(29))) * _MIX
    return np.unique(found ^ (found >> np.uint64(32)))


@dataclass(frozen=True)
class Twin:
    """Two recordings of one call. `similarity` is of their texts."""

    first: int
    second: int
    kind: str
    similarity: float


def heard(connection: Connection, project_id: int | None = None) -> list[Heard]:
    """Every recording with accepted samples that can still be heard. Reads the texts twice and keeps none."""
    familiar = Familiar(triples(row.text, row.language) for row in _texts(connection, project_id))
    found: list[Heard] = []
    for row in _texts(connection, project_id):
        if not found or found[-1].recording_id != row.recording_id:
            found.append(Heard(row.recording_id, row.sha256, row.duration_s, row.source_identity))
        found[-1].blind = found[-1].blind or bool(row.blind)
        found[-1].add(familiar.rare(triples(row.text, row.language)))
    return found


def find(calls: list[Heard]) -> list[Twin]:
    """Twins among recordings, each pair once, the smaller id first."""
    return sorted([*_same_audio(calls), *_same_call(calls)], key=lambda twin: (twin.first, twin.second))


def surplus(calls: list[Heard], twins: list[Twin]) -> set[int]:
    """The recordings a dataset can do without: of each group of twins all but one, a blind one before others.

    Which one follows from the calls alone, so that another database with the same ones keeps the same.
    """
    group: dict[int, int] = {}
    for twin in twins:
        one, other = _root(group, twin.first), _root(group, twin.second)
        group[max(one, other)] = min(one, other)
    members: dict[int, list[Heard]] = defaultdict(list)
    for call in calls:
        members[_root(group, call.recording_id)].append(call)
    kept = {min(each, key=_first).recording_id for each in members.values()}
    return {call.recording_id for call in calls} - kept


def _first(call: Heard) -> tuple[bool, str, str, int]:
    return not call.blind, call.audio_sha256 or "", call.identity, call.recording_id


def told(calls: list[Heard], twins: list[Twin]) -> dict[str, Any]:
    """As the summary shows it."""
    kinds: dict[str, int] = defaultdict(int)
    for twin in twins:
        kinds[twin.kind] += 1
    return {
        "recordings": len(calls),
        "pairs": dict(sorted(kinds.items())),
        "surplus": len(surplus(calls, twins)),
        "examples": [vars(twin) for twin in twins[:20]],
    }


def _texts(connection: Connection, project_id: int | None) -> Iterator[Any]:
    sample, audio = samples.c, recordings.c
    statement = (
        sa.select(sample.recording_id, sample.text, sample.language, sample.blind)
        .add_columns(audio.sha256, audio.duration_s, audio.source_identity)
        .join(recordings, audio.id == sample.recording_id)
        .where(sample.state == "accepted", audio.state.not_in(material.GONE))
        .order_by(sample.recording_id)
    )
    if project_id is not None:
        statement = statement.where(sample.project_id == project_id)
    yield from connection.execute(statement, execution_options={"yield_per": 2000})


def _same_audio(calls: list[Heard]) -> Iterator[Twin]:
    first: dict[str, int] = {}
    for call in sorted(calls, key=lambda each: each.recording_id):
        if call.audio_sha256 and first.setdefault(call.audio_sha256, call.recording_id) != call.recording_id:
            yield Twin(first[call.audio_sha256], call.recording_id, SAME_AUDIO, 1.0)


def _same_call(calls: list[Heard]) -> Iterator[Twin]:
    """Neighbours in length are compared; all others cannot be twins."""
    known = [call for call in calls if call.duration_s is not None and call.rare >= LEAST_TRIPLES]
    known.sort(key=lambda call: (call.duration_s or 0.0, call.recording_id))
    if not known:
        return
    lengths = np.array([call.duration_s for call in known])
    ends = np.searchsorted(lengths, lengths + SAME_LENGTH_S, side="right")
    for start in range(0, len(known), BLOCK):
        rows = _table(known, start, start + BLOCK)
        last = int(ends[start + len(rows) - 1])
        for begin in range(start, last, BLOCK):  # a copy of all minima at once would be the most that is ever in memory
            others = rows if begin == start else _table(known, begin, min(begin + BLOCK, last))
            for place, row in enumerate(rows, start):
                low, high = max(place + 1, begin), min(int(ends[place]), begin + len(others))
                if low < high:
                    alike = (others[low - begin : high - begin] == row).mean(axis=1)
                    for offset in np.flatnonzero(alike >= ALIKE):
                        yield from _twin(known[place], known[low + int(offset)], float(alike[offset]))


def _table(known: list[Heard], begin: int, end: int) -> Minima:
    return np.stack([call.minima for call in known[begin:end]])


def _twin(one: Heard, other: Heard, alike: float) -> Iterator[Twin]:
    if not one.audio_sha256 or one.audio_sha256 != other.audio_sha256:
        first, second = sorted((one.recording_id, other.recording_id))
        yield Twin(first, second, SAME_CALL, round(alike, 3))


def _root(group: Mapping[int, int], number: int) -> int:
    while group.get(number, number) != number:
        number = group[number]
    return number
