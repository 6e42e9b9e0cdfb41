"""The three reports over what the job stored: every figure with its count, and words for a terminal."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.reports import report_table
from ml_backend.reports.learning import annotation_worth
from ml_backend.usefulness import team_model
from tests.ml_backend.api.serving import BEARER, Serving
from tests.ml_backend.page.visitors import visitor

BAND = {"annotations": 40, "audio_min": 20.0, "work_min": 50.0, "minutes_per_audio_minute": 2.5}
SAVINGS = {
    "from_nothing": {"annotations": 30, "minutes_per_audio_minute": 4.0, "low": 3.6, "high": 4.4},
    "all": {**BAND, "saved_min": 30.0, "low": 20.0, "high": 39.0},
    "bands": [{"errors": "below 10 %", **BAND, "saved_min": 30.0, "low": 20.0, "high": 39.0},
              {"errors": "30-50 %", **BAND, "saved_min": -12.0, "low": -20.0, "high": -3.0}],
    "left_out": {"annotations": 2, "saved_min": None, "note": "too few to say"},
}  # fmt: skip
POINT = {"version": "v1", "test": "abc", "hours": 10.0, "wer": 0.3, "low": 0.28, "high": 0.32, "calls": 40}
CURVES = {
    "mr": {"hours": 30.0, "points": [POINT, {**POINT, "version": "v2", "hours": 30.0, "wer": 0.2}],
           "fit": {"scale": 0.9, "exponent": 0.45, "floor": 0.0, "with_floor": False, "points": 2, "test": "abc"},
           "draws": [[0.9, 0.44 + 0.0005 * n, 0.0] for n in range(40)]},
    "hi": {"hours": 5.0, "points": [POINT], "fit": None, "too_early": "there are 1"},
}  # fmt: skip
MODEL = {
    "errors": {"hi": {"edges": [0.5], "errors": [0.6, 0.05], "corrections": 12}}, "worth": {"hi": 0.9},
    "break_even": {"value": 0.25, "low": 0.2, "high": 0.33, "drafted": 90, "undrafted": 40}, "corrections": 12,
}  # fmt: skip


@pytest.fixture
def taught(serving: Serving) -> Serving:
    """A deployment in which the job has run, with one open task."""
    stored: dict[str, Any] = {
        team_model.NAME: MODEL, annotation_worth.SAVINGS: SAVINGS, annotation_worth.CURVES: {"languages": CURVES},
    }  # fmt: skip
    with serving.context.db.transaction() as connection:
        for name, body in stored.items():
            connection.execute(sa.insert(tables.summaries).values(name=name, body=body, made_at=tables.now()))
        project = {"instance_url": "http://ls", "ls_project_id": 3, "title": "Calls", "state": "attached"}
        made = sa.insert(tables.projects).values(**project).returning(tables.projects.c.id)
        number = connection.execute(made).scalar_one()
        audio = {"id": 1, "source": "upload", "source_identity": "a.wav", "state": "ready"}
        connection.execute(sa.insert(tables.recordings).values(**audio))
        task = {
            "project_id": number, "external_key": "k", "origin": "ours", "state": "open", "ls_task_id": 7,
            "recording_id": 1,
            "usefulness": 0.8, "usefulness_reason": "About 4 of 9 words may be wrong.",
            "expected": {"error": 0.45, "minutes": 0.5, "gain": 8.0},
        }  # fmt: skip
        connection.execute(sa.insert(tables.tasks).values(**task))
    return serving


def lines(name: str, found: dict[str, Any]) -> str:
    return "\n".join(report_table.named(name).to_lines(found) or ())


def test_the_order_of_work_is_explained_with_its_counts_and_the_most_useful_tasks(taught: Serving) -> None:
    found = taught.get("/api/reports/usefulness", BEARER).get_json()
    assert found["most_useful"] == [
        {"task": 7, "recording": 1, "project": "Calls", "usefulness": 0.8, "expected_error": 0.45, "minutes": 0.5,
         "reason": "About 4 of 9 words may be wrong."}
    ]  # fmt: skip
    assert {(one["confidence"], one["error"]) for one in found["expected_errors"]} >= {(0.2, 0.6), (0.95, 0.05)}
    text = lines("usefulness", found)
    assert "confidence 0.2 -> 60.0 % wrong (12 corrections, too few to leave out a draft)" in text
    assert "A draft costs time above 25.0 % wrong words (20.0 % to 33.0 %, measured on this team" in text
    assert "0.800  task 7 in Calls: About 4 of 9" in text


def test_minutes_saved_and_lost_have_their_intervals(taught: Serving) -> None:
    found = taught.get("/api/reports/drafts", BEARER).get_json()
    assert found["bands"] == SAVINGS["bands"]
    text = lines("drafts", found)
    assert "below 10 %: 40 annotations, 30.0 minutes saved (95 % 20.0 to 39.0)" in text
    assert "30-50 %: 40 annotations, 12.0 minutes lost (95 % -20.0 to -3.0)" in text
    assert "drafts left out: 2 annotations, too few to say" in text


def test_the_learning_curve_says_how_many_hours_are_missing_or_why_that_is_too_early(taught: Serving) -> None:
    found = taught.get("/api/reports/learning-curve?target=15", BEARER).get_json()
    by_language = {one["language"]: one for one in found["languages"]}
    assert by_language["mr"]["said"].startswith("About ")
    assert 0 < by_language["mr"]["low"] < by_language["mr"]["more_hours"] < by_language["mr"]["high"]
    assert by_language["hi"]["said"] == "Too early to say for Hindi: there are 1."
    assert by_language["hi"]["more_hours"] is None
    curve = [one for one in found["curve"] if one["language"] == "mr"]
    assert all(one["low"] <= one["wer"] <= one["high"] for one in curve)
    assert curve[0]["hours"] < 30.0 < curve[-1]["hours"]
    usual = taught.get("/api/reports/learning-curve?language=mr", BEARER).get_json()
    assert (usual["target"], [one["language"] for one in usual["languages"]]) == (0.15, ["mr"])
    assert "mr: 10.0 hours, WER 30.0 % (28.0 % to 32.0 %, 40 calls), v1 on test set abc" in lines(
        "learning-curve", found
    )
    assert taught.get("/api/reports/learning-curve?target=much", BEARER).status_code == 400


@pytest.mark.parametrize("name", ["usefulness", "drafts", "learning-curve"])
def test_before_the_job_ran_a_report_says_so(serving: Serving, name: str) -> None:
    found = serving.get(f"/api/reports/{name}", BEARER).get_json()
    assert found["made_at"] is None
    assert found["note"] == annotation_worth.NOT_YET
    assert annotation_worth.NOT_YET in lines(name, found)


def test_the_page_shows_the_same_figures_and_links_to_the_tasks(taught: Serving) -> None:
    visit = visitor(taught)
    page = visit.get("/page/worth?target=15").text
    curve = taught.get("/api/reports/learning-curve?target=15", BEARER).get_json()
    assert all(one["said"] in page for one in curve["languages"])
    for figure in ("0.8", "45.0 %", "30.0", "-12.0", "measured on this team", "Marathi, fitted"):
        assert figure in page, figure
    assert "About 4 of 9 words may be wrong." in page
    assert visit.get("/page/calls/recording:1").status_code == 200
    assert 'href="/page/calls/recording:1"' in page
    assert 'href="/page/worth"' in visit.get("/page/data").text
    assert visit.get("/page/worth?target=much").status_code == 400


def test_before_the_job_ran_the_page_says_that_it_is_too_early(serving: Serving) -> None:
    page = visitor(serving).get("/page/worth").text
    assert annotation_worth.NOT_YET in page
    assert "Too early to say" in page
    assert serving.app.test_client().get("/page/worth").status_code in (302, 303, 401)
