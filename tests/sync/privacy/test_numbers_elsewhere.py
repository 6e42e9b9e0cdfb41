"""A phone number in an address, a file's name or a call's id goes with the work that needs it, and with its person."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.calls import ledger, phone_numbers, pseudonyms, tombstones
from ml_backend.calls.events import CallEvent
from ml_backend.jobs import job_kinds, schedules
from sync.exotel import callbacks
from sync.objects import object_rows as objectrows
from sync.privacy import erasure, hidden_names, raw_events
from sync.privacy.subjects import subject_of
from tests.ml_backend.conftest import database_url, postgres_server, postgres_url  # noqa: F401 - both kinds of database
from tests.sync.persons import ANNA, BERT, COMPANY, People

SID = f"CA-{ANNA}-7"
DASHED, SPACED = f"{ANNA[:6]}-{ANNA[6:]}", "00 00 00 00 10 1"
ADDRESS = f"https://recordings.exotel.com/exotelrecordings/a/{ANNA}/rec%20{DASHED}.mp3"


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    world = People(tmp_path)
    yield world
    world.context.db.dispose()


@pytest.fixture
def older(tmp_path: Path, database_url: str) -> Iterator[People]:  # noqa: F811 - the fixture imported above
    """On SQLite and on PostgreSQL."""
    world = People(tmp_path, database_url=database_url)
    yield world
    world.context.db.dispose()


def arrived(people: People, sid: str = SID, number: str = ANNA, *, age_days: int = 2, **more: str) -> int:
    """A callback with the number wherever a provider can put it, read; gives the event's id."""
    began = tables.now() - timedelta(days=age_days)
    sent = {
        "CallSid": sid, "From": f"+91 {number}", "To": COMPANY, "PhoneNumberSid": COMPANY, "Status": "completed",
        "Direction": "inbound", "StartTime": f"{began + timedelta(hours=5, minutes=30):%Y-%m-%d %H:%M:%S}",
        "RecordingUrl": ADDRESS, "CustomField": f"ring back {SPACED}", **more,
    }  # fmt: skip
    values = {
        "source": "exotel", "method": "POST", "content_type": "application/json", "body": json.dumps(sent).encode(),
        "digest": "d", "once_key": hashlib.sha256(json.dumps(sent).encode()).hexdigest(), "call_sid": sid,
        "created_at": began,
    }  # fmt: skip
    with people.context.db.transaction() as connection:
        event = tables.events
        event_id = int(connection.execute(sa.insert(event).values(**values).returning(event.c.id)).scalar_one())
    callbacks.read_call_event(people.context, event_id)
    return event_id


def ready(people: People, *, key: str) -> None:
    """Its recording was fetched, under this key, seen by a scan, and worked on."""
    with people.context.db.transaction() as connection:
        row = connection.execute(sa.select(tables.recordings).where(tables.recordings.c.source == "exotel")).one()
        values = {
            "state": "ready", "bucket": "call-recordings", "object_key": key, "sha256": "e" * 64,
            "quality": {"earlier": [{"bucket": "call-recordings", "key": f"{key}.1", "sha256": "f" * 64}]},
        }  # fmt: skip
        connection.execute(sa.update(tables.recordings).where(tables.recordings.c.id == row.id).values(**values))
        seen = {"bucket": "call-recordings", "object_key": key, "name": SID, "etag": "x", "size_bytes": 5,
                "recording_id": row.id, "state": "taken"}  # fmt: skip
        connection.execute(sa.insert(tables.objects).values(**seen))
        ledger.recording_moved(connection, row.id)
    people.context.store.put_bytes("call-recordings", key, b"sound")


def digits_of(text: str) -> str:
    """Everything between digits taken out: a number is found in whatever form it is written."""
    return re.sub(r"[\s().\-_+/]|%20|%2B", "", text)


def test_an_address_keeps_its_number_until_the_recording_is_in_and_not_longer(people: People) -> None:
    arrived(people, "plain")
    [call] = people.rows(tables.calls)
    [recording] = people.rows(tables.recordings)
    assert ledger.url_of(call, recording) == ADDRESS, "it has to be fetched from there"
    assert SPACED not in call.custom_field
    ready(people, key="recordings/2026/11/20/x.mp3")
    [call] = people.rows(tables.calls)
    assert ANNA not in digits_of(f"{call.recording_url} {call.merged} {call.custom_field}")
    assert call.recording_url.startswith("https://recordings.exotel.com/exotelrecordings/a/***")
    assert ledger.url_of(call, recording) is None, "an address without its number leads nowhere"


