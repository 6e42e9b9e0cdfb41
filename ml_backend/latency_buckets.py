"""Seconds counted in buckets, as Prometheus counts them: a few numbers that add up over processes and minutes.

Percentiles of single requests cannot be added; bucket counts can. `quantile` is Prometheus's `histogram_quantile`
(https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile): linear within the bucket, from 0
in the first one, and the highest bound for what is beyond it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

BOUNDS = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
NAMES = (*(f"{bound:g}" for bound in BOUNDS), "+Inf")
_SUM = "sum"


class LatencyBuckets:
    """Counts per bucket (each for itself, not cumulative) and the sum of all seconds."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * len(NAMES)
        self.total_s = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts)

    def add(self, seconds: float) -> None:
        """One more. An upper bound belongs to its bucket, as `le` says."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total_s += seconds

    def merge(self, other: LatencyBuckets) -> None:
        """The other's counts too."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total_s += other.total_s

    def quantile(self, share: float) -> float | None:
        """Seconds below which this share of all lies; None without any."""
        rank, below = share * self.count, 0
        if not self.count:
            return None
        for number, here in enumerate(self.counts):
            if here and below + here >= rank:
                if number == len(BOUNDS):
                    return BOUNDS[-1]
                low = BOUNDS[number - 1] if number else 0.0
                return low + (BOUNDS[number] - low) * (rank - below) / here
            below += here
        return BOUNDS[-1]

    def cumulative(self) -> list[tuple[str, int]]:
        """(upper bound, how many were at most that long), as Prometheus shows a histogram."""
        found, below = [], 0
        for name, here in zip(NAMES, self.counts, strict=True):
            below += here
            found.append((name, below))
        return found

    def to_json(self) -> dict[str, float]:
        """The buckets that are not empty, by upper bound, and `sum`: {"0.1": 5, "sum": 0.42}."""
        found: dict[str, float] = {name: count for name, count in zip(NAMES, self.counts, strict=True) if count}
        return {**found, _SUM: round(self.total_s, 6)} if found else {}

    @classmethod
    def from_json(cls, body: Mapping[str, Any] | None) -> LatencyBuckets:
        """As stored. A bound of an earlier release counts in the bucket that holds it."""
        found = cls()
        for name, count in (body or {}).items():
            if name == _SUM:
                found.total_s = float(count)
            else:
                found.counts[bisect_left(BOUNDS, float(name))] += int(count)
        return found
