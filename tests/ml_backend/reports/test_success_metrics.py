"""Each success metric is what can be counted by hand from the rows, with its count, interval, trend and target."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.reports import success_metrics
from ml_backend.reports.success_metrics import SuccessQuery
from ml_backend.setting_values import SUCCESS_TARGETS
from ml_backend.settings import Settings
from tests.ml_backend.reports.day_rows import (
    NOW,
    ago,
    annotation,
    counted,
    minute,
    outcome,
    project,
    put,
    recording,
    sample,
    task,
)  # fmt: skip


def measured(context: Context, name: str) -> dict[str, Any]:
    (found,) = success_metrics.of(context, SuccessQuery(metric=name))["metrics"]
    return found


def version(context: Context, name: str, kind: str = "asr", *, days: float = 50) -> int:
    return put(
        context, tables.model_versions, version=name, kind=kind, location=f"/models/{name}", manifest={}, languages=[],
        created_at=ago(days),
    )  # fmt: skip


def promoted(context: Context, name: str, days: float, *, from_version: str | None = None, **numbers: Any) -> None:
    put(
        context, tables.alias_history, kind="asr", language="*", alias="champion", from_version=from_version,
        to_version=name, who="asha", why="better", numbers=numbers or None, created_at=ago(days),
    )  # fmt: skip


def scored(context: Context, version_id: int, wer: list[float], days: float, *, test: str = "t1") -> None:
    scores = {"rates": {"indic@1": {"wer": wer, "words": 5000}}}
    put(context, tables.evaluations, model_version_id=version_id, scores=scores, test_sha256=test, created_at=ago(days))


def serves(context: Context, version_id: int, kind: str = "asr") -> None:
    put_alias = tables.aliases.insert().values(kind=kind, language="*", alias="champion", model_version_id=version_id)
    with context.db.transaction() as connection:
        connection.execute(put_alias)


def test_nothing_is_measured_on_an_empty_database_and_every_metric_says_why_and_the_next_step(
    one: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted(one, monkeypatch)
    found = success_metrics.of(one, SuccessQuery())
    assert [each["name"] for each in found["metrics"]] == list(SUCCESS_TARGETS)
    assert {each["state"] for each in found["metrics"]} == {"not measured"}
    assert [each["name"] for each in found["metrics"] if not (each["why"] and each["next"] and each["counted"])] == []


def test_before_days_are_counted_no_metric_of_days_claims_that_nothing_came(one: Context) -> None:
    recording(one, ago(1))
    found = measured(one, "data_hours_per_week")
    assert (found["state"], found["value"], found["why"]) == ("not measured", None, "Days were not counted yet.")


def test_hours_of_data_are_those_of_seven_days_without_synthetic_and_superseded_audio(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days in (0, 1, 6):
        recording(context, ago(days), seconds=4 * 3600)
    recording(context, ago(7), seconds=3600)  # the week before
    recording(context, ago(1), seconds=9999, synthetic=True)
    recording(context, ago(1), seconds=9999, state="superseded")
    counted(context, monkeypatch)
    found = measured(context, "data_hours_per_week")
    assert (found["value"], found["count"], found["state"], found["target"]) == (12.0, 3, "met", 10.0)
    assert [(point["at"], point["value"]) for point in found["trend"][-2:]] == [
        ("2026-11-23", 1.0),
        ("2026-11-30", 12.0),
    ]
    assert found["low"] is None, "an amount is no estimate"


def test_tasks_count_as_annotated_when_somebody_answered_within_seven_days_of_their_making(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = project(context)
    for number in range(30):
        made = ago(20)
        each = task(context, mine, made)
        if number < 18:
            annotation(context, mine, each, made + timedelta(days=6.9))
        elif number < 21:
            annotation(context, mine, each, made + timedelta(days=7.1))
        elif number < 24:
            annotation(context, mine, each, made + timedelta(days=1), skipped=True)
    task(context, mine, ago(20), state="deleted")
    task(context, mine, ago(3))  # it still has time
    old = task(context, mine, ago(20))
    annotation(context, mine, old, ago(40), before_attach=True)  # made before we were there
    counted(context, monkeypatch)
    found = measured(context, "annotated_within_7_days")
    assert (found["value"], found["count"], found["state"]) == (0.6, 30, "missed")
    assert found["low"] == pytest.approx(0.4232, abs=1e-3)
    assert found["high"] == pytest.approx(0.7541, abs=1e-3)
    assert found["sure"], "the whole interval is below 80 %"


def test_a_share_of_few_is_shown_and_not_judged(one: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = project(one)
    each = task(one, mine, ago(20))
    annotation(one, mine, each, ago(19))
    counted(one, monkeypatch)
    found = measured(one, "annotated_within_7_days")
    assert (found["state"], found["value"], found["count"]) == ("not measured", 1.0, 1)
    assert found["why"] == "Too few to say: 1 of at least 20 tasks."


def test_dataset_hours_are_what_was_accepted_in_91_days_and_still_is(
    one: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = project(one)
    sample(one, mine, ago(1), seconds=3600)
    sample(one, mine, ago(89), seconds=1800)
    sample(one, mine, ago(92), seconds=9000)
    sample(one, mine, ago(2), seconds=9000, state="excluded")
    counted(one, monkeypatch)
    found = measured(one, "dataset_hours_per_quarter")
    assert (found["value"], found["count"], found["state"]) == (1.5, 2, "missed")


def test_a_week_in_which_nothing_came_is_missed(one: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    recording(one, ago(20), seconds=3600)
    counted(one, monkeypatch)
    found = measured(one, "data_hours_per_week")
    assert (found["state"], found["value"], found["count"]) == ("missed", 0.0, 0)
    assert found["next"]


def test_the_fall_of_the_error_rate_multiplies_the_steps_of_promotions_on_equal_calls(
    one: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted(one, "v1", 300)
    promoted(one, "v2", 40, from_version="v1", before=0.20, now=0.18, difference=[-0.02, -0.03, -0.01], words=5000)
    promoted(one, "v3", 10, from_version="v2", before=0.30, now=0.15, difference=[-0.15, -0.18, -0.12], words=5000)
    counted(one, monkeypatch)
    found = measured(one, "wer_fall_per_quarter")
    assert (found["value"], found["count"], found["state"]) == (pytest.approx(1 - 0.9 * 0.5), 2, "met")
    assert found["low"] < found["value"] < found["high"]
    assert found["trend"][0] == {"at": "2026-09-14", "value": 0.0, "low": None, "high": None, "count": 0}


def test_going_back_takes_the_step_back_and_an_uncompared_champion_is_not_guessed_about(
    one: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted(one, "v1", 300)
    promoted(one, "v2", 40, from_version="v1", before=0.20, now=0.10, difference=[-0.1, -0.12, -0.08], words=5000)
    promoted(one, "v1", 20, from_version="v2")
    counted(one, monkeypatch)
    assert measured(one, "wer_fall_per_quarter")["value"] == 0.0
    promoted(one, "v3", 5, from_version="v1", forced=True)
    found = measured(one, "wer_fall_per_quarter")
    assert (found["state"], found["value"]) == ("not measured", None)
    assert found["why"] == "v3 was made the champion without a comparison on the same calls."
    first, third = version(one, "v1"), version(one, "v3")
    scored(one, first, [0.20, 0.19, 0.21], 6)
    scored(one, third, [0.15, 0.14, 0.16], 4)
    assert measured(one, "wer_fall_per_quarter")["value"] == pytest.approx(0.25), "one test set scored both"


def test_the_error_rate_is_the_newest_score_of_the_version_that_serves(
    one: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = version(one, "v1"), version(one, "v2")
    promoted(one, "v1", 60)
    promoted(one, "v2", 20, from_version="v1", before=0.2, now=0.14, difference=[-0.06, -0.08, -0.04], words=5000)
    scored(one, old, [0.21, 0.20, 0.22], 50)
    scored(one, new, [0.14, 0.12, 0.16], 21)
    scored(one, new, [0.16, 0.155, 0.17], 1, test="t2")
    serves(one, new)
    counted(one, monkeypatch)
    found = measured(one, "asr_wer")
    assert (found["value"], found["low"], found["high"], found["count"]) == (0.16, 0.155, 0.17, 5000)
    assert (found["state"], found["sure"], found["note"]) == ("missed", True, "Version v2.")
    assert [point["value"] for point in found["trend"]] == [0.21] * 6 + [0.14, 0.14, 0.16]


def test_the_opinion_score_is_that_of_the_voice_that_serves(one: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    serves(one, version(one, "voice-2", "tts"), "tts")
    axis = {"mean": 4.2, "low": 4.05, "high": 4.35, "votes": 80, "provisional": False, "raters": 8, "sentences": 5}
    axes = {"naturalness": axis, "pronunciation": {**axis, "mean": 3.9}, "emotion": None}
    body = {"versions": [{"version": "voice-1", "axes": {}}, {"version": "voice-2", "axes": axes}], "groups": []}
    with one.db.transaction() as connection:
        connection.execute(tables.summaries.insert().values(name="ratings", body=body))
    counted(one, monkeypatch)
    found = measured(one, "tts_mos")
    assert (found["value"], found["low"], found["count"], found["state"]) == (4.2, 4.05, 80, "met")
    assert {part["name"]: part["value"] for part in found["parts"]} == {"naturalness": 4.2, "pronunciation": 3.9}


def test_latency_is_the_95th_percentile_of_the_slowest_component_and_uptime_counts_minutes(
    one: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    for back in range(100):
        if back != 50:
            minute(one, NOW - timedelta(minutes=back + 1))
    minute(one, NOW - timedelta(minutes=5), *[0.02] * 95, *[0.9] * 5, kind="nlu")
    minute(one, NOW - timedelta(minutes=9), *[0.28] * 100, kind="asr", failed=2)
    for _ in range(25):
        outcome(one, ago(1), latencies={"telephony": 0.05})
    counted(one, monkeypatch)
    found = measured(one, "latency_s")
    parts = {part["name"]: (part["value"], part["count"]) for part in found["parts"]}
    assert set(parts) == {"nlu", "asr", "telephony (reported)"}
    assert (found["value"], found["count"]) == parts["asr"]
    assert found["value"] == pytest.approx(0.298, abs=0.002)
    assert (found["state"], found["sure"]) == ("met", True)
    up = measured(one, "uptime")
    assert (up["value"], up["count"], up["state"]) == (0.98, 100, "missed"), "one minute nobody, one with failures"


def test_reports_of_calls_give_success_satisfaction_and_automation(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        outcome(context, ago(2), success=number < 38, satisfaction=1.0 if number % 2 else 0.7, automated=number < 20)
    outcome(context, ago(2))  # only a tag was reported
    outcome(context, ago(40), success=False, automated=False)
    counted(context, monkeypatch)
    success, content, automated = (measured(context, name) for name in ("call_success", "satisfaction", "automation"))
    assert (success["value"], success["count"], success["state"], success["sure"]) == (0.95, 40, "met", False)
    assert (content["value"], content["count"], content["state"]) == (pytest.approx(4.4), 40, "met")
    assert content["high"] - content["low"] == pytest.approx(2 * 1.96 * 0.6 / 39**0.5, rel=0.01)
    assert (automated["value"], automated["count"], automated["state"], automated["sure"]) == (0.5, 40, "missed", True)


def test_time_of_annotation_leaves_out_tabs_left_open_and_counts_an_annotation_once(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = project(context)
    for number in range(25):
        each = task(context, mine, ago(3), seconds=120)
        annotation(context, mine, each, ago(2), lead_time_s=60.0, annotator=7 + number % 2)
    each = task(context, mine, ago(3), seconds=120)
    annotation(context, mine, each, ago(2), lead_time_s=50_000.0)  # over night
    again = task(context, mine, ago(3), seconds=120)
    first = annotation(context, mine, again, ago(2), lead_time_s=60.0, ls_annotation_id=10**6)
    annotation(context, mine, again, ago(2), lead_time_s=None, ls_annotation_id=10**6, ls_updated_at=ago(1))
    assert first
    counted(context, monkeypatch)
    found = measured(context, "annotation_minutes_per_audio_hour")
    assert (found["value"], found["count"], found["state"]) == (30.0, 26, "missed")
    assert (found["low"], found["high"]) == (30.0, 30.0), "every annotation took as long"
    hours = measured(context, "annotator_hours_per_day")
    assert (hours["value"], hours["count"]) == (pytest.approx(26 / 60 / 2, abs=1e-6), 2)
    assert hours["why"] == "Too few to say: 2 of at least 5 days of work."


def test_a_target_is_a_setting_and_every_mistake_in_it_is_named(one: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    recording(one, ago(1), seconds=3600)
    counted(one, monkeypatch)
    easier = Settings(
        _env_file=None, data_dir=one.settings.data_dir, success_targets="data_hours_per_week=1, asr_wer=12%"
    )
    found = measured(replace(one, settings=easier), "data_hours_per_week")
    assert (found["state"], found["target"]) == ("met", 1.0)
    assert measured(replace(one, settings=easier), "asr_wer")["target"] == 0.12
    with pytest.raises(ValueError, match=r"entry 1 names no metric.*entry 2 must be.*entry 3.*is a share") as wrong:
        Settings(_env_file=None, success_targets="werr=1, uptime=abc, asr_wer=15, tts_mos=9, data_hours_per_week=5%")
    assert "entry 4: tts_mos is on the scale" in str(wrong.value)
    assert "entry 5 must be data_hours_per_week=NUMBER" in str(wrong.value)


def test_a_metric_that_does_not_exist_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InvalidInput, match="There is no such metric"):
        SuccessQuery(metric="wer")


def test_the_terminal_says_the_value_the_target_and_why_it_is_not_judged(
    one: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording(one, ago(1), seconds=3600)
    counted(one, monkeypatch)
    shown = success_metrics.lines(success_metrics.of(one, SuccessQuery()))
    assert "missed        Data collected: 1.0 h, target >= 10.0 h, 1 recordings, last 7 days" in shown
    assert any("No report says whether a call succeeded." in line for line in shown)


def test_counting_again_changes_nothing_and_late_annotations_change_their_day(
    one: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = project(one)
    each = task(one, mine, ago(10))
    counted(one, monkeypatch)
    before = success_metrics.of(one, SuccessQuery())
    counted(one, monkeypatch)
    assert success_metrics.of(one, SuccessQuery()) == before
    annotation(one, mine, each, ago(9))
    counted(one, monkeypatch)
    assert measured(one, "annotated_within_7_days")["value"] == 1.0


def test_counting_a_day_finds_its_rows_by_an_index_and_scans_nothing_that_grows(
    one: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample(one, project(one), ago(1), seconds=60)
    outcome(one, ago(1), success=True)
    statements: list[tuple[str, Any]] = []
    listen = (one.db.engine, "before_cursor_execute", lambda *said: statements.append((said[2], said[3])))
    sa.event.listen(*listen)
    counted(one, monkeypatch)
    success_metrics.of(one, SuccessQuery())
    sa.event.remove(*listen)
    plans = []
    with one.db.reading() as connection:
        for text, values in {text: values for text, values in statements if text.startswith("SELECT")}.items():
            plans += [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
    growing = ("recordings", "tasks", "annotations", "samples", "outcomes", "live_minutes", "day_counts")
    assert len(plans) > 10
    whole = [plan for plan in plans if plan.startswith("SCAN") and plan.split()[1] in growing and "INDEX" not in plan]
    assert not whole
