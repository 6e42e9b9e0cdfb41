"""Whoever leads the team sees how annotation goes, per person and project, and the evidence of what looks wrong."""

from __future__ import annotations

import html
from datetime import timedelta
from typing import Any

import pytest

from ml_backend import tables
from ml_backend.context import JobContext
from ml_backend.reports import day_counts
from ml_backend.reports.annotating import annotation_figures
from ml_backend.reports.annotating.annotation_figures import AnnotationFiguresQuery
from tests.ml_backend.api.serving import BEARER, Serving
from tests.ml_backend.page.visitors import visitor
from tests.ml_backend.reports.day_rows import annotation, project, recording, task

RATE = {"value": 0.125, "part": 50, "of": 400}
SHARE = {"value": 0.5, "part": 10, "of": 20, "low": 0.3, "high": 0.7}
WEEK = {
    "week_of": "2026-11-23",
    "annotations": 20,
    "edit_rate": RATE,
    "char_edit_rate": RATE,
    "accepted_unchanged": SHARE,
}
SUMMARY: dict[str, Any] = {
    "agreement": {"all": {"tasks": 12, "wer": {"value": 0.081, "part": 1, "of": 900}}},
    "alpha": {}, "gold": {"tasks": 3, "answers": 6, "wer": RATE, "right": SHARE},
    "people": [
        {
            "annotator": 7, "agreement": {"tasks": 12, "wer": {"value": 0.081}}, "gold": {"answers": 6, "wer": RATE},
            "signs": ["unsure-unchanged"],
        }
    ],
    "stamping": {
        "reasons": {"suspect": 4},
        "people": [
            {"annotator": 7, "signs": [{"name": "unsure-unchanged", "part": 19, "of": 20, "expected": 6.5}]}
        ],
    },
    "drafts": [
        {"model_version": "v<2>", "annotations": 20, "edit_rate": RATE, "accepted_unchanged": SHARE, "weeks": [WEEK]}
    ],
}  # fmt: skip


@pytest.fixture
def team(serving: Serving) -> Serving:
    """Two people in two projects, yesterday and the day before, counted and compared by the jobs."""
    context, now = serving.context, tables.now()
    calls, texts = (
        project(context, title="Support", ls_project_id=901),
        project(context, title="Sales", ls_project_id=902),
    )
    for days in (1, 2):
        at = now - timedelta(days=days)
        for who, where, seconds in ((7, calls, 120.0), (7, texts, 120.0), (8, calls, 30.0)):
            mine = task(context, where, at, seconds=60, state="annotated")
            annotation(context, where, mine, at, annotator=who, lead_time_s=seconds)
    task(context, calls, now - timedelta(days=40))
    task(context, calls, now - timedelta(days=3))
    recording(context, now)
    with context.db.transaction() as connection:
        insert = tables.summaries.insert()
        connection.execute(insert.values(name="people", body={"names": {"7": "Asha <Rao>"}}))
        connection.execute(insert.values(name="annotations", body=SUMMARY))
    day_counts.count_days(JobContext(context.settings, context.db, context.store), days=15)
    return serving


def figures(team: Serving, **query: Any) -> dict[str, Any]:
    return annotation_figures.of(team.context, AnnotationFiguresQuery(**query))


def test_work_is_summed_by_person_by_project_and_by_day(team: Serving) -> None:
    found = figures(team)
    whole = found["total"]
    assert (whole["annotations"], whole["audio_min"], whole["worked_h"]) == (6, 6.0, 0.15)
    assert whole["minutes_per_audio_minute"] == pytest.approx(1.5)
    told = [(one["name"], one["annotations"], one["days"], one["minutes_per_audio_minute"]) for one in found["people"]]
    assert told == [("Asha <Rao>", 4, 2, 2.0), ("annotator 8", 2, 2, 0.5)]
    assert [(one["title"], one["annotations"]) for one in found["projects"]] == [("Support", 4), ("Sales", 2)]
    assert sorted(one["annotations"] for one in found["by_day"] if one["annotations"]) == [3, 3]
    assert found["people"][0]["hours_per_day"] == pytest.approx(0.07, abs=0.004)


def test_one_person_or_one_project_alone(team: Serving) -> None:
    mine = figures(team, annotator=7)
    assert (mine["total"]["annotations"], [one["annotator"] for one in mine["people"]]) == (4, [7])
    assert figures(team, annotator=8)["suspects"] == []
    assert figures(team, project=902)["total"]["annotations"] == 2


def test_the_backlog_has_the_age_of_open_tasks(team: Serving) -> None:
    (one,) = figures(team)["backlog"]
    assert (one["title"], one["open"], one["1 to 7 days"], one["over 30 days"]) == ("Support", 2, 1, 1)
    assert one["oldest_days"] == pytest.approx(40, abs=0.1)


def test_the_page_shows_the_figures_names_and_evidence_and_a_name_is_no_markup(team: Serving) -> None:
    page = visitor(team).get("/page/annotation").text
    assert "Asha &lt;Rao&gt;" in page
    assert "<Rao>" not in page
    assert 'href="/page/annotation?annotator=7"' in page
    text = html.unescape(page)
    for said in ("left drafts unchanged that the model was unsure of", "19", "6.5", "12.5 %", "8.1 %", "v<2>"):
        assert said in text
    alone = visitor(team).get("/page/annotation?annotator=8").text
    assert "Annotation: annotator 8" in alone
    assert "Asha" not in alone


def test_each_list_is_sorted_filtered_and_exported_and_the_api_gives_the_same(team: Serving) -> None:
    somebody = visitor(team)
    lines = somebody.get("/page/annotation/lists/people?format=csv").text.splitlines()
    assert lines[0].startswith("\ufeffperson,days,")
    assert [line.split(",")[0] for line in lines[1:]] == ["Asha <Rao>", "annotator 8"]
    page = somebody.get("/page/annotation/lists/people?sort=annotations").text
    assert page.index("annotator 8") < page.index("Asha")
    assert somebody.get("/page/annotation/lists/secrets").status_code == 404
    told = team.app.test_client().get("/api/reports/annotation-figures?annotator=7", headers=BEARER).get_json()
    assert told["people"] == figures(team, annotator=7)["people"]


def test_before_anything_is_counted_there_is_a_page_too(serving: Serving) -> None:
    answer = visitor(serving).get("/page/annotation")
    assert (answer.status_code, "Days were not counted yet" in answer.text) == (200, True)
    assert serving.app.test_client().get("/page/annotation").status_code == 401
