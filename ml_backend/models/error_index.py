"""Rows of an evaluation <-> its index: what finds one utterance in 100,000 without reading the others.

An evaluation never changes, so its rows are sorted and counted once, when they are stored. Each part of the index is
one row of `evaluation_indexes`:

    facts                   sizes, slices with their counts, sums by reading, what the counts are of
    counted, weights, durations, ids    one value per utterance, in the order of their numbers
    counts <reading>        words, wrong words, characters, wrong characters: four values per utterance
    order <reading> <sort>  the numbers in the order of a list; `order longest` is of every reading
    errors <reading>        [what, said, written, times, utterances], the most frequent first
    pairs <reading> <n>     an error -> the numbers of its utterances, in buckets
    words <n>               a word of either text -> the numbers of its utterances, in buckets
    slice <kind>            a slice -> the numbers of its utterances

A list reads a few parts and the rows of one page, so a page costs the same on every database. Errors are counted over
the rows that the scores count. The parts of one evaluation are written in one short transaction, so there are fewer
than a hundred of them. Pure, and loads no numpy: the web process reads it.
"""

from __future__ import annotations

import sys
import unicodedata
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from ml_backend.models.kinds import ExploredLine

SUBSTITUTION, DELETION, INSERTION = "substitution", "deletion", "insertion"
ERRORS = (SUBSTITUTION, DELETION, INSERTION)
SORTS = ("worst", "errors", "characters", "longest", "number")
WORD_BUCKETS, PAIR_BUCKETS = 24, 4
MOST_PARTS = 95
LONGEST_WORD = 80  # of what is written here as one word; what is longer is found by its beginning
_SORTED = ("worst", "errors", "characters")  # per reading
_SIGNS = "%&@+=°"  # spoken, so each is a word, as in training/text/writing.py
_OF_STEP = {"S": SUBSTITUTION, "D": DELETION, "I": INSERTION}


def build(lines: Iterable[ExploredLine], readings: Sequence[str], facts: Mapping[str, Any]) -> dict[str, bytes]:
    """The parts of an index by name. `facts`: what else is said about the evaluation."""
    making = _Making(readings)
    for line in lines:
        making.add(line)
    return making.parts(facts)


class _Making:
    def __init__(self, readings: Sequence[str]) -> None:
        self._readings = tuple(readings)
        self._counted, self._weights, self._durations = array("B"), array("d"), array("d")
        self._ids: list[str] = []
        self._counts = {name: tuple(array("I") for _ in range(4)) for name in readings}
        self._edits = {name: [0, 0, 0] for name in readings}
        self._words: dict[str, array[int]] = defaultdict(lambda: array("I"))
        self._slices: dict[str, dict[str, array[int]]] = defaultdict(lambda: defaultdict(lambda: array("I")))
        self._pairs: dict[str, dict[str, array[int]]] = {name: defaultdict(lambda: array("I")) for name in readings}
        self._times: dict[str, Counter[str]] = {name: Counter() for name in readings}

    def add(self, line: ExploredLine) -> None:
        self._ids.append(line.id)
        number = len(self._ids)
        self._counted.append(line.counted)
        self._weights.append(line.weight)
        self._durations.append(line.duration_s or 0.0)
        for kind, name in line.slices.items():
            self._slices[kind][name].append(number)
        for word in {shortened(word) for word in line.words}:
            self._words[word].append(number)
        for reading in self._readings:
            counts = line.counts.get(reading, (0, 0, 0, 0))
            for column, value in zip(self._counts[reading], counts, strict=True):
                column.append(value)
            if line.counted:
                self._errors(reading, number, line)

    def _errors(self, reading: str, number: int, line: ExploredLine) -> None:
        edits = line.edits.get(reading)
        if edits is None:
            return
        self._edits[reading] = [sum(each) for each in zip(self._edits[reading], edits, strict=True)]
        keys = [_step_key(step) for step in line.steps.get(reading, ()) if step[0] != "="]
        if not keys:  # its texts were erased
            keys = [key_of(what, "", "") for what, times in zip(ERRORS, edits, strict=True) for _ in range(times)]
        self._times[reading].update(keys)
        for key in set(keys):
            self._pairs[reading][key].append(number)

    def parts(self, facts: Mapping[str, Any]) -> dict[str, bytes]:
        found = {
            "counted": self._counted.tobytes(), "weights": _bytes(self._weights), "ids": orjson.dumps(self._ids),
            "durations": _bytes(self._durations), "order longest": _bytes(self._order(self._longest())),
        }  # fmt: skip
        for number, some in enumerate(_buckets(self._words, WORD_BUCKETS)):
            found[f"words {number}"] = _dumps(some)
        for kind, names in self._slices.items():
            found[f"slice {kind}"] = _dumps(names)
        for reading in self._readings:
            found[f"counts {reading}"] = b"".join(map(_bytes, self._counts[reading]))
            for sort in _SORTED:
                found[f"order {reading} {sort}"] = _bytes(self._order(self._rates(reading, sort)))
            every: list[list[Any]] = [[*key.split("\t"), times, len(self._pairs[reading][key])]
                     for key, times in self._times[reading].items()]  # fmt: skip
            every.sort(key=lambda one: (-one[3], *one[:3]))
            found[f"errors {reading}"] = orjson.dumps(every)
            for number, some in enumerate(_buckets(self._pairs[reading], PAIR_BUCKETS)):
                found[f"pairs {reading} {number}"] = _dumps(some)
        found["facts"] = orjson.dumps({**facts, **self._facts()})
        return found

    def _facts(self) -> dict[str, Any]:
        slices = {
            kind: {name: [len(some), sum(self._counted[number - 1] for number in some)] for name, some in names.items()}
            for kind, names in self._slices.items()
        }
        sums, weighted = {}, {}
        places = [place for place, counts in enumerate(self._counted) if counts]
        for reading in self._readings:
            columns = self._counts[reading]
            sums[reading] = [*(sum(column[place] for place in places) for column in columns), *self._edits[reading]]
            weighted[reading] = [sum(self._weights[place] * column[place] for place in places) for column in columns]
        return {
            "utterances": len(self._ids), "counted": sum(self._counted), "readings": list(self._readings),
            "slices": slices, "sums": sums, "weighted": weighted,
        }  # fmt: skip

    def _order(self, keys: list[Any]) -> array[int]:
        return array("I", sorted(range(1, len(keys) + 1), key=lambda number: keys[number - 1]))

    def _longest(self) -> list[Any]:
        return [-value for value in self._durations]

    def _rates(self, reading: str, sort: str) -> list[Any]:
        """What to sort by, ascending: the highest rate first, of equal ones that with more errors; without one last."""
        words, wrong, chars, wrong_chars = self._counts[reading]
        if sort == "errors":
            return [-value for value in wrong]
        of, errors = (chars, wrong_chars) if sort == "characters" else (words, wrong)
        return [(-edits / total if total else 1.0 - bool(edits), -edits)
                for total, edits in zip(of, errors, strict=True)]  # fmt: skip


