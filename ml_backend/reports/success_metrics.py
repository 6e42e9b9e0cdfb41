"""The company's success metrics -> value, count, interval, trend and state of each against its target.

What nothing reports is "not measured", with the reason and the next step. A value from too few observations is shown
and not judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from ml_backend import setting_values, tables
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.reports import day_counts, success_measures
from ml_backend.reports.success_measures import METRICS, MetricFacts, SuccessMetric
from ml_backend.setting_values import SUCCESS_TARGETS
from ml_backend.views.queries import Query, one_of

MET, MISSED, NOT_MEASURED = "met", "missed", "not measured"

_Metric = Annotated[
    str,
    one_of(
        SUCCESS_TARGETS,
        InvalidInput("unknown-metric", "There is no such metric.", f"Use one of: {', '.join(SUCCESS_TARGETS)}."),
    ),
]


class SuccessQuery(Query):
    """Which metrics."""

    metric: Annotated[_Metric | None, Field(description="Only this one, e.g. asr_wer.")] = None


def of(context: Context, query: SuccessQuery) -> dict[str, Any]:
    """Every metric, or one; in the order of the settings."""
    facts = success_measures.read(context)
    targets = setting_values.success_targets(context.settings.success_targets)[0]
    wanted = [one for one in METRICS if query.metric in (None, one.name)]
    counted = day_counts.counted_at(context.db)
    found = [_judged(one, one.measure(facts), targets[one.name], counted=counted is not None) for one in wanted]
    states = [one["state"] for one in found]
    return {
        "made_at": tables.now().isoformat(timespec="seconds"),
        "counted_at": counted.isoformat(timespec="seconds") if counted else None,
        "today": facts.today.isoformat(), "zone": context.settings.exotel_time_zone,
        "states": {state: states.count(state) for state in (MET, MISSED, NOT_MEASURED)},
        "metrics": found,
    }  # fmt: skip


def said(unit: str, value: float | None) -> str:
    """A value with its unit, as a person reads it: the page and the command show the same text."""
    if value is None:
        return "-"
    forms = {"share": f"{100 * value:.1f} %", "s": f"{1000 * value:.0f} ms", "min": f"{value:.1f} min"}
    if unit == "mos":
        return f"{value:.2f}"
    return forms.get(unit) or (f"{value:.2f} {unit}" if abs(value) < 1 else f"{value:.1f} {unit}")


def lines(found: Mapping[str, Any]) -> list[str]:
    """One block per metric, for a terminal."""
    shown = []
    for one in found["metrics"]:
        between = (
            f" ({said(one['unit'], one['low'])} to {said(one['unit'], one['high'])})" if one["low"] is not None else ""
        )
        basis = f", {one['count']:,} {one['of']}" if one["count"] else ""
        shown.append(
            f"{one['state']:<12}  {one['title']}: {said(one['unit'], one['value'])}{between}, target {one['sign']} "
            f"{said(one['unit'], one['target'])}{basis}, {one['window']}"
        )
        shown += [
            f"{'':14}{part['name']}: {said(one['unit'], part['value'])}, {part['count']:,}" for part in one["parts"]
        ]
        shown += [f"{'':14}{text}" for text in (one["note"], f"{one['why']} {one['next']}".strip()) if text]
    at = found["counted_at"]
    return [*shown, f"counted {at}" if at else "Days were not counted yet: is `python -m ml_backend relay` running?"]


def _judged(metric: SuccessMetric, found: MetricFacts, target: float, *, counted: bool) -> dict[str, Any]:
    now, why, next_step = found.now, found.why, found.next
    if not counted and now is None and metric.name in success_measures.BY_DAY:
        why, next_step = "Days were not counted yet.", "The job `count-days` counts them: is `relay` running?"
    elif now is not None and now.count < metric.least and not why:
        why = f"Too few to say: {now.count} of at least {metric.least} {metric.of}."
    state = NOT_MEASURED if now is None or why else MET if metric.meets(now.value, target) else MISSED
    ends = [] if now is None or now.low is None or now.high is None else [now.low, now.high]
    return {
        "name": metric.name, "title": metric.title, "unit": metric.unit, "sign": metric.sign, "target": target,
        "state": state, "sure": bool(ends) and len({metric.meets(end, target) for end in ends}) == 1,
        **(now.to_dict() if now is not None else {"value": None, "low": None, "high": None, "count": 0}),
        "of": metric.of, "window": metric.window, "counted": metric.counted,
        "why": why, "next": next_step if state != MET else "", "note": found.note,
        "parts": [{"name": name, **part.to_dict()} for name, part in found.parts],
        "trend": [{"at": day.isoformat(), **point.to_dict()} for day, point in found.trend],
    }  # fmt: skip
