"""Sums -> an estimate with its 95 % interval. Pure, and without numpy, because the web process uses it.

Sums of days add up, so the interval of a month is made of thirty rows and not of the month's annotations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ml_backend.latency_buckets import LatencyBuckets

Z = 1.959964


@dataclass(frozen=True)
class Estimate:
    """A value from `count` observations. `low` and `high` are None where it is no estimate, or too little is known."""

    value: float
    count: int
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        rounded = {name: None if one is None else round(one, 6) for name, one in vars(self).items() if name != "count"}
        return {**rounded, "count": self.count}


@dataclass(frozen=True)
class Ratio:
    """Sums over pairs (x, y) for the ratio of the sum of x to the sum of y."""

    count: int = 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    yy: float = 0.0

    def plus(self, other: Ratio) -> Ratio:
        return Ratio(self.count + other.count, *(vars(self)[name] + vars(other)[name] for name in _SUMS))

    @classmethod
    def of(cls, x: float, y: float = 1.0) -> Ratio:
        """One pair; without `y` the ratio is the mean of x."""
        return cls(1, x, y, x * x, x * y, y * y)

    def to_json(self) -> list[float]:
        return [self.count, *(round(vars(self)[name], 6) for name in _SUMS)]

    @classmethod
    def from_json(cls, body: list[float] | None) -> Ratio:
        return cls(int(body[0]), *map(float, body[1:])) if body else cls()


_SUMS = ("x", "y", "xx", "xy", "yy")


def wilson(part: int, whole: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share, which stays inside 0..1 and is right for small counts."""
    found = part / whole
    centre = (found + Z * Z / (2 * whole)) / (1 + Z * Z / whole)
    half = Z / (1 + Z * Z / whole) * math.sqrt(found * (1 - found) / whole + Z * Z / (4 * whole * whole))
    return max(0.0, centre - half), min(1.0, centre + half)


def share(part: int, whole: int) -> Estimate | None:
    """`part` of `whole`; None of nothing."""
    return Estimate(part / whole, whole, *wilson(part, whole)) if whole else None


def ratio(sums: Ratio) -> Estimate | None:
    """The pooled ratio, with the interval of its linearisation (Cochran, "Sampling Techniques", 1977, section 6.4)."""
    if not sums.count or sums.y <= 0:
        return None
    value, count = sums.x / sums.y, sums.count
    if count < 2:
        return Estimate(value, count)
    rests = max(0.0, sums.xx - 2 * value * sums.xy + value * value * sums.yy)
    half = Z * math.sqrt(count * rests / (count - 1)) / sums.y
    return Estimate(value, count, value - half, value + half)


def quantile(buckets: LatencyBuckets, at: float) -> Estimate | None:
    """A quantile; the interval is that of its rank (binomial, by the normal distribution)."""
    count = buckets.count
    value = buckets.quantile(at)
    if value is None:
        return None
    half = Z * math.sqrt(at * (1 - at) / count)
    return Estimate(value, count, buckets.quantile(max(0.0, at - half)), buckets.quantile(min(1.0, at + half)))