def test_a_repeated_message_brings_neither_the_number_nor_a_second_recording(people: People) -> None:
    arrived(people, "plain")
    ready(people, key="recordings/2026/11/20/x.mp3")
    arrived(people, "plain", CustomField="again")
    [call] = people.rows(tables.calls)
    assert ANNA not in digits_of(f"{call.recording_url} {call.merged}")
    assert [row.state for row in people.rows(tables.recordings)] == ["ready"]


@pytest.mark.parametrize("whom", ["caller", "call"])
def test_no_form_of_the_number_survives_an_erasure_in_any_table(people: People, whom: str) -> None:
    arrived(people)
    ready(people, key=f"recordings/2026/11/20/{DASHED}.mp3")
    broken = {"source": "exotel", "method": "POST", "digest": "d", "state": "unreadable"}
    unread = [(f"From=%2B91{ANNA}&x".encode(), ""), (f'{{"From": "{DASHED}'.encode(), ""), (b"", f"CallFrom={SPACED}")]
    if whom == "caller":
        with people.context.db.transaction() as connection:
            for body, query in unread:
                connection.execute(sa.insert(tables.events).values(**broken, body=body, query=query))
    assert ANNA in digits_of(people.everything())
    subject = subject_of(people.context.settings, **{whom: ANNA if whom == "caller" else SID})
    erasure.erase(people.context, subject, who="tester", busy_s=0)
    left = digits_of(people.everything())
    assert ANNA not in left
    assert ANNA[1:] not in left


def test_what_is_erased_stays_out_although_its_names_are_hashed(people: People) -> None:
    """The doors hash the name they are asked about."""
    arrived(people)
    key = f"recordings/2026/11/20/{DASHED}.mp3"
    ready(people, key=key)
    erasure.erase(people.context, subject_of(people.context.settings, call=SID), who="tester", busy_s=0)
    event = arrived(people, CustomField="late")
    assert ANNA not in digits_of(people.everything())
    assert people.rows(tables.events, id=event)[0].state == "erased"
    assert [row.state for row in people.rows(tables.calls)] == ["erased"]
    with people.context.db.transaction() as connection:
        place = f"s3://call-recordings/{key}"
        assert tombstones.why_erased(connection, place, key=people.key) == "erased"
        assert tombstones.why_erased(connection, place, key=b"another key") is None
        said = CallEvent(SID, "listing", status="completed", from_=ANNA, to=COMPANY, recording_url=ADDRESS)
        assert ledger.record(connection, said, key=people.key).state == "erased"
    people.context.store.put_bytes("call-recordings", key, b"put back")
    [back] = [info for info in people.context.store.list("call-recordings") if info.key == key]
    counts = objectrows.appeared(people.context, "call-recordings", [back])
    assert not [row for row in people.rows(tables.recordings) if row.state != "erased"]
    assert sum(counts.values()) == 1


def test_a_callers_next_unseen_old_call_leaves_no_number_either(people: People) -> None:
    arrived(people)
    erasure.erase(people.context, subject_of(people.context.settings, caller=ANNA), who="tester", busy_s=0)
    arrived(people, sid=f"CB-{ANNA}-8", age_days=9)
    assert ANNA not in digits_of(people.everything())
    arrived(people, sid=f"CB-{ANNA}-8", age_days=9, CustomField="again")
    assert ANNA not in digits_of(people.everything())


# --- raw events