def key_of(what: str, said: str, written: str) -> str:
    """An error as a name: of a substitution both words, of a deletion the said one, of an insertion the written one."""
    return f"{what}\t{shortened(said)}\t{shortened(written)}"


def shortened(word: str) -> str:
    return word if len(word) <= LONGEST_WORD else f"{word[: LONGEST_WORD - 1]}…"


def bucket_of(key: str, buckets: int) -> int:
    return zlib.crc32(key.encode("utf-8", "replace")) % buckets


def words_of(typed: str) -> list[str]:
    """What a person typed, as words are written in the index: no case, no punctuation."""
    text = unicodedata.normalize("NFC", typed).casefold()
    kept = "".join(_part(character) for character in text)
    return [shortened(word) for word in unicodedata.normalize("NFC", kept).split()]


def _part(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf" or character in "'’‘ʼ`´" or "\ufe00" <= character <= "\ufe0f":
        return ""
    if category[0] in "LMN" or character in ".:":  # a point in a number, a type of entity
        return character
    return f" {character} " if character in _SIGNS or category == "Sc" else " "


def _step_key(step: Sequence[str]) -> str:
    tag, *words = step
    said, written = (words[0], words[1]) if tag == "S" else (words[0], "") if tag == "D" else ("", words[0])
    return key_of(_OF_STEP[tag], said, written)


def _buckets(found: Mapping[str, Any], buckets: int) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [{} for _ in range(buckets)]
    for key, value in found.items():
        made[bucket_of(key, buckets)][key] = value
    return made


def _dumps(found: Mapping[str, array[int]]) -> bytes:
    return orjson.dumps({name: numbers.tolist() for name, numbers in found.items()})


def _bytes(values: array[Any]) -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


class ErrorIndex:
    """The index of one evaluation, read part by part. `load` gives the bodies of the parts with these names."""

    def __init__(self, load: Callable[[Collection[str]], Mapping[str, bytes]]) -> None:
        self._load, self._read = load, dict[str, bytes]()

    def want(self, *names: str) -> None:
        """Read these parts at once."""
        missing = [name for name in names if name not in self._read]
        if missing:
            found = self._load(missing)
            self._read.update({name: bytes(found.get(name, b"")) for name in missing})

    @property
    def facts(self) -> dict[str, Any]:
        return dict(self._json("facts"))

    def errors(self, reading: str) -> list[list[Any]]:
        return list(self._json(f"errors {reading}") or [])

    def ids(self) -> list[str]:
        return list(self._json("ids") or [])

    def numbers_of_word(self, word: str) -> list[int]:
        return list(self._json(f"words {bucket_of(word, WORD_BUCKETS)}").get(word, ()))

    def numbers_of_error(self, reading: str, key: str) -> list[int]:
        return list(self._json(f"pairs {reading} {bucket_of(key, PAIR_BUCKETS)}").get(key, ()))

    def numbers_of_slice(self, kind: str, name: str) -> list[int]:
        return list(self._json(f"slice {kind}").get(name, ()))

    def counted(self) -> array[int]:
        return self._array("counted", "B")

    def weights(self) -> array[float]:
        return self._array("weights", "d")

    def durations(self) -> array[float]:
        return self._array("durations", "d")

    def counts(self, reading: str) -> tuple[array[int], array[int], array[int], array[int]]:
        """Words, wrong words, characters, wrong characters of each utterance."""
        every = self._array(f"counts {reading}", "I")
        size = len(every) // 4
        return every[:size], every[size : 2 * size], every[2 * size : 3 * size], every[3 * size :]

    def order(self, reading: str, sort: str) -> Sequence[int]:
        """The numbers in the order of a list."""
        if sort == "number":
            return range(1, len(self.counted()) + 1)
        return self._array("order longest" if sort == "longest" else f"order {reading} {sort}", "I")

    def _json(self, name: str) -> Any:
        self.want(name)
        return orjson.loads(self._read[name] or b"{}")

    def _array(self, name: str, code: str) -> array[Any]:
        self.want(name)
        found: array[Any] = array(code)
        found.frombytes(self._read[name])
        if sys.byteorder == "big":
            found.byteswap()
        return found


def some(numbers: Iterable[int], wanted: Collection[int] | None, *, after: int) -> Iterator[tuple[int, int]]:
    """(place in the order, number) of those wanted, from a place on; None: all."""
    for place, number in enumerate(numbers, 1):
        if place > after and (wanted is None or number in wanted):
            yield place, number
