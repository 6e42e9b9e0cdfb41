"""Samples -> calls that are in the training data twice: the same audio, or the same call recorded or converted again.

The same bytes are the same audio. A converted copy of a call has other bytes, but the same length and nearly the same
words, because two annotators differ in some of them. Other calls differ in length or words. Phrases of many calls
(greetings, scripts) are left out before words are compared.

Texts are compared by word triples with MinHash (Broder 1997): the share of equal minima estimates the share of common
triples, needs 384 bytes per call, and can be merged over the parts of a call. Calls are read in order of length, so
that only those of one length are in memory.
"""

from __future__ import annotations

import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.tables import recordings, samples
from training.text import writing

MINIMA = 96
LEAST_TRIPLES = 6  # rare ones; a call with fewer cannot be distinguished from others
ALIKE = 0.2  # remains when one word in four differs; calls with the same script share hardly any
SAME_LENGTH_S = 0.3  # an encoder's padding
BLOCK = 2048  # calls per block of a comparison
_PAGE = 200  # recordings whose texts are read at a time
_TEXTS, _TRIPLES = 2000, 4096  # processed at once
_PLACES = np.uint64(2**22)
SAME_AUDIO, SAME_CALL = "same-audio", "same-call"

Hashes = npt.NDArray[np.uint64]
Minima = npt.NDArray[np.uint32]

_random = np.random.default_rng(20260101)
_FACTORS = _random.integers(0, 2**63, MINIMA, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS = _random.integers(0, 2**63, MINIMA, dtype=np.uint64)
_STREAM = {"yield_per": 2000}
_STEP, _MIX = np.uint64(1_000_003), np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True)
class Batch:
    """Hashed triples of some texts, grouped by text, each once per text; `owners` is the text of each."""

    texts: int
    hashes: Hashes
    owners: npt.NDArray[np.intp]


def batches(texts: Iterable[str]) -> Iterator[Batch]:
    """Texts -> their triples, many texts at a time, because numpy's overhead per call dominates."""
    rest = iter(texts)
    while some := list(islice(rest, _TEXTS)):
        yield batch_of(some)


def batch_of(texts: Sequence[str]) -> Batch:
    codes: list[int] = []
    lengths: list[int] = []
    for words in writing.indic_words(texts):
        codes += map(_code, words)
        lengths.append(len(words))
    numbers = np.array(codes, dtype=np.uint64)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    whole = owners[:-2] == owners[2:]
    found = ((numbers[:-2] * _STEP + numbers[1:-1]) * _STEP + numbers[2:])[whole]
    owners = owners[:-2][whole]
    found = (found ^ (found >> np.uint64(29))) * _MIX
    found = found ^ (found >> np.uint64(32))
    order = np.lexsort((found, owners))
    found, owners = found[order], owners[order]
    first = np.ones(len(found), dtype=bool)
    first[1:] = (found[1:] != found[:-1]) | (owners[1:] != owners[:-1])
    return Batch(len(lengths), found[first], owners[first])


