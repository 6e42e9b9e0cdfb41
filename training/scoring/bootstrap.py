"""Errors by call -> how far a rate, or the difference of two, could be luck. Pure, and the same every time.

Calls are drawn again with replacement, whole calls, because the words of one call go wrong together (Bisani and Ney,
"Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004). For a difference both models
are scored on the same draw, so that what is hard about a call is hard for both. Percentiles of 2.5 and 97.5.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
CONFIDENCE = 0.95
_SEED = 20_260_304
_AT_ONCE = 2_000_000  # numbers in memory

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Of a rate, or of a difference of rates: its value and where it lies with 95 % confidence."""

    value: float
    low: float
    high: float

    def to_json(self) -> list[float]:
        return [round(self.value, 6), round(self.low, 6), round(self.high, 6)]


def by_call(rows: Iterable[tuple[Hashable, tuple[float, ...]]]) -> Numbers:
    """(call, numbers) of each utterance -> one line of sums per call."""
    sums: dict[Hashable, list[float]] = {}
    for call, numbers in rows:
        mine = sums.setdefault(call, [0.0] * len(numbers))
        for place, number in enumerate(numbers):
            mine[place] += number
    return np.array(list(sums.values()), dtype=np.float64)


def rate(calls: Numbers) -> Interval | None:
    """Lines of (errors, words) -> the pooled rate; None without a word."""
    return _interval(calls, lambda sums: sums[..., 0] / sums[..., 1], words=1)


def difference(calls: Numbers) -> Interval | None:
    """Lines of (errors before, errors now, words) -> now minus before: below zero is better."""
    return _interval(calls, lambda sums: (sums[..., 1] - sums[..., 0]) / sums[..., 2], words=2)


def _interval(calls: Numbers, read: Callable[[Numbers], Numbers], *, words: int) -> Interval | None:
    if not len(calls) or calls[:, words].sum() <= 0:
        return None
    draw, count = np.random.default_rng(_SEED), len(calls)
    found: list[Numbers] = []
    left, at_once = RESAMPLES, max(1, min(RESAMPLES, _AT_ONCE // count))
    while left > 0:
        times = draw.multinomial(count, np.full(count, 1 / count), size=min(left, at_once))
        sums = times @ calls
        sums = sums[sums[:, words] > 0]  # a draw of calls without words
        found.append(read(sums))
        left -= at_once
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(np.concatenate(found), [tail, 100 - tail])
    return Interval(float(read(calls.sum(axis=0))), float(low), float(high))
