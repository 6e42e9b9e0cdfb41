"""Any report by its name: every number of it, and every list as a table. Pages with a form of their own show more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flask import Response

from ml_backend.context import Context
from ml_backend.page import page_lists, page_shell
from ml_backend.page.page_lists import Column
from ml_backend.reports import report_table

_TIMES = ("_at", "since", "until")


class ReportPages:
    """What `report NAME` prints and `/api/reports/NAME` answers."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self, name: str) -> Response:
        """One report, with the filters that it takes."""
        report = report_table.named(name)
        query = page_lists.asked(report.query_model())
        found = report.of(self._context, query)
        return page_shell.render(
            "report.html", title=report.summary, numbers=list(_numbers(found)), lists=list(_lists(found)),
            command=f"python -m ml_backend report {name}", api=f"/api/reports/{name}",
        )  # fmt: skip


def _numbers(found: Mapping[str, Any], title: str = "") -> Iterator[tuple[str, Any]]:
    """(what it is, value) of everything that is not a list of objects."""
    for name, value in found.items():
        path = f"{title} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _numbers(value, path)
        elif not _is_table(value):
            yield path, value


def _lists(found: Mapping[str, Any], title: str = "") -> Iterator[page_lists.Listing]:
    for name, value in found.items():
        path = f"{title} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _lists(value, path)
        elif _is_table(value):
            heads = dict.fromkeys(key for each in value for key in each)
            columns = [Column(key, key.replace("_", " "), _kind(key, value)) for key in heads]
            yield page_lists.plain_listing(columns, value, path)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _kind(name: str, rows: list[Mapping[str, Any]]) -> str:
    if name.endswith(_TIMES):
        return "time"
    numbers = all(isinstance(row.get(name), int | float | None) for row in rows)
    return "number" if numbers else "text"