def test_raw_events_lose_their_content_after_the_period_and_keep_what_the_ledger_needs(people: People) -> None:
    old = [arrived(people, f"old{number}", BERT, age_days=91, CustomField=str(number)) for number in range(60)]
    ours = {"source": "label-studio", "method": "POST", "body": b"what somebody wrote", "digest": "d", "state": "read"}
    with people.context.db.transaction() as connection:
        long_ago = tables.now() - timedelta(days=200)
        connection.execute(sa.insert(tables.events).values(**ours, created_at=long_ago))
    young = arrived(people, "young", BERT, age_days=89)
    before = [(row.id, row.call_sid, row.state, row.copies, row.once_key) for row in people.rows(tables.events)]
    raw_events.reduce_events(people.context)
    after = people.rows(tables.events)
    assert [(row.id, row.call_sid, row.state, row.copies, row.once_key) for row in after] == before
    assert {row.id for row in after if row.body or row.query} == {young}
    assert len(old) == len(after) - 2
    people.context.db.update(tables.events, young, created_at=tables.now() - timedelta(days=91))
    raw_events.reduce_events(people.context)
    assert not any(row.body for row in people.rows(tables.events))


def test_an_event_that_is_read_after_its_period_is_reduced_as_it_is_read(people: People) -> None:
    event = arrived(people, "late", BERT, age_days=100)
    [row] = people.rows(tables.events, id=event)
    assert (row.state, row.body, row.query) == ("read", b"", None)
    assert people.rows(tables.calls, call_sid="late")[0].from_pseudonym


def test_events_nobody_has_read_yet_are_kept_whole(people: People) -> None:
    values = {"source": "exotel", "method": "POST", "body": b"not read yet", "digest": "d"}
    with people.context.db.transaction() as connection:
        connection.execute(sa.insert(tables.events).values(**values, created_at=tables.now() - timedelta(days=100)))
    raw_events.reduce_events(people.context)
    assert [row.body for row in people.rows(tables.events)] == [b"not read yet"]


