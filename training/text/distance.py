"""Edit distance between two sequences, by rapidfuzz's Levenshtein."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein


def between(one: Sequence[str], other: Sequence[str]) -> int:
    """The fewest substitutions, deletions and insertions, of words or of characters."""
    return int(Levenshtein.distance(one, other))
