"""A plain word error rate: case and punctuation left out, errors and words pooled over all calls."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def words(text: str) -> list[str]:
    """Words in lower case; everything that is neither letter, mark nor digit separates (vowel signs are marks)."""
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in unicodedata.normalize("NFC", text.lower()))
    return "".join(kept).split()


def pooled(pairs: Iterable[tuple[str, str]]) -> float:
    """Errors over reference words, for (reference, hypothesis) pairs."""
    errors = total = 0
    for reference, hypothesis in pairs:
        said, heard = words(reference), words(hypothesis)
        errors += distance(said, heard)
        total += len(said)
    return errors / total


def distance(said: list[str], heard: list[str]) -> int:
    """Fewest substitutions, insertions and deletions (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]
