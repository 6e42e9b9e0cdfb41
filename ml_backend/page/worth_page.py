"""Where the next hour of annotation pays: the learning curve, what drafts save, and what orders the work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from ml_backend.context import Context
from ml_backend.languages import name_of
from ml_backend.page import page_lists, page_shell, plots
from ml_backend.page.page_lists import Column
from ml_backend.reports.learning import annotation_worth
from ml_backend.reports.learning.annotation_worth import HoursQuery
from ml_backend.views.queries import Query

USEFUL = (
    Column("task", "task in Label Studio", "number", link=lambda row: f"/page/calls/recording:{row['recording']}"),
    Column("project", "project"),
    Column("usefulness", "usefulness", "number"),
    Column("expected_error", "words expected to be wrong", "share"),
    Column("minutes", "expected minutes", "number"),
    Column("reason", "why"),
)
BANDS = (
    Column("errors", "words that were wrong"),
    Column("annotations", "annotations", "number"),
    Column("audio_min", "minutes of audio", "number"),
    Column("minutes_per_audio_minute", "minutes per minute of audio", "number"),
    Column("saved_min", "minutes saved", "number"),
    Column("low", "at least", "number"),
    Column("high", "at most", "number"),
    Column("note", "note"),
)
ERRORS = (
    Column("language", "language"),
    Column("confidence", "confidence", "number"),
    Column("error", "words expected to be wrong", "share"),
    Column("basis", "learnt from"),
)


class WorthPage:
    """The same as the reports learning-curve, drafts and usefulness."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self) -> Response:
        """All three; `?target=15` is the WER that the hours are counted to."""
        query = page_lists.asked(HoursQuery)
        curve = annotation_worth.of_learning_curve(self._context, query)
        drafts = annotation_worth.of_drafts(self._context, Query())
        useful = annotation_worth.of_usefulness(self._context, Query())
        return page_shell.render(
            "worth.html", title="Where the next hour of annotation pays", active="annotation", curve=curve,
            drafts=drafts, useful=useful, plot=_curves(curve), saved=_saved(drafts), query=query,
            bands=page_lists.plain_listing(BANDS, drafts["bands"], "Minutes saved by how wrong the draft was"),
            errors=page_lists.plain_listing(ERRORS, useful["expected_errors"], "What a confidence means"),
            tasks=page_lists.plain_listing(USEFUL, useful["most_useful"], "The most useful open tasks"),
        )  # fmt: skip


def _curves(found: Mapping[str, Any]) -> plots.Plot:
    """Points of what was measured, dashed lines of what is fitted."""
    series = []
    for kind, what in (("points", "measured"), ("curve", "fitted")):
        for language in [one["language"] for one in found["languages"]]:
            mine = sorted((one for one in found[kind] if one["language"] == language), key=lambda one: one["hours"])
            points = [
                plots.Point(one["hours"], 100 * one["wer"], 100 * one["low"], 100 * one["high"], one.get("version", ""))
                for one in mine
            ]
            if points:
                series.append(plots.Series(f"{name_of(language)}, {what}", points, dashed=kind == "curve"))
    title = "Word error rate against hours of annotation"
    return plots.lines(
        title, "hours of annotation", "WER, %", series=series, target=100 * found["target"],
        description="Versions trained here; those on different test sets are not comparable with one another.",
    )  # fmt: skip


def _saved(found: Mapping[str, Any]) -> plots.Plot:
    points = [
        plots.Point(one["errors"], one["saved_min"], one.get("low"), one.get("high"), one.get("note", ""))
        for one in found["bands"]
    ]
    series = [plots.Series("minutes saved", points)] if points else []
    return plots.bars("Minutes that drafts saved", "words of the draft that were wrong", "minutes", series=series)
