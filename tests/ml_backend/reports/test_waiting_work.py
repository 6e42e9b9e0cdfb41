"""What waits is named with whom it waits for, since when, and a next step; what is done is not named."""

from __future__ import annotations

import pytest

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.reports import champion_history, waiting_work, working_state
from tests.ml_backend.reports.day_rows import ago, project, put, task


def version(context: Context, name: str, verdict: str | None = None) -> int:
    made = put(
        context, tables.model_versions, version=name, kind="asr", location=f"/models/{name}", manifest={}, languages=[]
    )
    if verdict:
        put(
            context, tables.evaluations, model_version_id=made, scores={}, verdict=verdict, against_version="v1",
            created_at=ago(2),
        )  # fmt: skip
    return made


def moved(context: Context, name: str, days: float, **numbers: float) -> None:
    put(
        context, tables.alias_history, kind="asr", language="*", alias="champion", to_version=name, who="asha",
        why="better", numbers=numbers or None, created_at=ago(days),
    )  # fmt: skip


def test_nothing_waits_in_an_empty_house(one: Context) -> None:
    found = waiting_work.of(one)
    assert found == {"waiting": []}
    assert waiting_work.lines(found) == ["Nothing waits for anybody."]


def test_tasks_wait_for_annotators_and_decisions_for_an_engineer(context: Context) -> None:
    mine, other = project(context, title="Support"), project(context, state="detached")
    for days in (3, 9):
        task(context, mine, ago(days))
    task(context, mine, ago(30), state="annotated")
    task(context, other, ago(30))
    put(context, tables.hotwords, project_id=mine, language="hi", word="Kaan", created_at=ago(5))
    put(context, tables.hotwords, project_id=mine, language="hi", word="Kan", state="approved")
    version(context, "v2", "better")
    version(context, "v3", "worse")
    version(context, "v4", "better")
    moved(context, "v4", 1)
    put(
        context, tables.jobs, name="train", queue="training", arguments={}, priority=100, state="failed",
        finished_at=ago(1),
    )  # fmt: skip
    found = waiting_work.of(context)["waiting"]
    assert [(one["for"], one["count"], one["what"], (one["since"] or "")[:10]) for one in found] == [
        ("annotators", 2, "open tasks in Support", ago(9).date().isoformat()),
        ("engineer", 1, "suggested hotwords", ago(5).date().isoformat()),
        ("engineer", 1, "asr version found better than the champion: v2", ago(2).date().isoformat()),
        ("operator", 1, "jobs ended badly", ago(1).date().isoformat()),
    ]
    assert all(one["next"] for one in found)


def test_a_long_queue_is_counted_up_to_a_limit(one: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_work, "MOST", 2)
    mine = project(one, title="Support")
    for _ in range(3):
        task(one, mine, ago(1))
    (found,) = waiting_work.of(one)["waiting"]
    assert (found["count"], found["at_least"]) == (2, True)
    assert "at least 2 open tasks in Support" in waiting_work.lines({"waiting": [found]})[0]


def test_the_error_rate_over_time_has_a_point_for_each_promotion_and_each_later_score(one: Context) -> None:
    first, second = version(one, "v1"), version(one, "v2")
    moved(one, "v1", 60)
    moved(one, "v2", 20, before=0.2, now=0.15, words=900)
    for made, rate, days in ((first, 0.2, 61), (second, 0.14, 21), (second, 0.16, 3)):
        scores = {"rates": {"indic@1": {"wer": [rate, rate - 0.01, rate + 0.01], "words": 900}}}
        put(one, tables.evaluations, model_version_id=made, scores=scores, test_sha256="t", created_at=ago(days))
    found = champion_history.of(one)
    told = [
        (point["at"][:10], point["value"], point["low"], point["count"], point["promoted"]) for point in found["points"]
    ]
    assert told == [
        (ago(60).date().isoformat(), 0.2, 0.19, 900, False),
        (ago(20).date().isoformat(), 0.14, 0.13, 900, True),
        (ago(3).date().isoformat(), 0.16, 0.15, 900, False),
    ]
    assert [(each["to"], each["before"], each["now"]) for each in found["promotions"]] == [
        ("v1", None, None), ("v2", 0.2, 0.15),
    ]  # fmt: skip


def test_the_state_of_now_says_what_is_missing_and_how_to_start_it(one: Context) -> None:
    found = working_state.of(one)
    assert any("No relay is running. Start it: `python -m ml_backend relay`." in said for said in found["trouble"])
    assert working_state.lines(found)[0] == "processes: none"