def test_an_erasure_reads_only_events_that_still_have_content(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every event there ever was."""
    people.call("anna1", ANNA, began=tables.now() - timedelta(days=100))
    aged = {"created_at": tables.now() - timedelta(days=100)}
    with people.context.db.transaction() as connection:
        connection.execute(sa.update(tables.events).values(**aged))
    raw_events.reduce_events(people.context)
    looked_at = []
    monkeypatch.setattr(raw_events, "_names", lambda body, *_: looked_at.append(body))
    monkeypatch.setattr(raw_events, "_says", lambda row, *_: looked_at.append(row))
    erasure.erase(people.context, subject_of(people.context.settings, caller=ANNA), who="tester", busy_s=0)
    assert looked_at == []


def test_the_schedule_reduces_events_once_a_day(people: People) -> None:
    ours = [each for each in schedules.SCHEDULES if each.kind is job_kinds.REDUCE_EVENTS]
    assert len(schedules.make_due(people.context.db, *ours)) == 1
    assert schedules.make_due(people.context.db, *ours) == []


def as_an_older_release_wrote(people: People) -> dict[str, int]:
    """More calls than a transaction takes whose recording is in; one to be fetched still, one erased."""
    began = tables.now() - timedelta(days=9)
    call = {"provider": "exotel", "state": "tasked", "started_at": began, "custom_field": f"ring back {SPACED}",
            "recording_url": ADDRESS, "merged": {"urls": {"a": [1, ADDRESS]}}}  # fmt: skip
    heard = {"source": "exotel", "state": "ready", "bucket": "call-recordings"}
    gone = {"state": "erased", "reason_code": "erased", "recording_url": None, "merged": {}, "custom_field": None}
    made = {}
    with people.context.db.transaction() as connection:

        def put(table: sa.Table, **values: object) -> int:
            return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())

        for n in range(hidden_names.BATCH + 5):
            made["in"] = put(tables.calls, **call, call_sid=f"sid-{n}")
            put(tables.recordings, **heard, call_id=made["in"], source_identity=f"exotel:{n}")
        made["waits"] = put(tables.calls, **{**call, "state": "to-fetch", "next_action": "fetch"}, call_sid="waits")
        put(tables.recordings, **{**heard, "state": "found"}, call_id=made["waits"], source_identity="exotel:waits")
        made["erased"] = put(tables.calls, **{**call, **gone}, call_sid=SID)
        names = {"source_identity": f"exotel:{SID}", "call_sid": SID, "object_key": f"recordings/{ANNA}.wav"}
        put(tables.recordings, **{**heard, "state": "erased"}, **names, call_id=made["erased"])
        put(tables.tombstones, kind="call", identity=SID, why="erased", created_at=began)
    return made


def test_numbers_that_an_older_release_left_in_its_rows_go_once_at_the_first_night(older: People) -> None:
    made = as_an_older_release_wrote(older)
    raw_events.reduce_events(older.context)

    said = {row.id: digits_of(f"{row.call_sid} {row.recording_url} {row.merged} {row.custom_field}")
            for row in older.rows(tables.calls)}  # fmt: skip
    waits = older.context.db.row(tables.calls, made["waits"])
    assert waits.recording_url == ADDRESS, "it has to be fetched from there"
    assert SPACED not in waits.custom_field
    assert [row_id for row_id, text in said.items() if ANNA in text] == [made["waits"]]
    assert older.context.db.row(tables.calls, made["in"]).recording_url.startswith("https://recordings.exotel.com/")
    rest = [*older.rows(tables.recordings), *older.rows(tables.tombstones)]
    assert not [row for row in rest if ANNA in digits_of(str(row))]
    key = pseudonyms.key_of(older.context.settings)
    with older.context.db.reading() as connection:
        assert tombstones.why_erased(connection, SID, key=key) == "erased", "what was erased is known again"

    late = {"custom_field": f"ring back {SPACED}"}
    older.context.db.update(tables.calls, made["in"], **late)
    raw_events.reduce_events(older.context)
    assert older.context.db.row(tables.calls, made["in"]).custom_field == late["custom_field"], "it is done once"


def test_a_call_that_an_older_release_took_in_again_is_hidden_beside_its_hash(older: People) -> None:
    """An older release, served again for a while, does not know the hash, and makes a second row for the call."""
    key = pseudonyms.key_of(older.context.settings)
    hashed = {name: phone_numbers.hidden(name, key) for name in (SID, f"exotel:{SID}")}
    with older.context.db.transaction() as connection:
        for sid, identity in (hashed.values(), hashed):
            row = {"provider": "exotel", "call_sid": sid, "state": "erased", "reason_code": "erased"}
            made = sa.insert(tables.calls).values(**row).returning(tables.calls.c.id)
            own = {"call_id": connection.execute(made).scalar_one(), "call_sid": sid, "source_identity": identity}
            connection.execute(sa.insert(tables.recordings).values(source="exotel", state="erased", **own))
            connection.execute(sa.insert(tables.tombstones).values(kind="call", identity=sid, why="erased"))
    raw_events.reduce_events(older.context)
    _hidden_beside(older, hashed)


def test_an_erasure_of_a_call_whose_hash_is_taken_ends_well(older: People) -> None:
    arrived(older)
    ready(older, key=f"recordings/2026/11/20/{DASHED}.mp3")
    key = pseudonyms.key_of(older.context.settings)
    hashed = {name: phone_numbers.hidden(name, key) for name in (SID, older.rows(tables.recordings)[0].source_identity)}
    sid, identity = hashed.values()
    with older.context.db.transaction() as connection:
        row = {"provider": "exotel", "call_sid": sid, "state": "erased", "reason_code": "erased"}
        connection.execute(sa.insert(tables.calls).values(**row))
        own = {"source": "exotel", "state": "erased", "source_identity": identity}
        connection.execute(sa.insert(tables.recordings).values(**own))
    for _ in range(2):
        erasure.erase(older.context, subject_of(older.context.settings, call=SID), who="tester", busy_s=0)
    _hidden_beside(older, hashed)


def _hidden_beside(older: People, hashed: dict[str, str]) -> None:
    """The second row has the hash too, with its own id behind it; it is not hashed once more."""
    sid, identity = hashed.values()
    for table, column, name in ((tables.calls, "call_sid", sid), (tables.recordings, "source_identity", identity)):
        rows = older.rows(table)
        ids = [row.id for row in rows if getattr(row, column) != name]
        assert len(rows) == len(ids) + 1
        assert sorted(getattr(row, column) for row in rows) == sorted([name, *(f"{name}:{each}" for each in ids)])
        assert not [row for row in rows if ANNA in digits_of(str(row))]
    assert not [row for row in older.rows(tables.tombstones) if ANNA in digits_of(str(row))]
