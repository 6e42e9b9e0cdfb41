"""Counting errors: totals of a million pairs of texts against the least that rapidfuzz can do it with.

The floor splits each pair into words and takes one distance, and takes the distances of characters in bulk, on one
processor; it knows neither how many words nor how many characters there were. Twelve words in a hundred are replaced,
five left out, some answers are empty, half of the texts are Devanagari. jiwer is the oracle, on 20,000 of the pairs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import jiwer
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cpdist

from bench import ratios
from bench.ratios import alternate, own_cpu_s
from training.scoring import error_counts

PAIRS, ORACLE, ROUNDS = 1_000_000, 20_000, 3
_LATIN = [
    f"{a}{b}{c}" for a in ("re", "ka", "po", "li", "so") for b in ("fund", "ne", "ra", "m") for c in ("", "t", "ing")
]
_DEVANAGARI = ["नमस्ते", "मुझे", "रिफंड", "चाहिए", "ऑर्डर", "नंबर", "क्या", "है", "पता", "बदलना", "कब", "मिलेगा"]

Pairs = list[tuple[str, str]]


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    pairs = _pairs(PAIRS // 10 if quick else PAIRS)
    equal = _equal_to_jiwer(pairs[:ORACLE])

    def floor() -> float:
        return own_cpu_s(lambda: _floor(pairs))

    def ours() -> float:
        return own_cpu_s(lambda: error_counts.totals(pairs))

    floor(), ours()
    found = ratios.row(
        f"totals of WER and CER over {len(pairs):,} pairs / rapidfuzz alone, CPU; counts equal to jiwer's",
        alternate(floor, ours, rounds=1 if quick else ROUNDS), alternate(floor, floor, rounds=1 if quick else ROUNDS),
        target=1.2, at_least=False, equal_to_jiwer=equal,
    )  # fmt: skip
    yield {**found, "met": found["met"] and equal}


def _floor(pairs: Pairs) -> int:
    words = sum(Levenshtein.distance(reference.split(), hypothesis.split()) for reference, hypothesis in pairs)
    references, hypotheses = zip(*pairs, strict=True)
    return words + int(cpdist(references, hypotheses, scorer=Levenshtein.distance, workers=1).sum())


def _equal_to_jiwer(pairs: Pairs) -> bool:
    """jiwer refuses an empty reference, so there is none."""
    references, hypotheses = [list(side) for side in zip(*pairs, strict=True)]
    words, chars = jiwer.process_words(references, hypotheses), jiwer.process_characters(references, hypotheses)
    theirs = {
        "words": words.hits + words.substitutions + words.deletions,
        "word_edits": words.substitutions + words.deletions + words.insertions,
        "chars": chars.hits + chars.substitutions + chars.deletions,
        "char_edits": chars.substitutions + chars.deletions + chars.insertions,
    }
    kinds = sum((error_counts.compare(*pair) for pair in pairs), error_counts.ErrorCounts()).word_edits
    return error_counts.totals(pairs) == theirs and (kinds.substitutions, kinds.deletions, kinds.insertions) == (
        words.substitutions, words.deletions, words.insertions,
    )  # fmt: skip


def _pairs(count: int) -> Pairs:
    draw = random.Random(7)
    found = []
    for number in range(count):
        words = draw.choices(_DEVANAGARI if number % 2 else _LATIN, k=draw.randint(3, 17))
        recognised = [draw.choice(_LATIN) if draw.random() < 0.12 else word for word in words if draw.random() >= 0.05]
        found.append((" ".join(words), "" if number % 200 == 0 else " ".join(recognised)))
    return found
