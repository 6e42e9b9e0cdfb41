"""A view's list -> a table that filters, sorts, pages and exports CSV.

The filters are those of the view's query model, so that the page takes what `/api` and the command take.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import Response, request

from ml_backend.errors import InvalidInput
from ml_backend.views import queries
from ml_backend.views.queries import MAX_LIMIT, PagedQuery, Query

OURS = ("format", "sort")
MOST_ROWS = 100_000
"""Rows of one CSV file."""
RUNS_IN_A_SPREADSHEET = ("=", "+", "-", "@", "\t", "\r", "\n")
Row = Mapping[str, Any]
Q = TypeVar("Q", bound=Query)


@dataclass(frozen=True)
class Column:
    """One column. `link`: row -> address or None. kind: text, number, time, seconds, share."""

    name: str
    label: str
    kind: str = "text"
    link: Callable[[Row], str | None] | None = None
    language: str = ""  # the row's field with the language of this text
    sortable: bool = False


@dataclass(frozen=True)
class Filter:
    """One field of the form over the list."""

    name: str
    label: str
    value: str
    choices: Sequence[str] = ()


@dataclass(frozen=True)
class Listing:
    """What the macro `ui.listing` draws."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    filters: Sequence[Filter] = ()
    sort: str = ""
    path: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    next_page: str | None = None
    first_page: str | None = None
    csv: str = ""
    caption: str = ""

    def sorted_by(self, column: Column) -> str:
        """The address that sorts by a column: ascending, then descending."""
        wanted = f"-{column.name}" if self.sort == column.name else column.name
        return address(self.path, {**self.arguments, "sort": wanted})

    def direction(self, column: Column) -> str:
        """For `aria-sort`."""
        return {column.name: "ascending", f"-{column.name}": "descending"}.get(self.sort, "none")


def address(path: str, arguments: Mapping[str, str]) -> str:
    """A path with those arguments that are not empty."""
    return path + ("?" + urlencode(given) if (given := {k: v for k, v in arguments.items() if v}) else "")


def asked(model: type[Q]) -> Q:
    """The filters in this request's address; a field of a form that was left empty is no filter."""
    given = {
        name: found
        for name, values in request.args.to_dict(flat=False).items()
        if name not in OURS and (found := [value for value in values if value != ""])
    }
    return queries.from_arguments(model, given)


def wants_csv() -> bool:
    return request.args.get("format") == "csv"


def of(
    query: Query,
    find: Callable[[Any], Sequence[Row]],
    columns: Sequence[Column],
    *,
    key: str = "id",
    caption: str = "",
    choices: Mapping[str, Sequence[str]] | None = None,
) -> Listing:
    """One page of `find(query)` for this request, with its form.

    A PagedQuery pages by `before` = the last row's `key`. A list that is whole is sorted here by any sortable column;
    one that comes in pages is sorted by the view, whose query then has a field `sort`.
    """
    rows = list(find(query))
    given = request.args.to_dict(flat=True)
    sort = given.get("sort", "")
    paged = isinstance(query, PagedQuery)
    if sort:
        by = next((column for column in columns if column.sortable and column.name == sort.removeprefix("-")), None)
        if by is None:
            raise InvalidInput("bad-sort", "The list cannot be sorted by this.", "Use a column's heading.")
        if not paged:
            rows.sort(key=lambda row: _order(row.get(by.name)), reverse=sort.startswith("-"))
    arguments = {name: value for name, value in given.items() if name not in ("before", "format")}
    full = paged and len(rows) == query.limit and bool(rows)  # type: ignore[attr-defined]
    return Listing(
        columns,
        rows,
        filters=_filters(query, given, choices or {}),
        sort=sort,
        path=request.path,
        arguments=arguments,
        next_page=address(request.path, {**arguments, "before": str(rows[-1][key])}) if full else None,
        first_page=address(request.path, arguments) if given.get("before") else None,
        csv=address(request.path, {**arguments, "format": "csv"}),
        caption=caption,
    )


def to_csv(
    name: str, query: Query, find: Callable[[Any], Sequence[Row]], columns: Sequence[Column], *, key: str = "id"
) -> Response:
    """All pages of the list as one file, streamed."""

    def pages() -> Iterator[Sequence[Row]]:
        if not isinstance(query, PagedQuery):
            yield of(query, find, columns, key=key).rows
            return
        one, seen = query.model_copy(update={"limit": MAX_LIMIT}), 0
        while True:
            rows = list(find(one))
            yield rows
            seen += len(rows)
            if len(rows) < MAX_LIMIT or seen >= MOST_ROWS:
                return
            one = one.model_copy(update={"before": rows[-1][key]})

    def lines(first: Sequence[Row], rest: Iterator[Sequence[Row]]) -> Iterator[str]:
        yield "\ufeff" + csv_line([column.label for column in columns])  # UTF-8, for spreadsheets
        for rows in (first, *rest):
            yield "".join(csv_line([row.get(column.name) for column in columns]) for row in rows)

    found = pages()
    first = next(found)  # what is refused is refused before the answer begins
    response = Response(lines(first, found), mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


def csv_line(cells: Sequence[Any]) -> str:
    """One line; a text that a spreadsheet would run as a formula gets a quote before it."""
    text = io.StringIO()
    csv.writer(text).writerow([_csv_cell(cell) for cell in cells])
    return text.getvalue()


def plain_listing(columns: Sequence[Column], rows: Sequence[Row], caption: str = "") -> Listing:
    """A short list without filters and pages."""
    return replace(Listing(columns, rows), caption=caption)


def _csv_cell(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    return f"'{text}" if text.startswith(RUNS_IN_A_SPREADSHEET) else text


def _order(value: Any) -> tuple[int, Any]:
    if value is None:
        return 0, 0
    return (1, value) if isinstance(value, int | float) else (2, str(value))


def _filters(query: Query, given: Mapping[str, str], choices: Mapping[str, Sequence[str]]) -> list[Filter]:
    schema = type(query).model_json_schema().get("properties", {})
    found = []
    for name, each in schema.items():
        if name in ("before", "limit", "sort"):
            continue
        known = choices.get(name) or each.get("enum") or each.get("items", {}).get("enum") or ()
        found.append(Filter(name, name.replace("_", " "), given.get(name, ""), tuple(map(str, known))))
    return found
