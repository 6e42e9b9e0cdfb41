"""Whatever a person has in hand leads to the call, and the call says in words why it is or is not a task."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.calls import ledger
from ml_backend.calls.events import CallEvent
from ml_backend.calls.pseudonyms import pseudonym
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput
from ml_backend.settings import Settings
from ml_backend.views import call_views as calls
from ml_backend.views import ledger_balance

KEY = b"a-key-for-tests-only"
FROM, TO = "00000000101", "00000000202"
AT = datetime(2024, 1, 15, 9, 0, tzinfo=UTC)
INDIA = "Asia/Kolkata"
URL = "https://recordings.exotel.com/exotelrecordings/exampleaccount1/s1.mp3"
EVENT = CallEvent(
    "s1", "status_callback", status="completed", recording_url=URL, from_=FROM, to=TO, talk_seconds=60.0,
    direction="inbound", started_at_utc=AT, custom_field="order-1",
)  # fmt: skip


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "kaan.db"
    db.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def context(tmp_path: Path, empty: Path) -> Iterator[Context]:
    (tmp_path / "kaan.db").write_bytes(empty.read_bytes())
    opened = open_context(Settings(_env_file=None, data_dir=tmp_path, database_url="", object_store=""))
    yield opened
    opened.db.dispose()


def record(context: Context, *events: CallEvent) -> int:
    with context.db.transaction() as connection:
        return [int(ledger.record(connection, event, key=KEY).id) for event in events][-1]


def put(context: Context, table: sa.Table, **values: Any) -> int:
    with context.db.transaction() as connection:
        return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())


def change(context: Context, table: sa.Table, **values: Any) -> None:
    with context.db.transaction() as connection:
        connection.execute(sa.update(table).values(**values))


def follow(context: Context, recording_id: int = 1) -> None:
    with context.db.transaction() as connection:
        ledger.recording_moved(connection, recording_id)


def tasked(context: Context) -> int:
    """A call whose recording is task 34 of Label Studio's project 5."""
    call_id = record(context, EVENT)
    change(
        context, tables.recordings, state="ready", bucket="call-recordings", object_key="recordings/2024/01/15/s1.mp3"
    )
    project_id = put(
        context, tables.projects, instance_url="http://ls.example", ls_project_id=5, title="Support", state="attached"
    )
    put(
        context, tables.tasks, project_id=project_id, recording_id=1, external_key="k", origin="ours", ls_task_id=34,
        state="open", selection_reason="audit", selection_probability=0.05, blind=True,
    )  # fmt: skip
    follow(context)
    return call_id


@pytest.mark.parametrize(
    "what",
    ["s1", "call:s1", "recording:1", "exotel:s1:s1.mp3", "recording:exotel:s1:s1.mp3", "34", "task:34",
     "http://ls.example/projects/5/data?task=34", "task:http://ls.example/tasks/34",
     "s3://call-recordings/recordings/2024/01/15/s1.mp3", "object:call-recordings/recordings/2024/01/15/s1.mp3",
     "call-recordings/recordings/2024/01/15/s1.mp3", "s1.wav", "voice/s1.mp3", FROM, "+91" + FROM[1:], "0000 000 101",
     f"number:{TO}", pseudonym(FROM, KEY), " s1 "],
)  # fmt: skip
def test_whatever_a_person_has_in_hand_leads_to_the_call(context: Context, what: str) -> None:
    if what == "0000 000 101":
        what = f"{FROM[:5]} {FROM[5:]}"
    call_id = tasked(context)
    record(context, CallEvent("other", "listing", status="busy", from_="00000000303", to="00000000404"))
    assert calls.resolve(context.db, what, key=KEY) == [call_id]


def test_the_short_id_that_a_task_shows_leads_to_its_call_and_only_a_long_random_id_has_one(context: Context) -> None:
    sid = "4f6c2a9be0d14c7f8a554f6c2a9be0d1"
    found = record(context, replace(EVENT, call_sid=sid))
    record(context, replace(EVENT, call_sid="4f6c2a9b-2"))
    for what in ("4f6c2a9b", "call:4f6c2a9b", sid):
        assert calls.resolve(context.db, what, key=KEY) == [found]
    with pytest.raises(InvalidInput):
        calls.resolve(context.db, "4f6c2a9", key=KEY)


