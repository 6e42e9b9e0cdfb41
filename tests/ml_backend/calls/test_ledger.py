"""One call, one row: whatever the order and repetition of messages; always a reason or a next action that is due."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.calls import ledger
from ml_backend.calls import states as callstates
from ml_backend.calls.events import CallEvent
from ml_backend.calls.pseudonyms import pseudonym
from ml_backend.calls.states import ENDED, FINAL, LADDER, OPEN, STATES
from ml_backend.context import Context
from ml_backend.tables import calls, recordings, tombstones
from tests import ledger_rules

KEY = b"a-key-for-tests-only"
FROM, TO, COMPANY = "00000000101", "00000000202", "0800" + "0" * 7
URL = "https://recordings.exotel.com/exotelrecordings/exampleaccount1/s1.mp3"
OLD_URL = "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/exampleaccount1/s1.mp3"
AT = datetime(2024, 1, 15, 9, 0, tzinfo=UTC)

ANSWERED = CallEvent("s1", "status_callback", status="in-progress", from_=FROM, to=TO, started_at_utc=AT)
TERMINAL = CallEvent(
    "s1", "status_callback", status="completed", recording_url=URL, from_=FROM, to=TO, talk_seconds=320.0,
    direction="outbound", started_at_utc=AT, ended_at_utc=AT + timedelta(minutes=6), custom_field=f"order 7 {FROM}",
    company_number=COMPANY,
)  # fmt: skip
PASSTHRU = CallEvent(
    "s1", "passthru", status="completed", recording_url=OLD_URL, from_="+91" + FROM[1:], to="XXXXXX0202",
    talk_seconds=335.0, started_at_utc=AT + timedelta(seconds=2),
)  # fmt: skip
RETRY = CallEvent("s1", "status_callback", status="completed")  # the same again with an empty RecordingUrl
LISTED = CallEvent("s1", "listing", status="completed", from_=FROM, to=TO, ended_at_utc=AT + timedelta(minutes=7))
FIVE = (ANSWERED, TERMINAL, PASSTHRU, RETRY, LISTED)
WHEN = ("id", "created_at", "updated_at", "due_at", "listed_at")  # what may differ between two orders


@cache
def engine() -> sa.Engine:
    made = sa.create_engine("sqlite://")
    tables.metadata.create_all(made)
    return made


@contextmanager
def fresh() -> Iterator[Connection]:
    """An empty database in memory, in a transaction that leaves nothing behind."""
    with engine().connect() as connection:
        transaction = connection.begin()
        try:
            yield connection
        finally:
            transaction.rollback()


@pytest.fixture
def connection() -> Iterator[Connection]:
    with fresh() as opened:
        yield opened


def record(connection: Connection, *events: CallEvent) -> sa.Row[Any]:
    for event in events:
        row = ledger.record(connection, event, key=KEY)
        assert ledger_rules.violations(connection) == []
    return row


def told(row: sa.Row[Any]) -> dict[str, Any]:
    return {name: value for name, value in row._asdict().items() if name not in WHEN}


def rows(connection: Connection, table: sa.Table) -> list[Any]:
    return list(connection.execute(sa.select(table)).all())


def put(connection: Connection, table: sa.Table, **values: Any) -> int:
    return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())


def change(connection: Connection, **values: Any) -> None:
    """Change the one recording and let its call follow."""
    connection.execute(sa.update(recordings).values(**values))
    ledger.recording_moved(connection, rows(connection, recordings)[0].id)


# --- merging


def test_all_120_orders_of_the_five_kinds_of_message_give_the_same_row() -> None:
    found = set()
    for order in itertools.permutations(FIVE):
        with fresh() as connection:
            row = record(connection, *order)
            (recording,) = rows(connection, recordings)
            found.add(repr((told(row), recording.source_identity, recording.state, recording.call_duration_s)))
    assert len(found) == 1


def test_the_row_says_the_most_that_was_ever_said(connection: Connection) -> None:
    row = record(connection, *FIVE)
    assert (row.status, row.recording_url, row.direction) == ("completed", URL, "outbound")
    assert (row.talk_seconds, row.started_at) == (320.0, AT)
    assert row.ended_at == AT + timedelta(minutes=7)  # the provider's own list knows best
    assert row.from_pseudonym == pseudonym(FROM, KEY)
    assert row.to_pseudonym == pseudonym(TO, KEY)  # not the masked one
    assert row.company_number == pseudonym(COMPANY, KEY)
    assert row.custom_field == "order 7 ***01"
    assert row.seen_by == ["listing", "passthru", "status_callback"]
    assert row.source == "status_callback"
    assert row.listed_at is not None


@pytest.mark.parametrize("event", FIVE, ids=lambda event: f"{event.source}-{event.status}")
def test_repetition_changes_nothing(connection: Connection, event: CallEvent) -> None:
    once = record(connection, *FIVE)
    waiting = len(rows(connection, tables.jobs))
    again = record(connection, event, event)
    assert told(again) == told(once)
    assert again.due_at == once.due_at
    assert len(rows(connection, calls)) == len(rows(connection, recordings)) == 1
    assert len(rows(connection, tables.jobs)) == waiting


def test_an_empty_field_never_wipes_a_filled_one(connection: Connection) -> None:
    before = told(record(connection, TERMINAL))
    for source in ("details", "listing", "status_callback", "passthru", "agent_event"):
        record(connection, CallEvent("s1", source))
    after = told(record(connection, CallEvent("s1", "details")))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"seen_by"}


def test_a_call_nobody_called_back_about_is_marked_listing(connection: Connection) -> None:
    assert record(connection, LISTED).source == "listing"


def test_no_number_is_anywhere_but_in_the_raw_events(connection: Connection) -> None:
    record(connection, *FIVE)
    for table in tables.metadata.sorted_tables:
        text = repr(rows(connection, table))
        for number in (FROM, TO, COMPANY):
            assert number not in text, table.name
            assert f"+91{number[1:]}" not in text, table.name


def test_a_time_in_the_future_is_not_believed_and_flagged(connection: Connection) -> None:
    row = record(connection, replace(TERMINAL, started_at_utc=datetime(2099, 1, 1, tzinfo=UTC)))
    assert row.started_at is None
    assert row.merged["odd"] == ["started_at-in-the-future"]
    assert record(connection, ANSWERED).started_at == AT


def test_two_recordings_of_one_call_are_two_rows_each_with_its_address(connection: Connection) -> None:
    second = URL.replace("s1.mp3", "s1_2.mp3")
    row = record(connection, TERMINAL, replace(RETRY, recording_url=second))
    found = {each.source_identity: ledger.url_of(row, each) for each in rows(connection, recordings)}
    assert found == {"exotel:s1:s1.mp3": URL, "exotel:s1:s1_2.mp3": second}


def test_a_company_number_is_remembered_and_its_consent_is_the_calls(connection: Connection) -> None:
    record(connection, TERMINAL)
    (company,) = rows(connection, tables.company_numbers)
    connection.execute(sa.update(tables.company_numbers).values(consent_purpose="training"))
    row = record(connection, replace(TERMINAL, call_sid="s2", recording_url=None))
    assert (row.company_number, row.consent_purpose) == (company.pseudonym, "training")
    assert len(rows(connection, tables.company_numbers)) == 1


# --- what follows


@pytest.mark.parametrize(
    ("event", "state", "action"),
    [
        (TERMINAL, "to-fetch", "fetch"),
        (RETRY, "expected", "look-up"),
        (ANSWERED, "expected", "wait"),
        (CallEvent("s1", "agent_event"), "expected", "wait"),
        (CallEvent("s1", "passthru", status="call-attempt"), "expected", "wait"),
        (CallEvent("s1", "passthru", status="client-hangup"), "expected", "look-up"),
        (CallEvent("s1", "listing", status="some-new-word"), "expected", "wait"),
        (CallEvent("s1", "status_callback", status="no-answer"), "no-recording", None),
        (CallEvent("s1", "status_callback", status="busy"), "no-recording", None),
        (CallEvent("s1", "listing", status="canceled"), "no-recording", None),
        (CallEvent("s1", "status_callback", status="failed", recording_url=URL), "to-fetch", "fetch"),
    ],
)
def test_a_first_message_leads_to_a_state(
    connection: Connection, event: CallEvent, state: str, action: str | None
) -> None:
    row = record(connection, event)
    assert (row.state, row.next_action) == (state, action)
    assert (row.due_at is None) == (action is None)


def test_a_held_call_is_looked_up_on_the_ladder_and_then_the_caller_decides(connection: Connection) -> None:
    row = record(connection, RETRY)
    assert timedelta(minutes=1) < row.due_at - tables.now() <= LADDER[0]
    for rung in LADDER[1:]:
        assert ledger.look_up_later(connection, row.id, reason_code="recording-not-named", reason="Not yet.")
        row = record(connection, RETRY)  # its repetition does not send it back down
        assert abs(row.due_at - tables.now() - rung) < timedelta(seconds=5)
    assert not ledger.look_up_later(connection, row.id, reason_code="recording-not-named", reason="Not yet.")


def test_a_call_of_long_ago_is_looked_up_once_and_now(connection: Connection) -> None:
    row = record(connection, replace(LISTED, from_=None))
    assert row.due_at <= tables.now()
    assert not ledger.look_up_later(connection, row.id, reason_code="recording-not-named", reason="Not yet.")


def test_a_call_that_turns_out_to_be_of_long_ago_is_looked_up_now(connection: Connection) -> None:
    found = [told(record(connection, replace(e, call_sid="s9")))["tries"] for e in (RETRY, LISTED)]
    assert found == [0, len(LADDER) - 1]
    assert record(connection, replace(LISTED, call_sid="s9")).due_at <= tables.now()


@pytest.mark.parametrize("ended", ["no-recording", "missing", "refused", "kept", "tasked"])
def test_what_was_decided_is_not_undone_by_a_repetition(connection: Connection, ended: str) -> None:
    row = record(connection, RETRY)
    assert ledger.move(connection, row.id, ended, reason_code="decided", reason="Somebody looked.")
    row = record(connection, RETRY, ANSWERED, LISTED)
    assert (row.state, row.reason_code) == (ended, "decided")


@pytest.mark.parametrize("ended", ["no-recording", "missing"])
def test_an_address_that_comes_late_is_fetched_after_all(connection: Connection, ended: str) -> None:
    row = record(connection, RETRY)
    ledger.move(connection, row.id, ended, reason_code="decided", reason="Somebody looked.")
    assert record(connection, TERMINAL).state == "to-fetch"


def test_a_busy_call_that_was_completed_after_all_is_looked_up(connection: Connection) -> None:
    record(connection, CallEvent("s1", "status_callback", status="busy"))
    assert record(connection, LISTED).next_action == "look-up"


@pytest.mark.parametrize("state", ["refused", "lost"])
def test_a_recording_that_failed_is_tried_again_only_at_another_address(connection: Connection, state: str) -> None:
    record(connection, replace(TERMINAL, recording_url=OLD_URL))
    change(connection, state=state, reason_code="address-refused", reason="Not listed.")
    assert record(connection, replace(TERMINAL, recording_url=OLD_URL)).state in ("refused", "missing")
    row = record(connection, replace(TERMINAL, source="details"))
    assert (row.state, rows(connection, recordings)[0].state) == ("to-fetch", "found")


def test_a_call_follows_its_recording(connection: Connection) -> None:
    row = record(connection, TERMINAL)
    recording_id = rows(connection, recordings)[0].id
    seen = []

    def see() -> None:
        found = rows(connection, calls)[0]
        seen.append((found.state, found.next_action))
        assert ledger_rules.violations(connection) == []

    for state in ("spooled", "stored", "ready"):
        change(connection, state=state)
        see()
    put(
        connection, tables.transcriptions, recording_id=recording_id, audio_sha256="0", model_version="m",
        decoding_hash="0", decoding={}, text="", transcript={}, confidence=0.5, duration_s=1.0,
    )  # fmt: skip
    ledger.recording_moved(connection, recording_id)
    see()
    ledger.recording_kept(connection, recording_id, code="quality-low", sentence="Its quality is 0.2.")
    see()
    project_id = put(connection, tables.projects, instance_url="x", ls_project_id=1)
    task_id = put(
        connection, tables.tasks, project_id=project_id, recording_id=recording_id, external_key="k", origin="ours",
        selection_reason="audit",
    )  # fmt: skip
    ledger.recording_moved(connection, recording_id)
    see()
    connection.execute(sa.update(tables.tasks).where(tables.tasks.c.id == task_id).values(state="deleted"))
    ledger.recording_moved(connection, recording_id)
    see()
    change(connection, state="erased")
    see()
    assert seen == [
        ("fetched", "ingest"), ("fetched", "ingest"), ("stored", "transcribe"), ("heard", "select"),
        ("kept", None), ("tasked", None), ("kept", None), ("erased", None),
    ]  # fmt: skip
    assert record(connection, TERMINAL).state == "erased"
    assert row.id == rows(connection, calls)[0].id


def test_a_final_reason_is_that_of_the_last_that_happened_to_the_recording(connection: Connection) -> None:
    record(connection, TERMINAL)
    for code in ("not-audio", "audio-empty"):
        change(connection, state="refused", reason_code=code, reason=f"It is {code}.")
        row = rows(connection, calls)[0]
        assert (row.state, row.reason_code, row.reason) == ("refused", code, f"It is {code}.")


def test_a_call_with_two_recordings_waits_for_the_slower_and_ends_as_the_better(connection: Connection) -> None:
    row = record(connection, TERMINAL, replace(RETRY, recording_url=URL.replace("s1.mp3", "s1_2.mp3")))
    first, second = rows(connection, recordings)
    ledger.recording_kept(connection, first.id, code="quality-low", sentence="Its quality is 0.2.")
    for recording, state in ((first, "ready"), (second, "refused")):
        assert rows(connection, calls)[0].state == "to-fetch"
        mine = sa.update(recordings).where(recordings.c.id == recording.id)
        connection.execute(mine.values(state=state, reason_code="x" if state == "refused" else None, reason="X."))
        ledger.recording_moved(connection, recording.id)
    row = rows(connection, calls)[0]
    assert (row.state, row.reason_code) == ("kept", "quality-low")


def test_an_object_of_the_call_is_its_recording_and_is_not_fetched_again(connection: Connection) -> None:
    row = record(connection, CallEvent("s1", "object"))
    put(connection, recordings, source="object", source_identity="s3://b/s1.wav", call_id=row.id, call_sid="s1")
    ledger.recording_moved(connection, rows(connection, recordings)[0].id)
    row = record(connection, TERMINAL)
    assert (row.state, row.recording_url, len(rows(connection, recordings))) == ("fetched", URL, 1)


# --- erased and expired


@pytest.mark.parametrize("ended", ENDED)
def test_nothing_comes_back_of_an_erased_or_expired_call(connection: Connection, ended: str) -> None:
    row = record(connection, RETRY)
    ledger.move(connection, row.id, ended, reason_code=ended, reason="By request.")
    before = told(rows(connection, calls)[0])
    after = record(connection, *FIVE)
    assert told(after) == before
    assert rows(connection, recordings) == []
    assert not ledger.move(connection, row.id, "to-fetch")
    assert not ledger.move(connection, row.id, "no-recording", reason_code="x", reason="X.")


def test_an_expired_call_can_still_be_erased(connection: Connection) -> None:
    row = record(connection, RETRY)
    ledger.move(connection, row.id, "expired", reason_code="expired", reason="Its time is over.")
    assert ledger.move(connection, row.id, "erased", reason_code="erased", reason="By request.")


def test_a_buried_call_that_is_reported_again_keeps_nothing(connection: Connection) -> None:
    put(connection, tombstones, kind="call", identity="s1", why="by request")
    row = record(connection, *FIVE)
    assert (row.state, row.from_pseudonym, row.recording_url, row.custom_field) == ("erased", None, None, None)
    assert rows(connection, recordings) == rows(connection, tables.jobs) == []


# --- moves


@pytest.mark.parametrize("state", FINAL)
def test_a_final_state_needs_a_reason_and_has_no_successor(connection: Connection, state: str) -> None:
    row = record(connection, RETRY)
    with pytest.raises(ValueError, match="say why"):
        ledger.move(connection, row.id, state)
    with pytest.raises(ValueError, match="nothing follows"):
        ledger.move(connection, row.id, state, reason_code="x", reason="X.", next_action="fetch")
    assert ledger.move(connection, row.id, state, reason_code="x", reason="X.")
    assert ledger_rules.violations(connection) == []


@pytest.mark.parametrize("state", OPEN)
def test_an_open_state_has_an_action_of_its_own_and_a_due_time(connection: Connection, state: str) -> None:
    row = record(connection, RETRY)
    with pytest.raises(ValueError, match="goes on with"):
        ledger.move(connection, row.id, state, next_action="dance")
    assert ledger.move(connection, row.id, state, next_action=STATES[state][0])
    assert rows(connection, calls)[0].due_at is not None
    assert ledger_rules.violations(connection) == []


def test_a_state_of_another_name_is_refused(connection: Connection) -> None:
    with pytest.raises(ValueError, match="no state of a call"):
        ledger.move(connection, record(connection, RETRY).id, "lost-in-space")


@pytest.mark.parametrize(
    ("values", "words"),
    [({"state": "kept", "next_action": None, "due_at": None}, "without a reason"), ({"due_at": None}, "no due time"),
     ({"next_action": None}, "next action"), ({"next_action": "fetch"}, "next action"), ({"state": "odd"}, "unknown"),
     ({"state": "kept", "reason_code": "x"}, "something follows")],
)  # fmt: skip
def test_the_check_sees_each_way_to_break_the_promise(
    connection: Connection, values: dict[str, Any], words: str
) -> None:
    row = record(connection, RETRY)
    connection.execute(sa.update(calls).where(calls.c.id == row.id).values(**{"reason_code": None} | values))
    (wrong,) = ledger_rules.violations(connection)
    assert "s1" in wrong
    assert words in wrong


def test_the_check_sees_a_job_that_runs_without_a_lease(connection: Connection) -> None:
    put(connection, tables.jobs, name="x", queue="sync", arguments={}, priority=1, state="running")
    assert "without a live lease" in ledger_rules.violations(connection)[0]


def test_a_call_with_a_look_up_has_a_job_due_at_the_same_time(context: Context) -> None:
    with context.db.transaction() as connection:
        row = record(connection, ANSWERED)
    for event in (RETRY, TERMINAL):
        with context.db.transaction() as connection:
            row = record(connection, event)
    waiting = {job.name: job for job in context.db.rows(sa.select(tables.jobs))}
    assert waiting["fetch-recording"].arguments == {"recording_id": 1}
    assert waiting["look-up-call"].arguments == {"call_id": row.id}
    assert waiting["look-up-call"].due_at - tables.now() <= LADDER[0]  # moved forward from the end of the call


def test_both_kinds_of_database_agree(context: Context) -> None:
    with context.db.transaction() as connection:
        found = told(record(connection, *FIVE))
    with fresh() as other:
        assert found == told(record(other, *FIVE))


def test_every_state_is_in_the_documentation_of_what_follows() -> None:
    assert set(callstates.OPEN) | set(callstates.FINAL) == set(STATES)
    assert {"erased", "expired"} <= set(callstates.FINAL)
