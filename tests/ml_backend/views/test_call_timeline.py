"""A call's story: every step with its time, what is next, and every transcription; nothing of audio that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.calls import ledger
from ml_backend.calls.events import CallEvent
from ml_backend.context import Context, open_context
from ml_backend.settings import Settings
from ml_backend.views import call_timeline

KEY, AT = b"a-key-for-tests-only", datetime(2024, 1, 15, 9, 0, tzinfo=UTC)
URL = "https://recordings.exotel.com/exotelrecordings/exampleaccount1/s1.mp3"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url="", object_store="")
    db.upgrade(settings.database)
    opened = open_context(settings)
    yield opened
    opened.db.dispose()


def put(context: Context, table: sa.Table, **values: Any) -> int:
    with context.db.transaction() as connection:
        return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())


def reported(context: Context) -> int:
    event = CallEvent(
        "s1", "status_callback", status="completed", recording_url=URL, talk_seconds=60.0, direction="inbound",
        started_at_utc=AT, ended_at_utc=AT + timedelta(minutes=1),
    )  # fmt: skip
    with context.db.transaction() as connection:
        return int(ledger.record(connection, event, key=KEY).id)


def worked_on(context: Context) -> int:
    """A call that was transcribed twice, drafted, annotated and sampled."""
    call_id = reported(context)
    (recording_id,) = context.db.scalars(sa.select(tables.recordings.c.id))
    context.db.update(tables.recordings, recording_id, state="ready")
    project = put(context, tables.projects, instance_url="u", ls_project_id=5, title="Support")
    at = {name: AT + timedelta(hours=place) for place, name in enumerate(("v1", "v2", "task", "draft", "person"), 1)}
    for version in ("v1", "v2"):
        put(
            context, tables.transcriptions, recording_id=recording_id, created_at=at[version], audio_sha256="a",
            model_version=version, decoding_hash="h", decoding={}, text=f"{HOSTILE} {version}", language="hi",
            transcript={"segments": [{"start_s": 0.0, "end_s": 1.0, "channel": 0, "text": "हाँ", "confidence": 0.5}]},
            confidence=0.5, duration_s=60.0,
        )  # fmt: skip
    task = put(
        context, tables.tasks, project_id=project, recording_id=recording_id, external_key="k", origin="ours",
        ls_task_id=34, state="annotated", selection_reason="audit", created_at=at["task"],
    )  # fmt: skip
    put(
        context, tables.predictions, task_id=task, project_id=project, draft_label="d", model_version="v2",
        config_sha256="c", body="{}", delivered_by="push", delivered_at=at["draft"],
    )  # fmt: skip
    written = put(
        context, tables.annotations, project_id=project, task_id=task, ls_annotation_id=9, ls_updated_at=at["person"],
        annotator=3, result=[], text="हाँ जी", language="hi", edited="edited",
    )  # fmt: skip
    put(
        context, tables.samples, project_id=project, task_id=task, number=0, annotation_id=written, start_s=0, end_s=1,
        recording_id=recording_id, text="हाँ जी", digest="d", state="accepted", accepted_at=at["person"],
    )  # fmt: skip
    return call_id


def test_every_step_is_told_in_order_with_its_time_and_what_it_is_about(context: Context) -> None:
    found = call_timeline.of_call(context.db, worked_on(context))

    told = [(each["at"], each["about"], each["id"]) for each in found["timeline"] if each["at"].startswith("2024")]
    assert told == [
        ("2024-01-15T09:00:00Z", "call", None),
        ("2024-01-15T09:01:00Z", "call", None),
        ("2024-01-15T10:00:00Z", "transcription", 1),
        ("2024-01-15T11:00:00Z", "transcription", 2),
        ("2024-01-15T12:00:00Z", "task", 34),
        ("2024-01-15T13:00:00Z", "task", 34),
        ("2024-01-15T14:00:00Z", "annotation", 9),
        ("2024-01-15T14:00:00Z", "task", 34),
    ]
    times = [each["at"] for each in found["timeline"]]
    assert times == sorted(times)
    said = " ".join(each["what"] for each in found["timeline"])
    for part in (
        "v2 transcribed it: Hindi",
        "a task in Support, selected as audit",
        "Annotator 3 annotated it (edited)",
    ):
        assert part in said


def test_transcripts_of_every_version_are_there_with_their_segments_beside_what_a_person_wrote(
    context: Context,
) -> None:
    found = call_timeline.of_call(context.db, worked_on(context))

    assert [(each["version"], each["text"]) for each in found["transcripts"]] == [
        ("v2", f"{HOSTILE} v2"), ("v1", f"{HOSTILE} v1"),
    ]  # fmt: skip
    assert found["transcripts"][0]["segments"][0]["text"] == "हाँ"
    assert [(each["annotation"], each["text"]) for each in found["references"]] == [(9, "हाँ जी")]


def test_an_open_call_says_what_is_next_and_when_and_a_final_one_nothing(context: Context) -> None:
    call_id = reported(context)
    found = call_timeline.of_call(context.db, call_id)
    assert found["next"]["action"] == "fetch"
    assert found["next"]["at"] is not None
    with context.db.transaction() as connection:
        ledger.move(connection, call_id, "missing", reason_code="recording-lost", reason="It cannot be had.")
    found = call_timeline.of_call(context.db, call_id)
    assert found["next"] is None
    assert found["timeline"][-1]["what"] == "Its state is missing: It cannot be had."


@pytest.mark.parametrize("state", ["erased", "expired"])
def test_of_audio_that_is_gone_no_text_of_a_model_is_shown(context: Context, state: str) -> None:
    call_id = worked_on(context)
    context.db.update(tables.recordings, 1, state=state)
    found = call_timeline.of_call(context.db, call_id)
    assert found["transcripts"] == []
    assert bool(found["references"]) == (state == "expired")  # expiry removes audio, never what people wrote
