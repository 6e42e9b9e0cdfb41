"""A fitted learning curve -> how many more hours a language needs to reach a WER, with its interval, in words. Pure.

Every draw of the bootstrap is a curve; each gives a number of hours, or never. The interval holds 95 % of them. Where
more than one in ten never gets there, or the answer lies far beyond what was measured, no number is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_backend.languages import name_of

FAR = 10.0  # times the hours of the largest training, beyond which a curve says nothing
MOST_NEVER = 0.1


@dataclass(frozen=True)
class HoursNeeded:
    """`hours` more to reach the target, and its interval; None where `sentence` says why not."""

    sentence: str
    hours: float | None = None
    low: float | None = None
    high: float | None = None


def wer_at(curve: Sequence[float], hours: float) -> float:
    """The WER of a curve (scale, exponent, floor)."""
    scale, exponent, floor = curve
    return float(floor + scale * hours**-exponent)


def hours_needed(body: Mapping[str, Any], language: str, target: float) -> HoursNeeded:
    """What a stored curve says about a target WER."""
    name, goal = name_of(language), f"{100 * target:g} %"
    if not body.get("fit"):
        return HoursNeeded(f"Too early to say for {name}: {body.get('too_early') or 'nothing is evaluated yet'}.")
    fit, now = body["fit"], float(body["hours"])
    best = (fit["scale"], fit["exponent"], fit["floor"])
    if wer_at(best, now) <= target:
        return HoursNeeded(f"{name} has reached {goal}.", 0.0, 0.0, 0.0)
    drawn = sorted(_hours(curve, target) for curve in body["draws"])
    never = sum(hours == float("inf") for hours in drawn) / len(drawn)
    low, high = (max(0.0, drawn[round(share * (len(drawn) - 1))] - now) for share in (0.025, 0.975))
    more = _hours(best, target) - now
    if never > MOST_NEVER or more == float("inf"):
        rest = f"the curve may level off above {goal}, at about {100 * max(best[2], 0.0):.0f} %" if best[2] else (
            f"WER falls too slowly to tell whether {goal} is reached")  # fmt: skip
        return HoursNeeded(f"Too early to say for {name}: {rest}; {now:.1f} hours are used so far.")
    if more > FAR * now:
        return HoursNeeded(
            f"Too early to say for {name}: {goal} lies beyond {FAR:g} times the {now:.1f} hours used so far; at least "
            f"{_said(low)} more would be needed."
        )
    bounded = high < float("inf")
    between = f"95 % between {_said(low)} and {_said(high)}" if bounded else f"95 % above {_said(low)}, without a limit"
    floor = "" if fit["with_floor"] else "; with few versions no floor is fitted, so it may be more"
    return HoursNeeded(
        f"About {_said(more)} more of {name} to reach {goal} ({between}{floor}).", round(more, 2), round(low, 2),
        round(high, 2) if bounded else None,
    )  # fmt: skip


def _hours(curve: Sequence[float], target: float) -> float:
    """The hours at which a curve reaches the target; infinite if it does not."""
    scale, exponent, floor = curve
    if exponent <= 0 or target <= floor:
        return float("inf")
    try:
        return float((scale / (target - floor)) ** (1 / exponent))
    except OverflowError:
        return float("inf")


def _said(hours: float) -> str:
    return f"{hours:,.0f} hours" if hours >= 10 else f"{hours:.1f} hours"
