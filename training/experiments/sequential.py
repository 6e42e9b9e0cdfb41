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
    if not 0 < share < 1:
        raise ValueError("both sides need a share of the calls")
    sides = _rests(outcomes)
    parts, challengers = [], 0
    chance = share
    for seen, (challenger, rest) in enumerate(sides):
        chance = (challengers + PRIOR * share) / (seen + PRIOR)
        parts.append(rest / chance if challenger else -rest / (1 - chance))
        challengers += challenger
    alike = math.fsum(rest**2 for _, rest in sides) / max(1, len(sides)) / (chance * (1 - chance))
    fewest = min(challengers, len(sides) - challengers)
    return interval(parts, alpha=alpha, tightest=tightest, least_variance=alike, fewest=fewest)


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
    rho2 = _rho2(alpha, tightest)
    spread = count * rho2 + 1
    width = math.sqrt(variance) * math.sqrt(2 * spread / (count**2 * rho2) * math.log(math.sqrt(spread) / alpha))
    return SequentialInterval(count, mean, mean - width, mean + width, fewest)


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
