"""Reference, hypothesis -> counts of words, characters and edits. Pure; counts add up, rates are read at the end.

Pooled rates (sum of edits over sum of words) come from adding counts; rates of single calls are never averaged. Edits
are the fewest (Levenshtein), by rapidfuzz. Characters are code points of the text as compared, single spaces counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rapidfuzz.distance import Levenshtein

from training.text import readings


@dataclass(frozen=True)
class Edits:
    """How a reference becomes a hypothesis: S words replaced, D left out, I put in."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def total(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    def __add__(self, other: Edits) -> Edits:
        return Edits(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


@dataclass(frozen=True)
class ErrorCounts:
    """Of one pair of texts, or of many added. `words` and `chars` are the reference's."""

    words: int = 0
    word_edits: Edits = field(default_factory=Edits)
    chars: int = 0
    char_edits: int = 0

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(
            self.words + other.words,
            self.word_edits + other.word_edits,
            self.chars + other.chars,
            self.char_edits + other.char_edits,
        )

    @property
    def wer(self) -> float | None:
        """Word error rate; None without a word in the reference."""
        return self.word_edits.total / self.words if self.words else None

    def to_json(self) -> dict[str, Any]:
        """Plain totals, as rows keep them."""
        return {
            "words": self.words,
            "word_edits": self.word_edits.total,
            "chars": self.chars,
            "char_edits": self.char_edits,
        }


def count(reference: str, hypothesis: str, *, normaliser: str, language: str | None = None) -> ErrorCounts:
    """What it takes to turn `reference` into `hypothesis`, both under one reading, by name or name@version.

    Words and characters are those of the reference by itself, whatever it is compared with: rates of two models on the
    same references have the same denominator.
    """
    expected, recognised = readings.pair(reference, hypothesis, normaliser=normaliser, language=language)
    found = compare(expected, recognised)
    if readings.resolve(normaliser) not in (readings.NUMBER_CANONICAL, readings.NUMBER_CANONICAL_1):
        return found
    alone = readings.normalise(reference, language, normaliser=normaliser)
    return replace(found, words=len(alone.split()), chars=len(alone))


def compare(reference: str, hypothesis: str) -> ErrorCounts:
    """The same for texts that are normalised already."""
    expected, recognised = reference.split(), hypothesis.split()
    if reference == hypothesis:
        return ErrorCounts(len(expected), Edits(), len(reference), 0)
    return ErrorCounts(
        len(expected), edits(expected, recognised), len(reference), Levenshtein.distance(reference, hypothesis)
    )


def totals(pairs: Iterable[tuple[str, str]]) -> dict[str, int]:
    """`Counts.to_json()` of many normalised pairs added up, without the kinds of edits: several times quicker."""
    words = word_edits = chars = char_edits = 0
    distance = Levenshtein.distance
    for reference, hypothesis in pairs:
        expected = reference.split()
        words += len(expected)
        chars += len(reference)
        if reference != hypothesis:
            word_edits += distance(expected, hypothesis.split())
            char_edits += distance(reference, hypothesis)
    return {"words": words, "word_edits": word_edits, "chars": chars, "char_edits": char_edits}


def edits(reference: Sequence[str], hypothesis: Sequence[str]) -> Edits:
    """The fewest edits between two sequences, by kind."""
    if not reference or not hypothesis:
        return Edits(0, len(reference), len(hypothesis))
    found = Levenshtein.editops(reference, hypothesis)
    tags = [op.tag for op in found]
    return Edits(tags.count("replace"), tags.count("delete"), tags.count("insert"))
