"""Experiments: both sides, the boundary of the sequential test, and what would end one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, g

from ml_backend.context import Context
from ml_backend.jobs import job_kinds
from ml_backend.page import page_actions, page_lists, page_shell, plots
from ml_backend.page.page_lists import Column
from ml_backend.page.plots import Plot, Point, Series
from ml_backend.views import version_views
from ml_backend.views.queries import Query

SHARES = ("wer", "edit-rate", "success", "automation")  # measures in per cent
LEAST_CALLS = 50  # as training/experiments/sequential.py
WIDE_CALLS = 25  # the bounds after fewer calls are so wide that nothing else would be seen
Row = Mapping[str, Any]
EXPERIMENTS = (
    Column("name", "experiment", link=lambda row: page_shell.link_to("experiment", row["name"]), sortable=True),
    Column("model_kind", "of", sortable=True),
    Column("kind", "kind"),
    Column("language", "language"),
    Column("traffic_share", "share of calls", "share"),
    Column("champion", "champion", link=lambda row: page_shell.link_to("version", row["champion"])),
    Column("challenger", "challenger", link=lambda row: page_shell.link_to("version", row["challenger"])),
    Column("state", "state", sortable=True),
    Column("started_at", "started", "time", sortable=True),
    Column("ended_at", "ended", "time", sortable=True),
)
SIDES = (
    Column("measure", "outcome"),
    Column("side", "side"),
    Column("value", "value"),
    Column("low", "from"),
    Column("high", "to"),
    Column("calls", "calls", "number"),
    Column("note", ""),
)


class ExperimentsPage:
    """Two versions on real calls."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self) -> Response:
        """The latest hundred."""
        query = page_lists.asked(Query)

        def find(query: Query) -> Sequence[Row]:
            return version_views.experiments_of(self._context)

        if page_lists.wants_csv():
            return page_lists.to_csv("experiments", query, find, EXPERIMENTS)
        return page_shell.render(
            "listing.html", title="Experiments", active="models", command="python -m ml_backend experiments list",
            listing=page_lists.of(query, find, EXPERIMENTS, caption="Experiments, newest first"),
            api="/api/experiments",
        )  # fmt: skip

    def experiment(self, name: str) -> Response:
        """One, with the figures of the last look."""
        found = version_views.experiment_named(self._context, name)
        outcome = found["outcome"] or {}
        return page_shell.render(
            "experiment.html", title=f"Experiment {found['name']}", active="models", experiment=found, outcome=outcome,
            boundary=boundary_plot(outcome) if outcome.get("course") else None, running=found["state"] == "running",
            sides=page_lists.plain_listing(SIDES, _sides(outcome), "Both sides, by every outcome"),
            guards=[
                [each["measure"], each["margin"], each["observations"], "harmed" if each["harmed"] else "not harmed"]
                for each in outcome.get("guards", ())
            ],
            path=page_shell.link_to("experiment", found["name"]),
        )  # fmt: skip

    def end(self, name: str) -> Response:
        """End it; open tasks of the challenger are drafted anew by the champion."""
        reason, found = page_actions.reason(), version_views.experiment_named(self._context, name)
        return page_actions.ask_for(
            self._context, job_kinds.END_EXPERIMENT, key=found["name"], name=found["name"], who=g.caller, why=reason
        )


def boundary_plot(outcome: Row) -> Plot:
    """The difference of the sides after more and more calls, between the bounds that hold however often one looks."""
    times = 100 if outcome["primary"] in SHARES else 1
    course = [each for each in outcome["course"] if each[0] >= WIDE_CALLS] or outcome["course"]

    def line(place: int) -> list[Point]:
        return [Point(int(each[0]), round(times * each[place], 4)) for each in course]

    last = int(course[-1][0])
    return plots.lines(
        "Difference, challenger minus champion", "calls", "points" if times == 100 else outcome["primary"],
        series=[
            Series("difference", line(1)), Series("upper bound", line(3), dashed=True),
            Series("lower bound", line(2), dashed=True),
            Series("no difference", [Point(int(course[0][0]), 0.0), Point(last, 0.0)], dashed=True),
        ],
        marks=[plots.PlotMark(LEAST_CALLS, "decides from here")] if last >= LEAST_CALLS else [],
        description="Decided when both bounds lie on one side of zero.",
    )  # fmt: skip


def _sides(outcome: Row) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for measure, sides in outcome.get("measures", {}).items():
        primary = "decides" if measure == outcome.get("primary") else ""
        if sides["not_measured"]:
            rows.append({"measure": measure, "note": f"not measured: {sides['not_measured']}"})
            continue
        for side in ("champion", "challenger"):
            found = sides[side] or {}
            values = {name: _written(measure, found.get(name)) for name in ("value", "low", "high")}
            rows.append({"measure": measure, "side": side, **values, "calls": found.get("calls", 0), "note": primary})
    return rows


def _written(measure: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if measure in SHARES else f"{value:.3f} s" if measure == "latency" else f"{value:.2f}"
