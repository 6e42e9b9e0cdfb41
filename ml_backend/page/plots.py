"""Figures -> a drawing by plotly's script and a table of the same numbers.

A plot is plain values. The template writes them into the page as JSON, which `static/page.js` hands to plotly, and as a
table, which is what people without a script, with a screen reader or with a spreadsheet read.
"""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

X = str | float | date | datetime


@dataclass(frozen=True)
class Point:
    """One value; `low` and `high` where it is an estimate, `note` is shown with it (e.g. its count)."""

    x: X
    y: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Series:
    """Points under one name. `dashed`: a limit or a forecast."""

    name: str
    points: Sequence[Point]
    dashed: bool = False


@dataclass(frozen=True)
class PlotMark:
    """A moment on the x axis, such as a promotion."""

    x: X
    label: str


@dataclass(frozen=True)
class IntervalRow:
    """One slice before and now: points with interval bars. A thin slice (too few calls) is drawn grey."""

    name: str
    before: Point | None
    now: Point | None
    thin: bool = False


@dataclass(frozen=True)
class Plot:
    """`figure` is plotly's data and layout; `headers` and `rows` are the same numbers."""

    title: str
    figure: dict[str, Any]
    headers: Sequence[str]
    rows: Sequence[Sequence[Any]]
    description: str = ""
    empty: bool = field(default=False)


def lines(
    title: str,
    x_label: str,
    y_label: str,
    *,
    series: Sequence[Series],
    marks: Sequence[PlotMark] = (),
    target: float | None = None,
    description: str = "",
) -> Plot:
    """Values over x, each series a line; `target` is a level line and `marks` are moments."""
    data = [_line(one) for one in series]
    layout = _layout(x_label, y_label)
    ends = [_x(point.x) for one in series for point in one.points]
    if target is not None and ends:
        data.append(
            {
                "x": [min(ends), max(ends)],
                "y": [target, target],
                "name": "target",
                "mode": "lines",
                "line": {"dash": "dot"},
            }
        )
    layout["shapes"] = [
        {
            "type": "line",
            "x0": _x(mark.x),
            "x1": _x(mark.x),
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"dash": "dot", "width": 1},
        }
        for mark in marks
    ]
    layout["annotations"] = [
        {
            "x": _x(mark.x),
            "yref": "paper",
            "y": 1,
            "text": _plain(mark.label),
            "showarrow": False,
            "textangle": -90,
            "xanchor": "right",
            "yanchor": "top",
        }
        for mark in marks
    ]
    rows = [[one.name, *_cells(point)] for one in series for point in one.points] + [
        ["mark", _shown(mark.x), None, None, None, mark.label] for mark in marks
    ]
    headers = ("series", x_label, y_label, "low", "high", "note")
    return _plot(title, data, layout, headers, rows, description)


def bars(
    title: str,
    x_label: str,
    y_label: str,
    *,
    series: Sequence[Series],
    stacked: bool = False,
    description: str = "",
) -> Plot:
    """Values by name, side by side or stacked."""
    data = [
        {"type": "bar", "x": [_x(p.x) for p in one.points], "y": [p.y for p in one.points], "name": _plain(one.name)}
        | _error(one)
        for one in series
    ]
    layout = _layout(x_label, y_label) | {"barmode": "stack" if stacked else "group"}
    rows = [[one.name, *_cells(point)] for one in series for point in one.points]
    return _plot(title, data, layout, ("series", x_label, y_label, "low", "high", "note"), rows, description)


