"""What an experiment counts of a call, which way is better, and how sure a side's figure is. Pure.

The sequential test looks for harm. Whether more or less is harm is said once, here (`Measure.harm`): everything after
it reads a positive difference as "the challenger is worse". A guard has a margin: harm within it is accepted. It is
absolute for shares and relative for seconds, so the question of a guard is whether `guarded` differs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_backend.models import kinds
from ml_backend.reports.intervals import wilson
from training.scoring import bootstrap
from training.scoring.opinion_scores import students_t

WER, EDIT_RATE, LATENCY, SUCCESS = "wer", "edit-rate", "latency", "success"
SATISFACTION, AUTOMATION = "satisfaction", "automation"
LONGEST_S = 30.0  # a longer latency counts as this, so that one call that hung does not outweigh a thousand
MOST_DRAWN = 2000  # calls whose interval is drawn; beyond it the linear approximation is the same to three digits
MARGINS = {SUCCESS: 0.02, LATENCY: 0.1}  # of the guards, by default


@dataclass(frozen=True)
class Measure:
    """One outcome of a call."""

    name: str
    title: str
    lower_is_better: bool
    seconds: bool = False
    pooled: bool = False  # a rate over all words or drafts of all calls; otherwise the mean of the calls
    share: bool = False  # a call has it or has not
    lacks: str = ""  # what to do where no call has it

    def harm(self, value: float) -> float:
        """The value so that more is worse."""
        return value if self.lower_is_better else -value

    def guarded(self, value: float, margin: float, *, challenger: bool) -> float:
        """The value so that more is worse, with the margin given to the challenger."""
        if not challenger:
            return self.harm(value)
        return value / (1 + margin) if self.seconds else self.harm(value) - margin

    def written(self, value: float) -> str:
        """For people."""
        if self.seconds:
            return f"{value:.3f} s"
        return f"{value:.2f}" if self.name == SATISFACTION else f"{100 * value:.1f} %"

    def difference(self, value: float) -> str:
        """A difference of two sides, for people."""
        if self.seconds:
            return f"{value:+.3f} s"
        return f"{value:+.3f}" if self.name == SATISFACTION else f"{100 * value:+.1f} points"


_REPORT = "nothing was reported: POST /api/calls/<call>/outcome"
_DRAFTS = "no draft of it was annotated yet"
MEASURES: dict[str, Measure] = {
    each.name: each
    for each in (
        Measure(WER, "words corrected", True, pooled=True, lacks=_DRAFTS),
        Measure(EDIT_RATE, "drafts corrected", True, pooled=True, lacks=_DRAFTS),
        Measure(LATENCY, "latency", True, seconds=True, lacks="`serve` answered no call of it, and none was reported"),
        Measure(SUCCESS, "success", False, share=True, lacks=_REPORT),
        Measure(SATISFACTION, "satisfaction", False, lacks=_REPORT),
        Measure(AUTOMATION, "automation", False, share=True, lacks=_REPORT),
    )
}
GUARDS = (LATENCY, SUCCESS)


def usual_primary(kind: str, *, shadow: bool) -> str:
    """What decides where nobody says it. In shadow callers meet the champion only: their success says nothing."""
    if kind == kinds.ASR:
        return WER
    return LATENCY if shadow else SUCCESS


def decides(measure: Measure, *, shadow: bool) -> bool:
    """Whether a measure may end an experiment. A shadow's time is that of its model alone, on a line that is free; the
    champion's is the whole answer, with its wait: they are shown, and decide nothing."""
    return not (shadow and measure.seconds)


def not_measured(measure: Measure, kind: str, *, shadow: bool) -> str:
    """Why an experiment can never have this measure; empty where it can."""
    if measure.pooled and kind != kinds.ASR:
        return f"people correct no {kind} drafts of calls"
    if shadow and measure.name not in (WER, EDIT_RATE, LATENCY):
        return "in shadow every caller is answered by the champion"
    return ""


def figure(measure: Measure, values: Sequence[float], weights: Sequence[tuple[float, float]]) -> dict[str, Any] | None:
    """A side's figure with its count and 95 % interval. `weights`: (part, whole) of each call, of a pooled measure."""
    count = len(values)
    if not count:
        return None
    if measure.pooled:
        value, low, high = _ratio(weights)
    elif measure.share:
        part = int(sum(values))
        value, (low, high) = part / count, wilson(part, count)
    else:
        value, low, high = _mean(values)
    found: dict[str, Any] = {"calls": count, "value": _round(value), "low": _round(low), "high": _round(high)}
    if measure.seconds:
        p50, p95 = np.percentile(np.array(values), [50, 95])
        found |= {"p50": _round(float(p50)), "p95": _round(float(p95))}
    return found


def _ratio(weights: Sequence[tuple[float, float]]) -> tuple[float, float | None, float | None]:
    lines = np.array(weights, dtype=np.float64)
    part, whole = lines.sum(axis=0)
    value = float(part / whole)
    if len(lines) < 2:
        return value, None, None
    if len(lines) <= MOST_DRAWN:
        drawn = bootstrap.rate(lines)
        return (value, drawn.low, drawn.high) if drawn is not None else (value, None, None)
    spread = 1.96 * math.sqrt(float(((lines[:, 0] - value * lines[:, 1]) ** 2).sum())) / float(whole)
    return value, max(0.0, value - spread), value + spread


def _mean(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    count = len(values)
    value = math.fsum(values) / count
    if count < 2:
        return value, None, None
    deviation = math.sqrt(math.fsum((each - value) ** 2 for each in values) / (count - 1))
    spread = students_t(count - 1) * deviation / math.sqrt(count)
    return value, value - spread, value + spread


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
