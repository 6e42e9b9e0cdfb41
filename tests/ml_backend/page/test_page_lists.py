"""What a list does with filters, pages, foreign text and spreadsheets."""

from __future__ import annotations

import csv
import io
from typing import Annotated, Any

import pytest
from flask import Flask
from pydantic import Field

from ml_backend.errors import InvalidInput
from ml_backend.page import page_lists, page_shell, plots
from ml_backend.page.page_lists import Column
from ml_backend.views.queries import PagedQuery, Query

HOSTILE = ["<script>alert(1)</script>", "=1+1", "+1", "-1", "@x", "\tx", "\u202eabc", "क्\u200dष", "a" * 1_000_000]
COLUMNS = [Column("id", "id", "number", sortable=True), Column("text", "text")]


class SomeQuery(PagedQuery):
    word: Annotated[str | None, Field(description="Only with this word.")] = None


def numbered(query: SomeQuery) -> list[dict[str, Any]]:
    """450 rows, newest first."""
    last = query.before or 451
    return [{"id": number, "text": f"row {number}"} for number in range(last - 1, max(0, last - 1 - query.limit), -1)]


@pytest.fixture
def app() -> Flask:
    return Flask("ml_backend", static_folder=None, template_folder="page/templates")


def test_a_list_pages_by_its_last_row_and_keeps_its_filters(app: Flask) -> None:
    with app.test_request_context("/page/x?word=a&before=60"):
        found = page_lists.of(page_lists.asked(SomeQuery), numbered, COLUMNS)
    assert [row["id"] for row in found.rows][::49] == [59, 10]
    assert (found.next_page, found.first_page) == ("/page/x?word=a&before=10", "/page/x?word=a")
    assert [(each.name, each.value) for each in found.filters] == [("word", "a")]


def test_an_empty_field_of_the_form_is_no_filter_and_a_misspelt_one_is_refused(app: Flask) -> None:
    with app.test_request_context("/page/x?word=&before="):
        assert page_lists.asked(SomeQuery) == SomeQuery()
    with app.test_request_context("/page/x?wrod=a"), pytest.raises(InvalidInput, match="another name"):
        page_lists.asked(SomeQuery)


def test_csv_holds_every_page_once(app: Flask) -> None:
    with app.test_request_context("/page/x?format=csv"):
        answer = page_lists.to_csv("x", page_lists.asked(SomeQuery), numbered, COLUMNS)
    rows = list(csv.reader(io.StringIO(answer.get_data(as_text=True).lstrip("\ufeff"))))
    assert rows[0] == ["id", "text"]
    assert [int(row[0]) for row in rows[1:]] == list(range(450, 0, -1))


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_a_hostile_text_is_text_in_a_list_in_a_plot_and_in_csv(app: Flask, text: str) -> None:
    rows = [{"id": 1, "text": text}]
    csv.field_size_limit(2_000_000)
    (cell,) = next(csv.reader(io.StringIO(page_lists.csv_line([text]))))
    assert cell in (text, f"'{text}")
    assert not cell.startswith(page_lists.RUNS_IN_A_SPREADSHEET)
    with app.test_request_context("/page/x"):
        listing = page_lists.of(Query(), lambda query: rows, COLUMNS)
        plot = plots.lines("t", "x", text[:99], series=[plots.Series(text[:99], [plots.Point(text[:99], 1.0)])])
        macros = app.jinja_env.get_template("macros.html")
        macros.globals.update(shown=page_shell.shown, link_to=page_shell.link_to, json_of=page_shell._json)
        html = str(macros.module.listing(listing)) + str(macros.module.plot(plot))
    assert "<script>alert" not in html
    assert html.count("<script") == html.count("</script>") == 1
    if "<" not in text:
        assert text in html


def test_a_whole_list_is_sorted_by_its_columns_and_absent_values_come_first(app: Flask) -> None:
    rows = [{"id": 2}, {"id": None}, {"id": 10}]
    for sort, wanted in (("id", [None, 2, 10]), ("-id", [10, 2, None])):
        with app.test_request_context(f"/page/x?sort={sort}"):
            found = page_lists.of(Query(), lambda query: rows, COLUMNS)
        assert [row["id"] for row in found.rows] == wanted
    with app.test_request_context("/page/x?sort=text"), pytest.raises(InvalidInput, match="cannot be sorted"):
        page_lists.of(Query(), lambda query: rows, COLUMNS)


def test_an_interval_plot_draws_thin_slices_grey_and_has_every_number_in_its_table() -> None:
    rows = [
        plots.IntervalRow("hi", plots.Point("hi", 20.0, 18.0, 22.0), plots.Point("hi", 15.0, 13.0, 17.0, "n = 90")),
        plots.IntervalRow("mr", None, plots.Point("mr", 30.0, 10.0, 60.0, "n = 3"), thin=True),
    ]
    plot = plots.intervals("Verdict", "WER", rows=rows)
    grey = [trace for trace in plot.figure["data"] if trace["marker"].get("color") == "#888888"]
    assert [trace["y"] for trace in grey] == [["mr"]]
    now = next(trace for trace in plot.figure["data"] if trace["name"] == "now")
    assert (now["x"], now["error_x"]["array"], now["error_x"]["arrayminus"]) == ([15.0], [2.0], [2.0])
    assert list(plot.rows[0]) == ["hi", 20.0, 18.0, 22.0, 15.0, 13.0, 17.0, "", "n = 90"]
