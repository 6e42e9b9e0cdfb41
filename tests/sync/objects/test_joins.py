"""An object named after a call -> that call's row: never a second recording of the same bytes, never two tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db
from ml_backend.calls import ledger
from ml_backend.calls.events import CallEvent
from ml_backend.context import JobContext, open_context
from ml_backend.serving import default_model
from ml_backend.settings import Settings
from ml_backend.tables import calls, objects, projects, recordings, tasks
from sync.objects import joins
from sync.objects import object_rows as found_objects
from sync.recordings import removal
from sync.tasks import selection
from tests.ledger_rules import violations
from tests.sync.outside import OTHER_SPEECH, SPEECH, Outside

SID = "4f6c2a9be0d14c7f8a55"
DAY = "recordings/2026/11/20"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Outside]:
    settings = Settings(_env_file=None, data_dir=tmp_path, min_free_disk_mb=0)  # type: ignore[call-arg]
    db.upgrade(settings.database)
    context = open_context(settings)
    yield Outside(context)
    context.db.dispose()


def reported(here: Outside, *, url: str | None = f"https://recordings.exotel.com/x/{SID}.mp3", **more: Any) -> Any:
    """Exotel reports the call."""
    event = CallEvent(call_sid=SID, source="status_callback", status="completed", recording_url=url, **more)
    with here.context.db.transaction() as connection:
        return ledger.record(connection, event, key=b"k" * 32)


def fetched(here: Outside, data: bytes, key: str, *, state: str = "ready") -> None:
    """The provider's copy was fetched and kept under a key."""
    row = here.one(recordings, source="exotel")
    place = {"bucket": "call-recordings", "object_key": key, "state": state}
    digest = hashlib.sha256(data).hexdigest()
    with here.context.db.transaction() as connection:
        db.update(connection, recordings, row.id, sha256=digest, size_bytes=len(data), **place)
        ledger.recording_moved(connection, row.id)


def healthy(here: Outside) -> None:
    with here.context.db.reading() as connection:
        assert violations(connection) == []


@pytest.mark.parametrize("key", [f"{DAY}/{SID}.wav", f"recordings/2025/01/01/{SID}.mp3", f"export/{SID}.wav"])
def test_an_object_before_the_callback_is_the_calls_recording(here: Outside, key: str) -> None:
    here.put("call-recordings", key, SPEECH)
    here.scan()
    reported(here)
    here.scan()
    healthy(here)

    call, usable = here.one(calls), [row for row in here.rows(recordings) if row.state != "refused"]
    ours = [row for row in usable if row.source == "object"]
    assert [row.call_id for row in ours] == [call.id]
    assert usable == ours, "nothing is fetched again"


def test_an_object_while_the_call_is_being_fetched_waits_and_then_is_the_same_recording(here: Outside) -> None:
    reported(here)
    here.put("call-recordings", f"{DAY}/{SID}.wav", SPEECH)
    here.put("voice-audio", "unused.txt", b"x")

    assert here.scan() == {"new": 1}
    assert here.one(objects, bucket="call-recordings").state == "waiting"
    fetched(here, SPEECH, f"recordings/2026/11/21/{SID}.mp3")
    assert here.scan(full=False) == {"joined": 1}

    row = here.one(objects, bucket="call-recordings")
    assert (row.state, row.recording_id) == ("taken", here.one(recordings).id)


def test_other_bytes_of_a_call_that_has_audio_make_no_recording(here: Outside) -> None:
    reported(here)
    fetched(here, SPEECH, f"{DAY}/{SID}.mp3")
    here.put("call-recordings", f"{DAY}/{SID}.wav", OTHER_SPEECH)
    here.scan()

    row = here.one(objects)
    assert (row.state, row.recording_id) == ("same-call", here.one(recordings).id)
    assert str(row.recording_id) in row.reason


@pytest.mark.parametrize("when", ["before", "afterwards"])
def test_an_object_rescues_a_call_whose_recording_cannot_be_fetched(here: Outside, when: str) -> None:
    reported(here)
    if when == "afterwards":
        fetched(here, SPEECH, f"{DAY}/{SID}.mp3")
    here.put("call-recordings", f"export/{SID}.wav", OTHER_SPEECH)
    here.scan()
    with here.context.db.transaction() as connection:
        row = here.one(recordings)
        gone = {"state": "lost", "reason_code": "recording-missing", "reason": "The provider has it no more."}
        db.update(connection, recordings, row.id, **gone)
        ledger.recording_moved(connection, row.id)

    assert here.scan(full=False) == {"rescued": 1}
    assert here.one(recordings, source="object").call_id == here.one(calls).id
    assert here.one(calls).state == "fetched"
    healthy(here)


