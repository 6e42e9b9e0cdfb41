"""Counts -> a figure with its basis, or "too few to say". Pure.

Every figure of a summary has its basis, so that a reader can judge it, and has no value when the basis is too small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ml_backend.reports.intervals import wilson

LEAST_ITEMS = 20  # for a share of annotations
LEAST_WORDS = 200  # for an error rate
MANY = 400
TOO_FEW = "too few to say"

Figure = dict[str, Any]


def share(part: int, whole: int, *, least: int = LEAST_ITEMS) -> Figure:
    """`part` of `whole` with its 95 % interval (Wilson)."""
    if whole < max(least, 1):
        return {"value": None, "part": part, "of": whole, "note": TOO_FEW}
    low, high = wilson(part, whole)
    return {"value": round(part / whole, 4), "part": part, "of": whole, "low": round(low, 4), "high": round(high, 4)}


def rate(edits: int, length: int, *, least: int = LEAST_WORDS) -> Figure:
    """Edits per word (or character), pooled: the sum of edits over the sum of lengths. It may exceed 1."""
    if length < max(least, 1):
        return {"value": None, "part": edits, "of": length, "note": TOO_FEW}
    return {"value": round(edits / length, 4), "part": edits, "of": length}


def at_least(part: int, chances: Sequence[float]) -> float:
    """The probability of `part` or more successes among independent trials with these chances.

    Exact for up to MANY trials; for more, by the normal distribution, whose error is then below a third.
    """
    if part <= 0:
        return 1.0
    if part > len(chances):
        return 0.0
    if len(chances) > MANY:
        mean, variance = sum(chances), sum(chance * (1 - chance) for chance in chances)
        return 0.5 * math.erfc((part - 0.5 - mean) / math.sqrt(2 * max(variance, 1e-9)))
    below = np.zeros(part)  # the probabilities of 0..part-1 successes so far
    below[0] = 1.0
    for chance in chances:
        below[1:] = below[1:] * (1 - chance) + below[:-1] * chance
        below[0] *= 1 - chance
    return float(min(1.0, max(0.0, 1.0 - below.sum())))


def at_most(part: int, whole: int, chance: float) -> float:
    """The probability of `part` or fewer successes among `whole` trials of one chance."""
    return at_least(whole - part, [1 - chance] * whole)