def intervals(title: str, value_label: str, *, rows: Sequence[IntervalRow], description: str = "") -> Plot:
    """Before → now per slice, with interval bars; thin slices are grey."""
    data: list[dict[str, Any]] = []
    for name, is_now, colour in (("before", False, 1), ("now", True, 0)):
        for thin in (False, True):
            mine = [(row, point) for row in rows if row.thin is thin and (point := row.now if is_now else row.before)]
            if not mine:
                continue
            points = [Point(point.y if point.y is not None else 0.0, None, point.low, point.high) for _, point in mine]
            trace = {
                "x": [point.x for point in points],
                "y": [_plain(row.name) for row, _ in mine],
                "name": name + (" (thin)" if thin else ""),
                "mode": "markers",
                "type": "scatter",
                "marker": {"symbol": "circle" if is_now else "circle-open", "size": 9},
            }
            if thin:
                trace["showlegend"] = False  # the table says which slices are thin
                trace["marker"]["color"] = "#888888"  # type: ignore[index]
            trace["error_x"] = _bars([(point.x, point.low, point.high) for point in points])
            if thin:
                trace["error_x"]["color"] = "#888888"  # type: ignore[index]
            data.append(trace | {"colour": colour})
    layout = _layout(value_label, "")
    layout["yaxis"] |= {"type": "category", "autorange": "reversed", "automargin": True}
    layout["height"] = 140 + 34 * max(1, len(rows))
    table = []
    for row in rows:
        before, now = row.before or Point("", None), row.now or Point("", None)
        table.append(
            [
                row.name,
                before.y,
                before.low,
                before.high,
                now.y,
                now.low,
                now.high,
                "thin" if row.thin else "",
                now.note,
            ]
        )
    headers = ("slice", "before", "low", "high", "now", "low", "high", "", "count")
    return _plot(title, data, layout, headers, table, description)


@cache
def script() -> tuple[bytes, bytes]:
    """Plotly's script as it lies in its package: (plain, gzipped). Empty where the package is not installed."""
    found = importlib.util.find_spec("plotly")  # its Python is never imported
    places = list(found.submodule_search_locations or ()) if found is not None else []
    path = Path(places[0], "package_data", "plotly.min.js") if places else Path()
    if not path.is_file():
        return b"", b""
    plain = path.read_bytes()
    return plain, gzip.compress(plain, 6, mtime=0)


def _plot(
    title: str,
    data: list[dict[str, Any]],
    layout: dict[str, Any],
    headers: Sequence[str],
    rows: Sequence[Sequence[Any]],
    description: str,
) -> Plot:
    return Plot(title, {"data": data, "layout": layout}, headers, rows, description, empty=not rows)


def _line(series: Series) -> dict[str, Any]:
    found = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": _plain(series.name),
        "x": [_x(point.x) for point in series.points],
        "y": [point.y for point in series.points],
        "text": [_plain(point.note) for point in series.points],
    }
    return found | _error(series) | ({"line": {"dash": "dash"}, "mode": "lines"} if series.dashed else {})


def _error(series: Series) -> dict[str, Any]:
    found = [(point.y or 0.0, point.low, point.high) for point in series.points]
    return {"error_y": _bars(found)} if any(low is not None or high is not None for _, low, high in found) else {}


def _bars(found: Sequence[tuple[Any, float | None, float | None]]) -> dict[str, Any]:
    up = [max(0.0, high - value) if high is not None else 0.0 for value, _, high in found]
    down = [max(0.0, value - low) if low is not None else 0.0 for value, low, _ in found]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1.5}


def _layout(x_label: str, y_label: str) -> dict[str, Any]:
    return {
        "xaxis": {"title": {"text": _plain(x_label)}, "automargin": True},
        "yaxis": {"title": {"text": _plain(y_label)}, "automargin": True, "rangemode": "tozero"},
        "height": 320,
        "margin": {"l": 56, "r": 16, "t": 36, "b": 48},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02},
        "hovermode": "closest",
    }


def _cells(point: Point) -> list[Any]:
    return [_shown(point.x), point.y, point.low, point.high, point.note]


def _x(value: X) -> Any:
    return value.isoformat() if isinstance(value, date) else _plain(value) if isinstance(value, str) else value


def _shown(value: X) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return value.isoformat() if isinstance(value, date) else value


def _plain(text: str) -> str:
    """A name as plotly shows it: its labels understand a little HTML, which a foreign name must not be."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