@pytest.mark.parametrize(
    "what", ["", "nope", "call:nope", "recording:99", "task:x", "number:00000000999", "object:a/b", "s3://", "number:",
             "*", "' OR 1=1", "%", "x" * 5000, "http://[", "00000000034", "masked-01", "\x00"]
)  # fmt: skip
def test_what_leads_to_no_call_is_a_plain_404(context: Context, what: str) -> None:
    tasked(context)
    with pytest.raises(InvalidInput) as refused:
        calls.resolve(context.db, what, key=KEY)
    assert (refused.value.code, refused.value.status) == ("no-such-call", 404)


def test_a_copy_under_another_name_leads_to_the_call(context: Context) -> None:
    call_id = tasked(context)
    where = {"bucket": "voice-audio", "object_key": "old/copy.wav", "name": "copy"}
    with context.db.transaction() as connection:
        known = {**where, "etag": "x", "size_bytes": 1, "recording_id": 1, "state": "joined"}
        connection.execute(sa.insert(tables.objects).values(**known))
    assert calls.resolve(context.db, "s3://voice-audio/old/copy.wav", key=KEY) == [call_id]


def test_a_number_leads_to_all_calls_of_that_person_newest_first(context: Context) -> None:
    ids = [record(context, replace(EVENT, call_sid=f"c{i}", from_=FROM if i else TO, to=TO)) for i in range(3)]
    assert calls.resolve(context.db, "+910000000202", key=KEY) == ids[::-1]


def test_a_call_is_told_under_the_names_of_its_messages(context: Context) -> None:
    call = calls.show(context.db, tasked(context))
    assert {name: call[name] for name in ("call_sid", "source", "status", "recording_url", "direction", "talk_seconds",
                                          "started_at_utc", "ended_at_utc", "custom_field", "wants_download",
                                          "wants_details_poll", "from", "to")} == {
        "call_sid": "s1", "source": "status_callback", "status": "completed", "recording_url": URL,
        "direction": "inbound", "talk_seconds": 60.0, "started_at_utc": "2024-01-15T09:00:00Z", "ended_at_utc": None,
        "custom_field": "order-1", "wants_download": True, "wants_details_poll": False,
        "from": pseudonym(FROM, KEY), "to": pseudonym(TO, KEY),
    }  # fmt: skip
    assert call["tasks"][0]["url"] == "http://ls.example/projects/5/data?task=34"
    assert call["recordings"][0]["object_key"] == "recordings/2024/01/15/s1.mp3"
    assert FROM not in json.dumps(call)
    assert TO not in json.dumps(call)


def words(context: Context, call_id: int) -> str:
    return " ".join(calls.show(context.db, call_id)["explanation"])


def test_a_task_says_which_and_why(context: Context) -> None:
    said = words(context, tasked(context))
    assert said.startswith("It became work for annotators. Task 34 in project 'Support': open, selected as audit")
    assert "probability 0.05" in said
    assert "without a draft" in said


@pytest.mark.parametrize(
    ("event", "start", "more"),
    [
        (EVENT, "It is not a task yet. Its recording is still to be fetched.", "It is to be fetched from"),
        (replace(EVENT, recording_url=None), "It is not a task yet. No recording of it is known", "try 6 of 6"),
        (replace(EVENT, recording_url=None, started_at_utc=None), "It is not a task yet.", "try 1 of 6"),
        (replace(EVENT, recording_url=None, status="in-progress"), "It is not a task yet.", "If nothing is reported"),
        (replace(EVENT, recording_url=None, status="busy"), "It is not a task. It has no recording.", "ended as busy"),
    ],
)
def test_a_call_that_is_no_task_says_why(context: Context, event: CallEvent, start: str, more: str) -> None:
    said = words(context, record(context, event))
    assert said.startswith(start)
    assert more in said
    assert "listing has not shown it" in said


