"""The funnel says how far each call got and why no further; the data page compares with it what is annotated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context, JobContext, open_context
from ml_backend.errors import InvalidInput
from ml_backend.reports import call_days, call_funnel, data_composition
from ml_backend.reports.call_funnel import FunnelQuery
from ml_backend.reports.data_composition import CompositionQuery
from ml_backend.settings import Settings
from sync.recordings import call_counting

AT = datetime(2024, 1, 15, 9, 0, tzinfo=UTC)
DAY = date(2024, 1, 15)
ZONE = "Asia/Kolkata"
QUALITY = {"parts": {"leg_0": {"snr_db": 22.0, "speech_share": 0.5}}}


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url="", object_store="")
    db.upgrade(settings.database)
    opened = open_context(settings)
    opened.store.ensure_bucket(settings.audio_bucket)
    yield opened
    opened.db.dispose()


def put(context: Context, table: sa.Table, **values: Any) -> int:
    with context.db.transaction() as connection:
        return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())


def call(context: Context, sid: str, state: str = "tasked", **values: Any) -> int:
    given = {"started_at": AT, "provider": "exotel", "seen_by": ["passthru"], "from_pseudonym": f"p-{sid}"}
    return put(context, tables.calls, call_sid=sid, state=state, **{**given, **values})


def recording(context: Context, call_id: int, state: str = "ready", **values: Any) -> int:
    given = {"duration_s": 60.0, "channels": 1, "language": "hi", "quality": QUALITY}
    identity = f"s3://calls/{call_id}.wav"
    return put(
        context, tables.recordings, source="object", source_identity=identity, call_id=call_id, state=state,
        **{**given, **values},
    )  # fmt: skip


def transcribed(context: Context, recording_id: int) -> None:
    put(
        context, tables.transcriptions, recording_id=recording_id, audio_sha256=f"{recording_id:064d}",
        model_version="v", decoding_hash="h", decoding={}, text="हाँ", transcript={}, confidence=0.5, duration_s=60.0,
    )  # fmt: skip


def task(context: Context, recording_id: int, state: str = "open", **values: Any) -> int:
    projects = context.db.scalars(sa.select(tables.projects.c.id))
    project = projects[0] if projects else put(context, tables.projects, instance_url="u", ls_project_id=1)
    return put(
        context, tables.tasks, project_id=project, recording_id=recording_id, external_key=f"k{recording_id}",
        origin="ours", state=state, **values,
    )  # fmt: skip


def annotated(context: Context, task_id: int, **values: Any) -> int:
    return put(
        context, tables.annotations, project_id=1, task_id=task_id, ls_annotation_id=task_id, ls_updated_at=AT,
        result=[], **values,
    )  # fmt: skip


def sample(context: Context, task_id: int, digest: str, *, recording_id: int, **values: Any) -> None:
    given = {"state": "accepted", "language": "hi", "start_s": 0.0, "end_s": 30.0}
    put(
        context, tables.samples, project_id=1, task_id=task_id, number=0, annotation_id=1, recording_id=recording_id,
        text="हाँ", digest=digest, **{**given, **values},
    )  # fmt: skip


def dataset(context: Context, version: int, inside: list[str], left_out: dict[str, str]) -> None:
    bucket, folder = context.settings.audio_bucket, f"datasets/calls/{version}"
    lines = "".join(json.dumps({"digest": digest}) + "\n" for digest in inside)
    out = "".join(json.dumps({"digest": digest, "reason": why}) + "\n" for digest, why in left_out.items())
    context.store.put_bytes(bucket, f"{folder}/manifest.jsonl", lines.encode())
    context.store.put_bytes(bucket, f"{folder}/exclusions.jsonl", out.encode())
    counts = {"rows": len(inside), "hours": len(inside) / 120, "languages": {}, "excluded": {"duplicate": 1}}
    put(
        context, tables.datasets, name="calls", version=version, manifest_sha256=str(version), counts=counts,
        manifest_key=f"{folder}/manifest.jsonl",
    )  # fmt: skip


def count(context: Context) -> None:
    with context.db.transaction() as connection:  # as if the last run were long ago
        connection.execute(sa.update(tables.day_counts).values(made_at=AT))
        connection.execute(sa.update(tables.summaries).values(made_at=AT))
    call_counting.count_calls(JobContext(context.settings, context.db, context.store))


def every_way(context: Context) -> None:
    """Calls that end at each step, and one that goes all the way."""
    call(context, "busy", "no-recording", reason_code="no-conversation", reason="The call ended as busy.")
    call(context, "late", "to-fetch", next_action="fetch", due_at=AT, recording_url="u", seen_by=["listing"])
    recording(context, call(context, "cut", "refused", reason_code="audio-cut", reason="Cut."), state="refused")
    recording(context, call(context, "new", "stored", next_action="transcribe", due_at=AT))
    transcribed(context, recording(context, call(context, "kept", "kept", reason_code="good-enough")))
    for sid in ("open", "skipped", "excluded", "doubled", "whole"):
        made = recording(context, call(context, sid))
        transcribed(context, made)
        job = task(context, made, "open" if sid == "open" else "annotated")
        if sid != "open":
            annotated(context, job, skipped=sid == "skipped")
        if sid == "excluded":
            sample(context, job, "e" * 64, recording_id=made, state="excluded", reason_code="too-short")
        if sid in ("doubled", "whole"):
            sample(context, job, ("d" if sid == "doubled" else "a") * 64, recording_id=made)
    dataset(context, 1, ["b" * 64], {})
    dataset(context, 2, ["a" * 64], {"d" * 64: "duplicate"})


def test_each_step_counts_the_calls_that_got_there_and_says_why_the_others_did_not(context: Context) -> None:
    every_way(context)
    count(context)

    found = call_funnel.of(context, FunnelQuery(since=DAY, until=DAY))

    assert (found["calls"], found["called_back"]) == (10, 9)
    assert {each["step"]: each["calls"] for each in found["steps"]} == {
        "recording": 9, "stored": 7, "transcribed": 6, "task": 5, "annotated": 4, "sample": 2, "dataset": 1,
    }  # fmt: skip
    fell = {
        (each["step"], why["reason"], why["waiting"]): why["calls"]
        for each in found["steps"]
        for why in each["fell_out"]
    }
    assert fell == {
        ("recording", "no-conversation", False): 1,
        ("stored", "fetch", True): 1,
        ("stored", "audio-cut", False): 1,
        ("transcribed", "transcribe", True): 1,
        ("task", "good-enough", False): 1,
        ("annotated", "task-open", True): 1,
        ("sample", "skipped", False): 1,
        ("sample", "too-short", False): 1,
        ("dataset", "duplicate", False): 1,
    }
    before = found["calls"]
    for each in found["steps"]:
        assert before == each["calls"] + sum(why["calls"] for why in each["fell_out"]), each
        before = each["calls"]


def test_a_call_whose_audio_is_gone_stays_counted_where_it_got_to(context: Context) -> None:
    made = recording(context, call(context, "old", "expired", reason_code="expired"), state="expired")
    transcribed(context, made)
    count(context)

    steps = {each["step"]: each for each in call_funnel.of(context, FunnelQuery(since=DAY, until=DAY))["steps"]}

    assert steps["transcribed"]["calls"] == 1
    assert [(why["reason"], why["waiting"]) for why in steps["task"]["fell_out"]] == [("expired", False)]


def test_days_are_those_of_the_exotel_time_zone_and_periods_add_up_to_the_whole(context: Context) -> None:
    call(context, "night", "kept", reason_code="x", started_at=datetime(2024, 1, 15, 19, 0, tzinfo=UTC))  # the 16th
    call(context, "noon", "kept", reason_code="x")
    count(context)

    found = call_funnel.of(context, FunnelQuery(since=DAY, until=date(2024, 1, 20), by="day"))

    assert [(each["period"], each["calls"]) for each in found["periods"]] == [("2024-01-16", 1), ("2024-01-15", 1)]
    assert sum(each["calls"] for each in found["periods"]) == found["calls"] == 2
    assert call_funnel.lines(found)[0].startswith("Calls from 2024-01-15 to 2024-01-20")


@pytest.mark.parametrize("at", [None, AT], ids=["today", "long ago"])
def test_a_day_is_counted_again_only_when_it_is_due(context: Context, at: datetime | None) -> None:
    whole = FunnelQuery() if at is None else FunnelQuery(since=DAY, until=DAY)
    call(context, "first", "kept", reason_code="x", started_at=at or tables.now())
    count(context)
    call(context, "second", "kept", reason_code="x", started_at=at or tables.now())

    call_counting.count_calls(JobContext(context.settings, context.db, context.store))
    assert call_funnel.of(context, whole)["calls"] == 1
    count(context)
    assert call_funnel.of(context, whole)["calls"] == 2


def test_before_anything_is_counted_the_report_says_so(context: Context) -> None:
    assert "Nothing was counted yet" in call_funnel.of(context, FunnelQuery())["note"]
    assert "Nothing was counted yet" in data_composition.of(context, CompositionQuery())["note"]


@pytest.mark.parametrize(
    ("given", "code"),
    [({"since": date(2024, 2, 1), "until": DAY}, "days-reversed"), ({"since": date(2001, 1, 1)}, "too-many-days")],
)
def test_days_that_cannot_be_are_refused(context: Context, given: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        call_funnel.of(context, FunnelQuery(**given))
    assert refused.value.code == code


def test_the_composition_names_the_gaps_of_the_annotated_data_in_sentences(context: Context) -> None:
    every_way(context)
    for number in range(6):
        recording(context, call(context, f"mr{number}", "kept", reason_code="x"), language="mr", duration_s=200.0)
    count(context)

    found = data_composition.of(context, CompositionQuery())

    assert found["calls"] == {"calls": 14, "hours": round((8 * 60 + 6 * 200) / 3600, 4), "callers": 16}
    assert found["annotated"] == {"calls": 2, "samples": 2, "hours": round(60 / 3600, 4), "speakers": 2}
    by = {each["dimension"]: {value["value"]: value for value in each["values"]} for each in found["dimensions"]}
    assert by["language"]["Marathi"]["calls_share"] == round(1200 / 1680, 4)
    assert by["language"]["Marathi"]["hours"] == 0
    assert by["language"]["Hindi"]["samples"] == 2
    assert by["snr"]["20-30 dB"]["annotated_calls"] == 2
    assert by["emotion"]["unknown"]["calls"] is None
    assert found["gaps"][0].startswith("Language Marathi: 71 % of the calls (0.33 h of 6 calls), 0 % of the annotated")
    newest = found["datasets"][0]
    assert (newest["version"], newest["samples_changed"]) == (2, {"added": 1, "removed": 1})
    assert newest["left_out"] == {"duplicate": 1}
    assert "left out: 1 duplicate" in newest["said"]
    assert any("Marathi" in line for line in data_composition.lines(found))


def test_a_tag_that_differs_from_call_to_call_does_not_grow_the_counts(context: Context) -> None:
    for number in range(call_days.MOST_VALUES + 20):
        recording(context, call(context, f"c{number}", "kept", reason_code="x"))
        put(
            context, tables.outcomes, call_sid=f"c{number}", kind="call", intent="order_status" if number % 2 else None,
            tags={"order": str(number)},
        )  # fmt: skip
    with context.db.reading() as connection:
        body = call_days.of_day(connection, DAY, zone=ZONE).to_json()
    topics = body["made_of"]["topic"]
    assert len(topics) == call_days.MOST_VALUES + 1
    assert topics["order_status"][0] == 35
    assert sum(each[0] for each in topics.values()) == 35 + call_days.MOST_VALUES + 20


def test_counts_of_one_day_are_what_a_count_of_the_rows_says(context: Context) -> None:
    every_way(context)
    with context.db.reading() as connection:
        found = call_days.of_day(connection, DAY, zone=ZONE)
    assert found.calls == len(context.db.scalars(sa.select(tables.calls.c.id)))
    assert found.with_audio == 8
    assert found.seconds == 8 * 60.0
