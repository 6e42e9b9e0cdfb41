"""Data: what is annotated against what calls are made of, the gaps, and the datasets with what each leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response

from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.page import page_lists, page_shell, plots
from ml_backend.page.page_lists import Column
from ml_backend.reports import data_composition
from ml_backend.reports.data_composition import CompositionQuery
from ml_backend.views.queries import whole_number

VALUES = (
    Column("title", "by"),
    Column("value", "value"),
    Column("hours", "annotated hours", "number"),
    Column("share", "of the annotated", "share"),
    Column("annotated_calls", "annotated calls", "number"),
    Column("samples", "samples", "number"),
    Column("calls_hours", "hours of calls", "number"),
    Column("calls_share", "of the calls", "share"),
    Column("calls", "calls", "number"),
)
DATASETS = (
    Column("name", "dataset", link=lambda row: f"/page/data/datasets/{row['id']}"),
    Column("version", "version", "number"),
    Column("kind", "kind"),
    Column("made_at", "made", "time"),
    Column("rows", "rows", "number"),
    Column("hours", "hours", "number"),
    Column("state", "state"),
    Column("said", "against the version before, and what was left out"),
)


class DataPage:
    """What the engineer looks at before training, and the manager before hiring."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self) -> Response:
        """The composition; `?format=csv` is every value of every dimension."""
        query = page_lists.asked(CompositionQuery)
        found = data_composition.of(self._context, query)
        if page_lists.wants_csv():
            rows = [{**value, "title": each["title"]} for each in found["dimensions"] for value in each["values"]]
            return page_lists.to_csv("data", query, lambda _: rows, VALUES)
        tables = [
            (each, _plot(each), page_lists.plain_listing(_columns(each), each["values"], f"By {each['title']}"))
            for each in found["dimensions"]
        ]
        form = page_lists.of(query, lambda _: [], VALUES)
        return page_shell.render(
            "data.html", title="Data", active="data", found=found, tables=tables, form=form,
            datasets=page_lists.plain_listing(DATASETS, found["datasets"], "The newest versions of each dataset"),
        )  # fmt: skip

    def dataset(self, dataset_id: str) -> Response:
        """One version: its parts, its difference from the one before, and what it leaves out."""
        number = whole_number(dataset_id, "dataset")
        listed = data_composition.of_dataset(self._context, number)
        if listed is None:
            raise InvalidInput("no-such-dataset", "There is no such dataset.", "Choose one on the page.", status=404)
        return page_shell.render(
            "dataset.html", title=f"Dataset {listed['name']}@{listed['version']}", active="data", dataset=listed,
        )  # fmt: skip


def _columns(dimension: Mapping[str, Any]) -> tuple[Column, ...]:
    own = VALUES[1:]
    return own if dimension["compared"] else tuple(each for each in own if not each.name.startswith("calls"))


def _plot(dimension: Mapping[str, Any]) -> plots.Plot | None:
    """Both shares side by side, where calls say it."""
    if not dimension["compared"] or not dimension["values"]:
        return None

    def points(share: str, count: str) -> list[plots.Point]:
        return [
            plots.Point(str(value["value"]), value[share] or 0.0, note=f"{value[count]:,} calls")
            for value in dimension["values"][:20]
        ]

    series = [
        plots.Series("annotated data", points("share", "annotated_calls")),
        plots.Series("calls", points("calls_share", "calls")),
    ]
    return plots.bars(f"Share of hours by {dimension['title']}", str(dimension["title"]), "share", series=series)