class FamiliarPhrases:
    """How many texts have each word triple, in 8 MB of counters (two triples may share one)."""

    def __init__(self, given: Iterable[Batch]) -> None:
        self._counters = np.zeros(_PLACES, dtype=np.uint16)
        self._texts = 0
        for batch in given:
            places = batch.hashes % _PLACES  # two triples of a text in one place count once
            once = np.unique(batch.owners.astype(np.uint64) * _PLACES + places) % _PLACES
            found, counts = np.unique(once, return_counts=True)
            grown = self._counters[found] + counts
            self._counters[found] = np.minimum(grown, np.iinfo(np.uint16).max)
            self._texts += batch.texts

    def rare(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Which of them occur in hardly any other text."""
        rare: npt.NDArray[np.bool_] = self._counters[hashes % _PLACES] <= max(4, self._texts // 200)
        return rare


@dataclass(slots=True)
class RecordingFingerprint:
    """One recording's text as the smallest hashes of its rare triples."""

    recording_id: int
    audio_sha256: str | None
    duration_s: float | None
    identity: str = ""  # its source, equal in every database
    blind: bool = False
    rare: int = 0
    minima: Minima = field(default_factory=lambda: np.full(MINIMA, 2**32 - 1, dtype=np.uint32))

    @property
    def place(self) -> tuple[float, int]:
        """Its sort key by length; unknown lengths come first."""
        return -1.0 if self.duration_s is None else self.duration_s, self.recording_id


def add_parts(
    calls: Sequence[RecordingFingerprint], batch: Batch, call_of: npt.NDArray[np.intp], familiar: FamiliarPhrases
) -> None:
    """Add the rare triples of parts of calls; `call_of` maps each text of the batch to its call."""
    rare = familiar.rare(batch.hashes)
    found, owners = batch.hashes[rare], call_of[batch.owners[rare]]
    order = np.argsort(owners, kind="stable")
    found, owners = found[order], owners[order]
    for start in range(0, len(found), _TRIPLES):  # all hashes of a page would take a hundred megabytes
        some, whose = found[start : start + _TRIPLES], owners[start : start + _TRIPLES]
        begins = np.flatnonzero(np.diff(whose, prepend=-1))
        hashes = some[None, :] * _FACTORS[:, None] + _OFFSETS[:, None]
        smallest = (np.minimum.reduceat(hashes, begins, axis=1) >> np.uint64(32)).astype(np.uint32)
        for column, place in enumerate(begins):
            call = calls[whose[place]]
            call.minima = np.minimum(call.minima, smallest[:, column])
    for call, count in zip(calls, np.bincount(owners, minlength=len(calls)), strict=True):
        call.rare += int(count)


@lru_cache(maxsize=1 << 16)
def _code(word: str) -> int:
    return zlib.crc32(word.encode())


@dataclass(frozen=True)
class Twin:
    """Two recordings of one call, the smaller id first. `similarity` is of their texts."""

    one: RecordingFingerprint
    other: RecordingFingerprint
    kind: str
    similarity: float

    @property
    def pair(self) -> tuple[int, int]:
        """Their row ids."""
        return self.one.recording_id, self.other.recording_id


@dataclass(frozen=True)
class Twins:
    """All twins of some recordings."""

    recordings: int
    found: list[Twin]

    def surplus(self) -> set[int]:
        """The surplus recordings: of each group of twins all but one; a blind one is preferred.

        The choice depends on the calls alone, so that another database with the same calls keeps the same one.
        """
        group: dict[int, int] = {}
        for twin in self.found:
            one, other = (_root(group, number) for number in twin.pair)
            group[max(one, other)] = min(one, other)
        members: dict[int, dict[int, RecordingFingerprint]] = defaultdict(dict)
        for twin in self.found:
            for call in (twin.one, twin.other):
                members[_root(group, call.recording_id)][call.recording_id] = call
        kept = {min(each.values(), key=_first).recording_id for each in members.values()}
        return {number for each in members.values() for number in each} - kept

    def to_dict(self) -> dict[str, Any]:
        kinds = Counter(twin.kind for twin in self.found)
        return {
            "recordings": self.recordings,
            "pairs": dict(sorted(kinds.items())),
            "surplus": len(self.surplus()),
            "examples": [
                {"first": twin.pair[0], "second": twin.pair[1], "kind": twin.kind, "similarity": twin.similarity}
                for twin in self.found[:20]
            ],
        }


def fingerprints(connection: Connection, project_id: int | None = None) -> Iterator[RecordingFingerprint]:
    """Every recording with accepted samples and available audio, the shortest first. Reads the texts twice."""
    spoken = _spoken(project_id)
    texts = connection.execute(spoken.with_only_columns(samples.c.text), execution_options=_STREAM)
    familiar = FamiliarPhrases(batches(texts.scalars()))
    length = sa.func.coalesce(recordings.c.duration_s, -1.0)
    numbers = spoken.with_only_columns(recordings.c.id).group_by(recordings.c.id).order_by(length, recordings.c.id)
    waiting = array("q", connection.execute(numbers, execution_options=_STREAM).scalars())
    for start in range(0, len(waiting), _PAGE):
        yield from _page(connection, project_id, waiting[start : start + _PAGE], familiar)


def find(calls: Iterable[RecordingFingerprint]) -> Twins:
    """Twins among recordings, each pair once. The calls must be in the order of `RecordingFingerprint.place`."""
    every, found = 0, []
    near: list[RecordingFingerprint] = []  # earlier ones as long as the next
    rest = iter(calls)
    while some := list(islice(rest, BLOCK)):
        every += len(some)
        near = [call for call in near if call.place[0] + SAME_LENGTH_S >= some[0].place[0]]
        found += [*_same_audio(near, some), *_same_call(near, some)]
        near += some
    return Twins(every, sorted(found, key=lambda twin: twin.pair))


def _first(call: RecordingFingerprint) -> tuple[bool, str, str, int]:
    return not call.blind, call.audio_sha256 or "", call.identity, call.recording_id


def _spoken(project_id: int | None) -> sa.Select[Any]:
    """Accepted samples with their recordings; the caller chooses the columns."""
    statement = (
        sa.select(samples.c.id)
        .select_from(samples)
        .join(recordings, recordings.c.id == samples.c.recording_id)
        .where(samples.c.state == "accepted")
    )
    return statement if project_id is None else statement.where(samples.c.project_id == project_id)


def _page(
    connection: Connection, project_id: int | None, numbers: Sequence[int], familiar: FamiliarPhrases
) -> Iterator[RecordingFingerprint]:
    """These recordings, in this order. The query filters only by id: with the state too, SQLite reads all samples."""
    sample, audio = samples.c, recordings.c
    statement = (
        sa.select(sample.recording_id, sample.project_id, sample.state, sample.text, sample.blind)
        .add_columns(audio.sha256, audio.duration_s, audio.source_identity)
        .join(recordings, audio.id == sample.recording_id)
        .where(sample.recording_id.in_(numbers))
    )
    found: dict[int, RecordingFingerprint] = {}
    texts: list[str] = []
    call_of: list[int] = []
    places: dict[int, int] = {}
    for row in connection.execute(statement):
        if row.state != "accepted" or project_id not in (None, row.project_id):
            continue
        call = found.get(row.recording_id)
        if call is None:
            call = found[row.recording_id] = RecordingFingerprint(
                row.recording_id, row.sha256, row.duration_s, row.source_identity
            )
        call.blind = call.blind or bool(row.blind)
        texts.append(row.text)
        call_of.append(places.setdefault(row.recording_id, len(places)))
    add_parts(list(found.values()), batch_of(texts), np.array(call_of, dtype=np.intp), familiar)
    yield from (found[number] for number in numbers if number in found)


def _same_audio(near: list[RecordingFingerprint], some: list[RecordingFingerprint]) -> Iterator[Twin]:
    """Pairs with the same bytes, which have the same length."""
    first: dict[str, RecordingFingerprint] = {}
    for number, call in enumerate((*near, *some)):
        if call.audio_sha256:
            one = first.setdefault(call.audio_sha256, call)
            if number >= len(near) and one.recording_id != call.recording_id:
                yield _twin(one, call, SAME_AUDIO, 1.0)


def _same_call(near: list[RecordingFingerprint], some: list[RecordingFingerprint]) -> Iterator[Twin]:
    """Pairs of nearly the same length and words."""
    some = [call for call in some if call.duration_s is not None and call.rare >= LEAST_TRIPLES]
    near = [call for call in near if call.duration_s is not None and call.rare >= LEAST_TRIPLES]
    if not some:
        return
    rows = _table(some)
    for start in range(0, len(near), BLOCK):  # a copy of all minima would dominate memory
        others = near[start : start + BLOCK]
        yield from _alike(others, _table(others), some, rows)
    yield from _alike(some, rows, some, rows)


def _alike(
    earlier: list[RecordingFingerprint], table: Minima, later: list[RecordingFingerprint], rows: Minima
) -> Iterator[Twin]:
    """Compare each later recording with the earlier ones of the same length."""
    ends = np.array([call.place[0] for call in earlier]) + SAME_LENGTH_S
    for number, (call, row) in enumerate(zip(later, rows, strict=True)):
        low, high = int(np.searchsorted(ends, call.place[0])), number if earlier is later else len(earlier)
        if low < high:
            alike = (table[low:high] == row).mean(axis=1)
            for offset in np.flatnonzero(alike >= ALIKE):
                one = earlier[low + int(offset)]
                if not one.audio_sha256 or one.audio_sha256 != call.audio_sha256:
                    yield _twin(one, call, SAME_CALL, round(float(alike[offset]), 3))


def _table(calls: list[RecordingFingerprint]) -> Minima:
    return np.stack([call.minima for call in calls])


def _twin(one: RecordingFingerprint, other: RecordingFingerprint, kind: str, similarity: float) -> Twin:
    first, second = sorted((one, other), key=lambda call: call.recording_id)
    return Twin(first, second, kind, similarity)


def _root(group: Mapping[int, int], number: int) -> int:
    while group.get(number, number) != number:
        number = group[number]
    return number