@pytest.mark.parametrize("state", ["kept", "refused", "missing", "erased", "expired", "no-recording"])
def test_an_ended_call_gives_its_reason(context: Context, state: str) -> None:
    call_id = record(context, replace(EVENT, recording_url=None))
    with context.db.transaction() as connection:
        ledger.move(connection, call_id, state, reason_code="because", reason="The moon was full.")
    said = words(context, call_id)
    assert said.startswith("It is not a task.")
    assert "The moon was full." in said


def test_the_trouble_of_its_job_is_told_with_what_to_do(context: Context) -> None:
    call_id = record(context, EVENT)
    put(
        context, tables.jobs, name="ingest-recording", queue="sync", arguments={}, unique_key="ingest-recording:1",
        priority=1, state="failed", error_code="disk-full", error="Only 3 MB are free.", next_step="Free some space.",
    )  # fmt: skip
    assert "(ingest-recording) ended badly: Only 3 MB are free. Free some space." in words(context, call_id)


# --- the balance of a day


def test_what_is_listed_is_stored_or_explained(context: Context) -> None:
    listed = replace(EVENT, source="listing", from_=None, to=None)
    record(context, listed)
    change(context, tables.recordings, state="ready")
    follow(context)
    record(context, replace(listed, call_sid="s2", recording_url=None, status="busy"))
    record(context, replace(listed, call_sid="s3", recording_url=None))
    record(context, replace(EVENT, call_sid="s4"))  # called back, not listed
    day = ledger_balance.of_day(context.db, date(2024, 1, 15), zone=INDIA)
    assert (day.reported, day.listed, day.stored, day.explained) == (4, 3, 1, 2)
    assert day.balanced
    assert day.unexplained == ()
    assert day.reasons == {"no-conversation": 1, "recording-not-named": 1, "fetch": 1}


def test_a_call_that_nothing_explains_makes_the_day_uneven(context: Context) -> None:
    record(context, replace(EVENT, source="listing", recording_url=None))
    change(context, tables.calls, due_at=None)
    day = ledger_balance.of_day(context.db, date(2024, 1, 15), zone=INDIA)
    assert (day.listed, day.stored, day.explained, day.balanced) == (1, 0, 0, False)
    assert day.unexplained == ("s1",)


def test_a_day_is_the_providers_day(context: Context) -> None:
    edge = datetime(2024, 1, 14, 18, 30, tzinfo=UTC)  # midnight in India
    record(
        context,
        replace(EVENT, started_at_utc=edge),
        replace(EVENT, call_sid="s2", started_at_utc=edge - timedelta(seconds=1)),
    )
    days = ledger_balance.of_days(context.db, days=3, zone=INDIA, last=date(2024, 1, 16))
    assert [(day.day, day.reported) for day in days] == [("2024-01-16", 0), ("2024-01-15", 1), ("2024-01-14", 1)]


def test_a_call_without_a_time_belongs_to_the_day_it_was_reported(context: Context) -> None:
    record(context, replace(EVENT, started_at_utc=None))
    assert ledger_balance.of_days(context.db, days=1, zone="UTC")[0].reported == 1


def test_calls_are_found_by_state_person_and_time(context: Context) -> None:
    record(context, EVENT, replace(EVENT, call_sid="s2", recording_url=None, status="busy", from_=TO, to=None))

    def sids(**chosen: Any) -> list[str]:
        return [call["call_sid"] for call in calls.find(context.db, calls.CallQuery(**chosen))]

    assert sids() == ["s2", "s1"]
    assert sids(state=("to-fetch",)) == ["s1"]
    assert sids(reason_code=("no-conversation",)) == ["s2"]
    assert sids(source=("listing",)) == []
    assert sids(person=pseudonym(FROM, KEY)) == ["s1"]
    assert sids(person=pseudonym(TO, KEY)) == ["s2", "s1"]
    assert sids(since=AT, until=AT + timedelta(seconds=1)) == ["s2", "s1"]
    assert sids(until=AT) == []
    assert sids(limit=1) == ["s2"]
    assert sids(before=2) == ["s1"]
    assert calls.counts(context.db) == {"to-fetch": 1, "no-recording": 1}
