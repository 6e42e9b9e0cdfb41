"""The overview says what the commands and /api say, number by number."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta

import pytest

from ml_backend import tables
from ml_backend.commands import command_line
from ml_backend.context import Context, JobContext
from ml_backend.page import overview_page
from ml_backend.reports import day_counts
from ml_backend.reports.success_metrics import said
from ml_backend.setting_values import SUCCESS_TARGETS
from tests.ml_backend.api.serving import BEARER, Serving
from tests.ml_backend.page.visitors import visitor
from tests.ml_backend.reports.day_rows import annotation, outcome, project, put, recording, task


def _letters(text: str) -> str:
    """Without spaces and the marks of code, which are an element on the page."""
    return re.sub(r"[\s`]", "", text)


@pytest.fixture
def busy(serving: Serving) -> Serving:
    """Some weeks of work, counted by the job."""
    context, now = serving.context, tables.now()
    mine = project(context, title="<script>alert(1)</script>")
    for days in range(30):
        at = now - timedelta(days=days, hours=1)
        recording(context, at, seconds=3600 * 2)
        annotation(context, mine, task(context, mine, at - timedelta(days=9)), at)
        outcome(context, at, success=days % 9 > 0, satisfaction=0.9, automated=True, latencies={"<b>dialogue</b>": 0.2})
    task(context, mine, now - timedelta(days=2))
    made = put(context, tables.model_versions, version="v1", kind="asr", location="/m", manifest={}, languages=[])
    for days, rate in ((60, 0.3), (20, 0.2)):
        put(
            context, tables.alias_history, kind="asr", language="*", alias="champion", to_version="v1", who="asha",
            why="better", created_at=now - timedelta(days=days),
        )  # fmt: skip
        scores = {"rates": {"indic@1": {"wer": [rate, rate - 0.01, rate + 0.01], "words": 900}}}
        put(context, tables.evaluations, model_version_id=made, scores=scores, created_at=now - timedelta(days=days))
    day_counts.count_days(JobContext(context.settings, context.db, context.store), days=15)
    return serving


def cards(page: str) -> dict[str, str]:
    """Metric -> the text of its card."""
    found = re.findall(r'data-metric="(\w+)">(.*?)</dd></div>', page, re.DOTALL)
    return {name: " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split()) for name, body in found}


def test_each_number_of_the_overview_is_the_one_that_the_command_and_the_api_give(
    busy: Serving, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def context(role: str = "cli") -> Context:
        return busy.context

    monkeypatch.setattr(command_line, "quiet_context", context)
    assert command_line.main(["report", "success-metrics", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["metrics"]
    api = busy.app.test_client().get("/api/reports/success-metrics", headers=BEARER).get_json()["metrics"]
    assert told == api
    shown = cards(visitor(busy).get("/page/overview").text)
    assert list(shown) == [one["name"] for one in told] == list(SUCCESS_TARGETS)
    for one in told:
        text = shown[one["name"]]
        assert f"{one['title']} {said(one['unit'], one['value'])}" in text
        assert f"target {one['sign']} {said(one['unit'], one['target'])} {one['state']}" in text
        assert _letters(one["counted"]) in _letters(text)
        assert not one["count"] or f"n = {one['count']:,} {one['of']}" in text
        assert one["low"] is None or f"[{said(one['unit'], one['low'])} to {said(one['unit'], one['high'])}]" in text
    assert {one["state"] for one in told} == {"met", "missed", "not measured"}


def test_the_overview_says_what_is_wrong_what_got_better_and_what_waits(busy: Serving) -> None:
    page = visitor(busy).get("/page/overview").text
    assert "No relay is running. Start it: python -m ml_backend relay." in re.sub("<[^>]+>", "", page)
    assert "Word error rate of the champion" in page
    assert ">0.2<" in page, "the plot's table"
    assert "open tasks in &lt;script&gt;" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;dialogue&lt;/b&gt;" in page


def test_a_metric_has_a_page_with_its_trend_as_plot_table_and_csv(busy: Serving) -> None:
    somebody = visitor(busy)
    page = somebody.get("/page/metrics/data_hours_per_week?sort=-value").text
    address = "/api/reports/success-metrics?metric=data_hours_per_week"
    (told,) = busy.app.test_client().get(address, headers=BEARER).get_json()["metrics"]
    assert len(told["trend"]) > 3
    assert f">{told['value']:.4g}<" in page
    assert "plot-data" in page
    lines = somebody.get("/page/metrics/data_hours_per_week?format=csv").text.splitlines()
    assert lines[0] == "\ufeffuntil,value,low,high,count"
    assert [float(line.split(",")[1]) for line in lines[1:]] == [point["value"] for point in told["trend"]]
    assert somebody.get("/page/metrics/wer").status_code == 400


@pytest.mark.parametrize("address", ["/page/overview", "/page/metrics/uptime"])
def test_the_overview_is_not_for_strangers(serving: Serving, address: str) -> None:
    assert serving.app.test_client().get(address).status_code == 401


def test_an_empty_house_has_an_overview_too(serving: Serving) -> None:
    page = visitor(serving).get("/page/overview")
    assert page.status_code == 200
    assert "Nothing waits for anybody." in page.text
    assert len(cards(page.text)) == len(SUCCESS_TARGETS)


def test_the_line_of_a_trend_stays_inside_its_drawing_and_needs_two_points() -> None:
    points = [{"value": value} for value in (3.0, 9.0, 1.0)]
    found = overview_page.drawing({"trend": points, "target": 10.0, "title": "Hours", "unit": "h"})
    assert found is not None
    heights = [float(pair.split(",")[1]) for pair in found["line"].split()]
    assert all(0 <= height <= overview_page.HEIGHT for height in (*heights, float(found["target"])))
    assert heights[1] < heights[0] < heights[2], "more is higher"
    assert overview_page.drawing({"trend": points[:1], "target": 10.0, "title": "Hours", "unit": "h"}) is None
