"""Differences, one call after another -> an interval that may be looked at after every call. Pure.

An interval computed at a fixed size is wrong when somebody looks daily and stops at the first good day. This is an
asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2021, "Time-uniform central limit theory
and asymptotic confidence sequences", equation 10): with probability 1 - alpha the true mean lies in all intervals from
`LEAST` observations on, however often one looks.

    mean_t  +-  sd_t * sqrt( 2 (t rho^2 + 1) / (t^2 rho^2) * log( sqrt(t rho^2 + 1) / alpha ) )

`rho` places the narrowest point; it is chosen for `TIGHTEST` observations. With two arms the difference of means is
estimated by weighting each call with the inverse of the probability of its side, after taking away the mean of all
calls before it (augmented inverse probability weighting): unbiased for any traffic share. On a small side most calls
may be without an error for long, and its variance look like nothing; so the variance is at least what it would be if
the calls of both sides were alike, which all calls together tell early.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEAST = 50  # fewer observations decide nothing: the normal approximation does not hold yet
TIGHTEST = 400


@dataclass(frozen=True)
class SequentialInterval:
    """The mean difference so far (challenger minus champion), and where the truth lies at any time of looking."""

    observations: int
    difference: float
    low: float
    high: float

    @property
    def worse(self) -> bool:
        """The challenger's error rate is higher, beyond luck."""
        return self.observations >= LEAST and self.low > 0

    @property
    def better(self) -> bool:
        """The challenger's error rate is lower, beyond luck."""
        return self.observations >= LEAST and self.high < 0


def between(
    outcomes: Iterable[tuple[bool, float]], *, share: float, alpha: float = 0.05, tightest: int = TIGHTEST
) -> SequentialInterval:
    """Of two arms: (is on the challenger's side, error rate) of each call in the order they came in."""
    if not 0 < share < 1:
        raise ValueError("both sides need a share of the calls")
    sides = _rests(outcomes)
    alike = math.fsum(rest**2 for _, rest in sides) / max(1, len(sides)) / (share * (1 - share))
    parts = [rest / share if challenger else -rest / (1 - share) for challenger, rest in sides]
    return interval(parts, alpha=alpha, tightest=tightest, least_variance=alike)


def interval(
    differences: Sequence[float], *, alpha: float = 0.05, tightest: int = TIGHTEST, least_variance: float = 0.0
) -> SequentialInterval:
    """Of a sequence of differences in the order they came in. Fewer than two: anything is possible."""
    count = len(differences)
    if count < 2:
        return SequentialInterval(count, differences[0] if count else 0.0, -math.inf, math.inf)
    mean = math.fsum(differences) / count
    variance = max(least_variance, math.fsum((each - mean) ** 2 for each in differences) / (count - 1))
    rho2 = _rho2(alpha, tightest)
    spread = count * rho2 + 1
    width = math.sqrt(variance) * math.sqrt(2 * spread / (count**2 * rho2) * math.log(math.sqrt(spread) / alpha))
    return SequentialInterval(count, mean, mean - width, mean + width)


def _rests(outcomes: Iterable[tuple[bool, float]]) -> list[tuple[bool, float]]:
    """Error rates without the mean of all calls before, which is known before the call: no estimate is biased by it."""
    rests, seen, total = [], 0, 0.0
    for challenger, rate in outcomes:
        rests.append((challenger, rate - (total / seen if seen else 0.0)))
        seen, total = seen + 1, total + rate
    return rests


def _rho2(alpha: float, tightest: int) -> float:
    """The paper's rule (its appendix on choosing rho) for the narrowest interval at `tightest` observations."""
    logarithm = -2 * math.log(alpha)
    return (logarithm + math.log(logarithm + 1)) / tightest
