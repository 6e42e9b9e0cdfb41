"""Calls of an experiment -> the difference of its sides, the course of its interval, and what would end it.

The course is the interval after every so many calls, as someone who looked then would have seen it: so the boundary can
be drawn. It is computed anew at each look, from the calls alone: how often anybody looked does not matter. It has at
most `MOST_POINTS` points, whatever the number of calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ml_backend import quantities
from ml_backend.models import routing
from training.experiments import arm_figures, experiment_measures, sequential
from training.experiments.arm_figures import ArmCall
from training.experiments.experiment_measures import MEASURES, Measure
from training.experiments.sequential import LEAST, LEAST_EACH, SequentialInterval

MOST_POINTS = 80
_PRACTICALLY_EQUAL = 10_000_000  # calls: nobody waits for more


def difference(
    found: Sequence[ArmCall], experiment: sa.Row[Any], measure: Measure, *, alpha: float, margin: float | None = None
) -> SequentialInterval:
    """The challenger's minus the champion's, so that more is worse; of a guard, what is beyond its margin."""
    if experiment.kind == routing.SHADOW:
        return sequential.interval(_paired(found, measure, margin), alpha=alpha)
    return sequential.between(_sides(found, measure, margin), share=float(experiment.traffic_share), alpha=alpha)


def course(found: Sequence[ArmCall], experiment: sa.Row[Any], measure: Measure, *, alpha: float) -> list[list[float]]:
    """[calls, difference, low, high] of the primary outcome after more and more calls, as people read it."""
    if experiment.kind == routing.SHADOW:
        steps = sequential.course_of(_paired(found, measure, None), alpha=alpha, points=MOST_POINTS)
    else:
        share = float(experiment.traffic_share)
        steps = sequential.course_between(_sides(found, measure, None), share=share, alpha=alpha, points=MOST_POINTS)
    told = [(each, in_its_own_sense(measure, each)) for each in steps if each.observations > 1]
    return [[each.observations, shown["difference"], *shown["interval"]] for each, shown in told]


def in_its_own_sense(measure: Measure, now: SequentialInterval) -> dict[str, Any]:
    """The difference as people read it: more success is a positive number."""
    low, high = (now.low, now.high) if measure.lower_is_better else (-now.high, -now.low)
    value = now.difference if measure.lower_is_better else -now.difference
    told = [round(low, 4), round(high, 4)] if now.observations > 1 else None
    return {"difference": round(value, 4), "interval": told}


def would_end(
    experiment: sa.Row[Any], now: SequentialInterval, measure: Measure, *, alpha: float,
    guards: Sequence[str], margins: Mapping[str, float],
) -> list[str]:  # fmt: skip
    """What would end it, as sentences: the test, the guards, its last day, and people."""
    shadow = experiment.kind == routing.SHADOW
    said = []
    if experiment_measures.decides(measure, shadow=shadow):
        said.append(_decision(now, measure, alpha=alpha, shadow=shadow))
    else:
        said.append("Seconds of a version in shadow decide nothing: they are shown.")
    if guards:
        some = " or ".join(_guard(name, margins[name]) for name in guards)
        said.append(f"{experiment.challenger} is withdrawn at once if it surely harms {some}.")
    if experiment.ends_at is not None:
        said.append(f"Undecided on {experiment.ends_at:%Y-%m-%d %H:%M} UTC, it ends and {experiment.champion} stays.")
    said.append(f"It ends too if another version takes the place of {experiment.champion}, or if a person ends it.")
    return said


def _decision(now: SequentialInterval, measure: Measure, *, alpha: float, shadow: bool) -> str:
    if not now.enough:
        missing = [quantities.counted(LEAST - now.observations, "more call")] if now.observations < LEAST else []
        if not shadow and now.fewest < LEAST_EACH:
            missing.append(f"{LEAST_EACH - now.fewest:,} more on the side that has fewer")
        each = "" if shadow else f" and {LEAST_EACH} on each side"
        return f"Nothing is decided before {LEAST} calls{each}: {' and '.join(missing)} are needed."
    more = sequential.more_to_decide(now, alpha=alpha, most=_PRACTICALLY_EQUAL)
    shown = in_its_own_sense(measure, now)["difference"]
    rule = "It is decided once the whole interval of the difference lies on one side of zero"
    if more is None:
        return f"{rule}; at the present difference of {measure.difference(shown)} no number of calls would do."
    if not more:
        return f"{rule}, as it does now."
    about = f"{more:,}" if more < 100 else f"{round(more, 1 - len(str(more)) + 1):,}"
    return f"{rule}: about {about} more calls, if the difference stays at {measure.difference(shown)}."


def _guard(name: str, margin: float) -> str:
    measure = MEASURES[name]
    return f"{measure.title} by more than {100 * margin:g} {'%' if measure.seconds else 'points'}"


def _sides(found: Sequence[ArmCall], measure: Measure, margin: float | None) -> list[tuple[bool, float]]:
    return [
        (challenger, _read(measure, value, margin, challenger=challenger))
        for challenger, value in arm_figures.observations(found, measure)
    ]


def _paired(found: Sequence[ArmCall], measure: Measure, margin: float | None) -> list[float]:
    return [
        _read(measure, other, margin, challenger=True) - _read(measure, one, margin, challenger=False)
        for one, other in arm_figures.pairs(found, measure)
    ]


def _read(measure: Measure, value: float, margin: float | None, *, challenger: bool) -> float:
    return measure.harm(value) if margin is None else measure.guarded(value, margin, challenger=challenger)