def test_two_objects_of_one_call_are_one_recording(here: Outside) -> None:
    here.put("call-recordings", f"{DAY}/{SID}.mp3", SPEECH)
    here.put("call-recordings", f"export/{SID}.mp3", SPEECH)
    here.put("call-recordings", f"export/{SID}.wav", OTHER_SPEECH)
    here.scan()
    row = here.one(recordings)
    here.context.db.update(
        recordings, row.id, sha256=hashlib.sha256(SPEECH).hexdigest(), size_bytes=len(SPEECH), state="ready"
    )
    here.scan()

    assert here.one(recordings).id == row.id
    states = {one.object_key: one.state for one in here.rows(objects)}
    by_state = sorted(states.values())
    assert by_state == ["same-call", "taken", "taken"]


def test_the_second_original_we_keep_of_a_call_makes_no_call_of_its_own(here: Outside) -> None:
    reported(here)
    here.put("call-recordings", f"{DAY}/{SID}-0123456789ab.mp3", SPEECH)
    here.scan()

    assert [call.call_sid for call in here.rows(calls)] == [SID]
    assert len(here.rows(recordings)) == 1


def test_deleting_one_of_two_copies_loses_nothing(here: Outside) -> None:
    test_two_objects_of_one_call_are_one_recording(here)
    taken = [row for row in here.rows(objects) if row.state == "taken"]
    here.delete("call-recordings", taken[0].object_key)
    here.scan()

    assert here.one(recordings).state == "ready"


def test_a_name_that_is_a_telephone_number_is_no_call(here: Outside) -> None:
    here.put("call-recordings", f"{DAY}/{'9' + '8' * 9}.wav", SPEECH)
    here.scan()

    assert here.rows(calls) == []
    assert len(here.rows(recordings)) == 1


def test_a_call_with_a_task_gets_no_second_one_from_another_recording(here: Outside) -> None:
    here.put("call-recordings", f"export/{SID}.mp3", SPEECH)
    here.put("call-recordings", f"export/{SID}.wav", OTHER_SPEECH)
    here.scan()
    reported(here)
    first, second = here.rows(recordings)
    assert {first.call_id, second.call_id} == {here.one(calls).id}
    with here.context.db.transaction() as connection:
        assert joins.rival(connection, first) is None
        project = {"instance_url": "http://x", "ls_project_id": 1, "state": "attached"}
        connection.execute(sa.insert(projects).values(**project))
        task = {"project_id": 1, "recording_id": second.id, "external_key": "k", "origin": "ours", "state": "open"}
        connection.execute(sa.insert(tasks).values(**task))

        assert joins.rival(connection, first) == second.id
        assert joins.rival(connection, second) is None


def test_a_selection_keeps_the_second_recording_of_a_call_that_has_a_task(here: Outside) -> None:
    test_a_call_with_a_task_gets_no_second_one_from_another_recording(here)
    first, _ = here.rows(recordings)
    here.context.db.update(recordings, first.id, state="ready", sha256="a" * 64, duration_s=5.0)
    default_model.ensure(here.context)
    selection.select_recording(JobContext(here.context.settings, here.context.db, here.context.store), first.id)

    assert here.rows(recordings)[0].reason_code == "kept-same-call"
    assert len(here.rows(tasks)) == 1


def test_everything_that_bears_an_erased_calls_name_is_removed_with_it(here: Outside) -> None:
    reported(here)
    for name in (f"export/{SID}.wav", f"export/{SID}.txt", "export/another.wav"):
        here.put("call-recordings", name, SPEECH)
    here.scan()
    recording = here.one(recordings, source="exotel")

    found = {key for _, key in removal.places(here.context, recording)}
    assert found == {f"export/{SID}.wav", f"export/{SID}.txt"}


def test_a_call_that_came_under_another_name_first_has_one_recording_of_the_same_bytes(here: Outside) -> None:
    here.put("call-recordings", f"export/{SID}.mp3", SPEECH)
    here.scan()
    first = here.one(recordings)
    here.put("call-recordings", f"{DAY}/{SID}.mp3", SPEECH)
    here.scan()
    healthy(here)

    assert here.one(recordings).call_id == here.one(calls).id
    digest = hashlib.sha256(SPEECH).hexdigest()
    here.context.db.update(recordings, first.id, sha256=digest, size_bytes=len(SPEECH), state="ready")
    assert here.scan(full=False) == {"joined": 1}
    assert [row.recording_id for row in here.rows(objects)] == [first.id, first.id]


def test_an_object_written_while_we_listed_is_not_gone(here: Outside) -> None:
    here.put("call-recordings", f"export/{SID}.mp3", SPEECH)
    here.scan()

    assert found_objects.gone(here.context, "call-recordings", [f"export/{SID}.mp3"]) == {}
    assert here.one(objects).state == "taken"
