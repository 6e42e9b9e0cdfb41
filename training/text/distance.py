"""How many edits lie between two sequences: rapidfuzz's Levenshtein distance."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein


def between(one: Sequence[str], other: Sequence[str]) -> int:
    """The fewest replacements, omissions and additions, of words or of characters."""
    return int(Levenshtein.distance(one, other))
