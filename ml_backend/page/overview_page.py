"""The overview: is it working, is it getting better, what waits for whom, and the success metrics.

Every number is one of a report; the page only says it. A trend is a small drawing in the page itself; the page of a
metric has its plot and its table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from flask import Response

from ml_backend.context import Context
from ml_backend.page import page_lists, page_shell, plots
from ml_backend.page.page_lists import Column
from ml_backend.page.plots import Plot, PlotMark, Point, Series
from ml_backend.reports import champion_history, success_metrics, waiting_work, working_state
from ml_backend.reports.success_metrics import SuccessQuery, said
from ml_backend.views.queries import Query

WIDTH, HEIGHT, EDGE = 160, 36, 3  # of a small drawing
METRICS_PATH = "/page/metrics/"
TREND = (
    Column("at", "until", sortable=True),
    Column("value", "value", "number", sortable=True),
    Column("low", "low", "number"),
    Column("high", "high", "number"),
    Column("count", "count", "number", sortable=True),
)


class OverviewPage:
    """What everybody looks at first."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self) -> Response:
        """All four questions on one page."""
        metrics = success_metrics.of(self._context, SuccessQuery())
        return page_shell.render(
            "overview.html", title="Overview", active="overview", state=working_state.of(self._context),
            history=rates_plot(champion_history.of(self._context)), waiting=waiting_work.of(self._context)["waiting"],
            states=metrics["states"], counted_at=metrics["counted_at"],
            metrics=[card(one) for one in metrics["metrics"]],
        )  # fmt: skip

    def metric(self, name: str) -> Response:
        """One metric with its trend."""
        (found,) = success_metrics.of(self._context, SuccessQuery(metric=name))["metrics"]

        def points(query: Query) -> Sequence[Mapping[str, Any]]:
            return [dict(one) for one in found["trend"]]

        query = page_lists.asked(Query)
        if page_lists.wants_csv():
            return page_lists.to_csv(name, query, points, TREND)
        return page_shell.render(
            "metric.html", title=found["title"], active="overview", metric=card(found), plot=_trend_plot(found),
            trend=page_lists.of(query, points, TREND, caption="The trend in numbers"),
        )  # fmt: skip


def card(metric: Mapping[str, Any]) -> dict[str, Any]:
    """One metric in the words of the page. Its numbers are texts here, made by the report's own `said`."""
    unit = metric["unit"]
    between = "" if metric["low"] is None else f"{said(unit, metric['low'])} to {said(unit, metric['high'])}"
    return {
        **{name: metric[name] for name in ("name", "title", "state", "sure", "of", "window", "counted", "why", "next")},
        "value": said(unit, metric["value"]), "between": between, "count": metric["count"], "note": metric["note"],
        "target": f"{metric['sign']} {said(unit, metric['target'])}", "path": METRICS_PATH + metric["name"],
        "parts": [(part["name"], said(unit, part["value"]), part["count"]) for part in metric["parts"]],
        "drawing": drawing(metric), "trend": [(one["at"], said(unit, one["value"])) for one in metric["trend"]],
    }  # fmt: skip


def drawing(metric: Mapping[str, Any]) -> dict[str, Any] | None:
    """A trend as the points of a line, with the height of its target; None of fewer than two points."""
    values = [one["value"] for one in metric["trend"]]
    if len(values) < 2:
        return None
    top, bottom = max([*values, metric["target"]]), min([*values, metric["target"]])
    scale = (HEIGHT - 2 * EDGE) / ((top - bottom) or 1.0)
    step = (WIDTH - 2 * EDGE) / (len(values) - 1)
    heights = [EDGE + (top - value) * scale for value in values]
    line = " ".join(f"{EDGE + place * step:.1f},{height:.1f}" for place, height in enumerate(heights))
    last, unit = heights[-1], metric["unit"]
    words = f"{metric['title']}: from {said(unit, values[0])} to {said(unit, values[-1])} in {len(values)} points"
    return {
        "width": WIDTH, "height": HEIGHT, "line": line, "target": f"{EDGE + (top - metric['target']) * scale:.1f}",
        "x": f"{WIDTH - EDGE:.1f}", "y": f"{last:.1f}", "words": words,
    }  # fmt: skip


def rates_plot(history: Mapping[str, Any]) -> Plot:
    """The error rate of the champions, with every promotion."""
    points = [
        Point(_at(one["at"]), one["value"], one["low"], one["high"], f"{one['version']}, {one['count']:,} words")
        for one in history["points"]
    ]
    marks = [PlotMark(_at(one["at"]), one["version"]) for one in history["points"] if one["promoted"]]
    return plots.lines(
        "Word error rate of the champion", "day", "words wrong of all words", series=[Series("champion", points)],
        marks=marks,
        description="Each promotion, and each later test. Points of different test sets cannot be compared exactly.",
    )  # fmt: skip


def _trend_plot(metric: Mapping[str, Any]) -> Plot:
    points = [
        Point(one["at"], one["value"], one["low"], one["high"], f"{one['count']:,} {metric['of']}")
        for one in metric["trend"]
    ]
    return plots.lines(
        metric["title"], "until", metric["unit"], series=[Series(metric["title"], points)], target=metric["target"],
        description=metric["counted"],
    )  # fmt: skip


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
