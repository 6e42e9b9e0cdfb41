"""Differences, one call after another -> an interval that is valid after every call. Pure.

A fixed-size interval is wrong if a person looks daily and stops at the first good day. This is an
asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2021, "Time-uniform central limit theory
and asymptotic confidence sequences", equation 10): with probability 1 - alpha the true mean lies in all intervals from
`LEAST` observations on, however often one looks.

    mean_t  +-  sd_t * sqrt( 2 (t rho^2 + 1) / (t^2 rho^2) * log( sqrt(t rho^2 + 1) / alpha ) )

`rho` sets the narrowest point, here at `TIGHTEST` observations. With two arms the difference of means is estimated by
weighting each call with the inverse of the probability of its side, after subtracting the mean of all earlier calls
(augmented inverse probability weighting). That probability is the share of the calls before, so neither the traffic
share nor a side that is reported less often biases it. A small side may have no errors for long, and
a variance near zero; so the variance is at least that of equal sides, which all calls together show early.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEAST = 50  # fewer observations decide nothing: the normal approximation does not hold yet
LEAST_EACH = 20  # nor fewer on one side: its mean would be that of the others' trend
PRIOR = 20  # observations that the intended share counts for against the share that was observed
TIGHTEST = 400


@dataclass(frozen=True)
class SequentialInterval:
    """The mean difference so far (challenger minus champion), and the interval of the true mean at any time."""

    observations: int
    difference: float
    low: float
    high: float
    fewest: int  # observations of the side that has fewer

    @property
    def enough(self) -> bool:
        """Whether there are observations enough to decide anything."""
        return self.observations >= LEAST and self.fewest >= LEAST_EACH

    @property
    def worse(self) -> bool:
        """Whether the challenger's mean is significantly higher, which is harm: callers turn outcomes so."""
        return self.enough and self.low > 0

    @property
    def better(self) -> bool:
        """Whether the challenger's mean is significantly lower."""
        return self.enough and self.high < 0


def between(
    outcomes: Iterable[tuple[bool, float]], *, share: float, alpha: float = 0.05, tightest: int = TIGHTEST
) -> SequentialInterval:
    """Two arms: (is on the challenger's side, error rate) of each call in order of arrival.

    The probability of a side is the share of its earlier observations, which begins at `share` and leaves it where one
    side is reported less often: with the intended share a trend over time would look like a difference.
    """
    parts, floors, fewest = _weighted(outcomes, share)
    if not parts:
        return interval([], alpha=alpha, tightest=tightest, fewest=0)
    return interval(parts, alpha=alpha, tightest=tightest, least_variance=floors[-1], fewest=fewest[-1])


def course_between(
    outcomes: Iterable[tuple[bool, float]], *, share: float, alpha: float = 0.05, points: int
) -> list[SequentialInterval]:
    """`between` after more and more calls, evenly spaced, in one pass; the last is after all of them."""
    parts, floors, fewest = _weighted(outcomes, share)
    return _course(parts, floors, fewest, alpha=alpha, points=points)


def course_of(differences: Sequence[float], *, alpha: float = 0.05, points: int) -> list[SequentialInterval]:
    """`interval` after more and more differences."""
    count = len(differences)
    return _course(differences, [0.0] * count, list(range(1, count + 1)), alpha=alpha, points=points)


def more_to_decide(now: SequentialInterval, *, alpha: float = 0.05, tightest: int = TIGHTEST, most: int) -> int | None:
    """Further observations until the interval leaves zero, if mean and spread stay; None for more than `most`."""
    if not math.isfinite(now.high) or not now.difference:
        return None
    deviation = (now.high - now.difference) / _width(now.observations, alpha, tightest)

    def decided(count: int) -> bool:
        return deviation * _width(count, alpha, tightest) < abs(now.difference)

    few, many = now.observations, now.observations + most
    if decided(few):
        return 0
    if not decided(many):
        return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if decided(middle) else (middle, many)
    return many - now.observations


def interval(
    differences: Sequence[float], *, alpha: float = 0.05, tightest: int = TIGHTEST, least_variance: float = 0.0,
    fewest: int | None = None,
) -> SequentialInterval:  # fmt: skip
    """One sequence of differences in order of arrival. With fewer than two the interval is unbounded.

    `fewest` are the observations of the rarer side; without it each difference has both sides.
    """
    count = len(differences)
    fewest = count if fewest is None else fewest
    if count < 2:
        return SequentialInterval(count, differences[0] if count else 0.0, -math.inf, math.inf, fewest)
    mean = math.fsum(differences) / count
    variance = max(least_variance, math.fsum((each - mean) ** 2 for each in differences) / (count - 1))
    width = math.sqrt(variance) * _width(count, alpha, tightest)
    return SequentialInterval(count, mean, mean - width, mean + width, fewest)


def _width(count: int, alpha: float, tightest: int) -> float:
    """Half the interval of differences that deviate by one."""
    rho2 = _rho2(alpha, tightest)
    spread = count * rho2 + 1
    return math.sqrt(2 * spread / (count**2 * rho2) * math.log(math.sqrt(spread) / alpha))


def _course(
    parts: Sequence[float], floors: Sequence[float], fewest: Sequence[int], *, alpha: float, points: int
) -> list[SequentialInterval]:
    count, found = len(parts), []
    shown = {max(1, round(count * place / points)) for place in range(1, points + 1)}
    mean = squares = 0.0  # Welford's: a sum of squares would lose digits
    for number, each in enumerate(parts, start=1):
        away = each - mean
        mean += away / number
        squares += away * (each - mean)
        if number not in shown:
            continue
        width = math.inf
        if number > 1:
            width = math.sqrt(max(floors[number - 1], squares / (number - 1))) * _width(number, alpha, TIGHTEST)
        found.append(SequentialInterval(number, mean, mean - width, mean + width, fewest[number - 1]))
    return found


def _weighted(outcomes: Iterable[tuple[bool, float]], share: float) -> tuple[list[float], list[float], list[int]]:
    """Of each call: its weighted difference; after it: the least variance, and the observations of the rarer side."""
    if not 0 < share < 1:
        raise ValueError("both sides need a share of the calls")
    parts: list[float] = []
    floors: list[float] = []
    fewest: list[int] = []
    challengers, squares = 0, 0.0
    for seen, (challenger, rest) in enumerate(_rests(outcomes)):
        chance = (challengers + PRIOR * share) / (seen + PRIOR)
        parts.append(rest / chance if challenger else -rest / (1 - chance))
        challengers += challenger
        squares += rest**2
        floors.append(squares / (seen + 1) / (chance * (1 - chance)))
        fewest.append(min(challengers, seen + 1 - challengers))
    return parts, floors, fewest


def _rests(outcomes: Iterable[tuple[bool, float]]) -> list[tuple[bool, float]]:
    """Error rates minus the mean of all earlier calls. That mean is known before the call, so it adds no bias."""
    rests, seen, total = [], 0, 0.0
    for challenger, rate in outcomes:
        rests.append((challenger, rate - (total / seen if seen else 0.0)))
        seen, total = seen + 1, total + rate
    return rests


def _rho2(alpha: float, tightest: int) -> float:
    """The paper's rule (its appendix on choosing rho) for the narrowest interval at `tightest` observations."""
    logarithm = -2 * math.log(alpha)
    return (logarithm + math.log(logarithm + 1)) / tightest
