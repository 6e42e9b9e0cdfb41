"""A recording at the provider becomes an original in our store, by whichever way works; and every way it does not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from ml_backend import tables
from ml_backend.calls import tombstones
from ml_backend.calls.states import LADDER
from ml_backend.jobs import enqueueing, job_kinds, runner
from sync.recordings.sources import RecordingSource, add_recording
from tests.servers import capture, exotel
from tests.sync.hostile import HOSTILE
from tests.sync.outbound.test_fetching import listener
from tests.sync.provider import SPEECH, Beside, beside


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Beside]:
    with beside(tmp_path, monkeypatch) as service:
        yield service


def held(here: Beside) -> bytes:
    recording = here.one(tables.recordings)
    assert recording.state == "stored", (recording.state, recording.reason)
    path = here.context.store.open_local(recording.bucket, recording.object_key)
    assert path is not None
    return path.read_bytes()


def test_a_recording_named_by_a_callback_is_stored_and_goes_on_to_its_ingest(here: Beside) -> None:
    here.told(here.provider.add(1, audio=SPEECH))
    here.run()
    assert held(here) == SPEECH
    call = here.one(tables.calls)
    assert (call.state, call.next_action) == ("fetched", "ingest")
    [ingest] = here.waiting("ingest-recording")
    assert ingest.priority == job_kinds.LIVE
    here.sound()


def test_an_address_is_fetched_with_our_key_only_where_the_key_belongs(here: Beside) -> None:
    here.told(here.provider.add(1, audio=SPEECH))
    here.run()
    assert [bool(seen.authorization) for seen in here.provider.asked("recordings")] == [True]
    assert here.provider.asked("api") == []


def test_where_our_ip_is_known_no_key_is_needed(here: Beside) -> None:
    here.provider.open = True
    here.settings(exotel_api_key=SecretStr(""), exotel_api_token=SecretStr(""))
    here.told(here.provider.add(1, audio=SPEECH))
    here.run()
    assert held(here) == SPEECH
    assert [seen.authorization for seen in here.provider.asked()] == [None]


def test_a_signed_link_is_fetched_without_our_key_when_the_plain_address_is_closed(here: Beside) -> None:
    here.provider.presigned = True
    here.provider.script("recording", ["403"])
    here.told(here.provider.add(1, audio=SPEECH))
    here.run()
    assert held(here) == SPEECH
    asked = [(seen.listener, bool(seen.authorization)) for seen in here.provider.asked()]
    assert asked == [("recordings", True), ("api", True), ("store", False)]
    assert here.one(tables.calls).recording_url == here.provider.address(f"{1:031x}p.mp3"), "a signed link is not kept"


def test_a_moved_recording_is_fetched_from_where_the_provider_says_it_is_now(here: Beside) -> None:
    row = here.provider.add(1, audio=SPEECH)
    old = row["RecordingUrl"].replace("/exotelrecordings/", "/old/")
    here.provider.script("recording", ["404", "ok"])
    here.told({**row, "RecordingUrl": old})
    here.run()
    assert held(here) == SPEECH


def test_a_refused_key_stops_the_account_and_burns_no_attempt(here: Beside) -> None:
    """Five recordings, one wrong key: one request, one alarm, and all five as soon as the key is right."""
    for number in range(1, 6):
        here.told(here.provider.add(number, audio=SPEECH + bytes([number])))
    here.settings(exotel_api_token=SecretStr("a wrong token that nobody knows"))
    here.run()
    assert len(here.provider.asked("recordings")) == 1
    [alarm] = [row for row in here.rows(tables.checkpoints) if row.state == "stopped"]
    assert alarm.reason_code == "http-unauthorised"
    assert "wrong token" not in str(alarm)
    assert len(here.rows(tables.jobs, name="fetch-recording")) == 6, "the four others were moved back, not run"
    assert {call.tries for call in here.rows(tables.calls)} == {0}

    here.later(minutes=6)  # still wrong: one or a few more, no attempt is used
    assert len(here.provider.asked("recordings")) <= 6
    assert {call.tries for call in here.rows(tables.calls)} == {0}
    assert not [job for job in here.rows(tables.jobs) if job.state in ("failed", "quarantined")]

    here.settings(exotel_api_token=SecretStr(exotel.TOKEN))
    here.later(minutes=6)
    assert {recording.state for recording in here.rows(tables.recordings)} == {"stored"}
    assert not [row for row in here.rows(tables.checkpoints) if row.state == "stopped"]
    here.sound()


@pytest.mark.parametrize("mode", ["403", "404", "html", "410", "xml"])
def test_what_is_not_there_is_asked_for_again_on_the_ladder_and_then_missing(here: Beside, mode: str) -> None:
    here.provider.script("recording", [], then=mode)
    row = here.provider.add(1, audio=SPEECH)
    here.told(row)
    here.run()
    waits = []
    for _ in LADDER:
        call = here.one(tables.calls)
        assert (call.state, call.next_action) == ("to-fetch", "fetch")
        assert call.reason_code
        here.sound()
        [job] = here.waiting("fetch-recording")
        assert abs(job.due_at - call.due_at) < timedelta(seconds=1)
        waits.append(round((call.due_at - tables.now()).total_seconds() / 60))
        here.later(seconds=(call.due_at - tables.now()).total_seconds() + 1)
    assert waits == [2, 5, 15, 60, 360, 1440]
    call, recording = here.one(tables.calls), here.one(tables.recordings)
    assert (call.state, recording.state, recording.reason_code) == ("missing", "lost", "missing-at-provider")
    assert here.waiting("fetch-recording") == []
    looked_up = here.provider.asked("api", below=row["Sid"])
    assert len(looked_up) == len(LADDER) + 1, "each try took a fresh look at the call"
    here.sound()


def test_a_recording_that_is_ready_later_is_fetched_then(here: Beside) -> None:
    here.provider.script("recording", ["404", "403"])
    here.told(here.provider.add(1, audio=SPEECH))
    here.run()
    here.later(minutes=3)
    here.later(minutes=6)
    assert held(here) == SPEECH


@pytest.mark.parametrize("mode", ["429-bare", "500", "503", "short", "reset", "cut"])
def test_trouble_that_passes_uses_no_rung_of_the_ladder(here: Beside, mode: str) -> None:
    here.provider.script("recording", [mode, mode])
    here.told(here.provider.add(1, audio=SPEECH))
    [outcome] = here.run()
    assert outcome.state == "waiting"
    call = here.one(tables.calls)
    assert (call.state, call.tries) == ("to-fetch", 0)
    assert tables.now() < call.due_at
    here.sound()
    for _ in range(3):
        here.later(minutes=2)
    assert held(here) == SPEECH


def test_the_provider_says_how_long_to_wait(here: Beside) -> None:
    here.provider.script("recording", ["fixture:api_error_429"])
    here.told(here.provider.add(1, audio=SPEECH))
    [outcome] = here.run()
    assert outcome.error_code == "http-busy"
    assert 28 < (outcome.due_at - tables.now()).total_seconds() <= 30


@pytest.mark.parametrize("mode", ["gzip-bomb", "endless", "length-too-big"])
def test_too_many_bytes_are_refused_with_the_setting_that_says_how_many(here: Beside, mode: str) -> None:
    here.settings(max_recording_mb=1)
    here.provider.script("recording", [mode])
    here.told(here.provider.add(1, audio=SPEECH))
    here.run()
    recording = here.one(tables.recordings)
    assert (recording.state, recording.reason_code) == ("refused", "audio-too-large")
    assert here.one(tables.calls).state == "refused"
    here.sound()


def test_a_refused_recording_is_fetched_when_a_person_lists_its_origin_and_asks_again(here: Beside) -> None:
    whole = here.context.settings.exotel_recording_origins
    here.settings(exotel_recording_origins="https://recordings.exotel.com")
    here.told(here.provider.add(1, audio=SPEECH))
    [outcome] = here.run()
    assert here.one(tables.recordings).reason_code == "audio-source-refused"
    assert here.provider.asked() == []

    here.settings(exotel_recording_origins=whole)
    enqueueing.retry(here.context.db, outcome.job_id)
    here.run()
    assert held(here) == SPEECH


@pytest.mark.parametrize("source", ["callback", "listing", "details"])
def test_no_hostile_address_of_a_callback_or_a_listing_makes_a_connection(here: Beside, source: str) -> None:
    with listener() as places:
        hostile = [f"http://{places[0]}/a.mp3", f"https://{places[0]}/a.mp3", *HOSTILE]
        for number, text in enumerate(hostile, 1):
            if source == "callback":
                here.called_back({"CallSid": f"a{number}", "Status": "completed", "RecordingUrl": text})
            else:
                here.told(here.provider.add(number), source, RecordingUrl=text)
        here.run()
    assert len(places) == 1
    assert here.provider.asked("recordings") + here.provider.asked("store") == []
    states = {recording.state for recording in here.rows(tables.recordings)}
    assert states == {"refused"}
    assert {recording.reason_code for recording in here.rows(tables.recordings)} == {"audio-source-refused"}
    assert len(here.rows(tables.recordings)) >= 60
    here.sound()


def test_audio_of_a_call_erased_meanwhile_is_not_kept(here: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    from ml_backend.jobs import failpoints

    here.told(here.provider.add(1, audio=SPEECH))

    def erase(place: str) -> None:
        if place == "download.after-keep":
            with here.context.db.transaction() as connection:
                connection.execute(tables.recordings.update().values(state="erased"))

    failpoints.arm(erase)
    try:
        here.run()
    finally:
        failpoints.arm(None)
    assert here.one(tables.recordings).state == "erased"
    assert list(here.context.store.list("call-recordings")) == []


def test_audio_erased_under_another_name_does_not_come_back_by_a_call(here: Beside) -> None:
    with here.context.db.transaction() as connection:
        tombstones.mark_erased(
            connection, "audio", tombstones.audio_identity(hashlib.sha256(SPEECH).hexdigest()), key=b"k"
        )
    here.told(here.provider.add(1, audio=SPEECH))
    here.run()
    assert here.one(tables.recordings).state == "erased"
    assert here.one(tables.calls).state == "erased"
    assert list(here.context.store.list("call-recordings")) == []
    here.sound()


def test_fifty_callbacks_about_one_recording_make_one_object(here: Beside) -> None:
    row = here.provider.add(1, audio=SPEECH)
    for _ in range(50):
        here.told(row)
    here.run()
    assert len(list(here.context.store.list("call-recordings"))) == 1
    assert len(here.provider.asked("recordings")) == 1


def of_a_task(here: Beside, address: str) -> None:
    """A recording that a task's data value names."""
    with here.context.db.transaction() as connection:
        recording_id, _ = add_recording(connection, RecordingSource("web", address))
    runner.Runner(here.context).run(_enqueue_ingest(here, recording_id))


def _enqueue_ingest(here: Beside, recording_id: int) -> int:
    with here.context.db.transaction() as connection:
        return enqueueing.enqueue(
            connection, job_kinds.INGEST_RECORDING, key=str(recording_id), recording_id=recording_id
        )


def test_a_web_address_of_a_task_is_fetched_through_the_same_door_without_our_key(here: Beside) -> None:
    """Whoever can make a task chose the address, so not even Exotel's own host is given the key."""
    here.provider.open = True
    here.provider.add(1, audio=SPEECH, file_name="a.mp3")
    of_a_task(here, here.provider.address("a.mp3"))
    assert here.one(tables.recordings).state == "ready"
    assert [seen.authorization for seen in here.provider.asked()] == [None]


def test_a_listed_host_that_is_not_exotels_says_nothing_about_the_key(here: Beside) -> None:
    """It gets none, so its 401 does not stop the account."""
    with capture.running(redirect="nowhere", status=401) as other:
        here.settings(exotel_recording_origins=other.url)
        here.told({**here.provider.add(1, audio=SPEECH), "RecordingUrl": f"{other.url}/a.mp3"})
        here.run()
    assert other.authorizations == [None]
    assert here.one(tables.calls).reason_code == "http-needs-credentials"
    assert not here.rows(tables.checkpoints, state="stopped")


def test_no_hostile_data_value_and_no_redirect_of_one_makes_a_connection(here: Beside) -> None:
    with listener() as places:
        here.provider.script("recording", [f"redirect:http://{places[0]}/a.mp3"])
        here.provider.add(1, audio=SPEECH, file_name="a.mp3")
        for address in (here.provider.address("a.mp3"), f"http://{places[0]}/a.mp3", *HOSTILE[:40]):
            of_a_task(here, address)
    assert len(places) == 1
    found = here.rows(tables.recordings)
    assert {(row.state, row.reason_code) for row in found} == {("refused", "audio-source-refused")}
    assert len(here.provider.asked()) == 1


def test_a_host_that_refuses_a_key_the_api_takes_is_passed_by_a_signed_link(here: Beside) -> None:
    here.provider.presigned = True
    here.provider.script("recording", ["401"])
    here.told(here.provider.add(1, audio=SPEECH))
    here.run()
    assert held(here) == SPEECH
    assert not [row for row in here.rows(tables.checkpoints) if row.state == "stopped"]


def retry_until_it_changes(here: Beside) -> str:
    """Run the fetch job over and over, as long as it waits for its next try; gives what became of it."""
    for _ in range(job_kinds.FETCH_RECORDING.max_attempts + 1):
        outcomes = here.later(hours=1, seconds=1)
        if [outcome.state for outcome in outcomes] != ["waiting"]:
            return str(outcomes[-1].state) if outcomes else "none"
    return "for ever"


def test_a_provider_that_is_down_for_a_day_costs_one_rung(here: Beside) -> None:
    here.provider.script("recording", [], then="503")
    here.told(here.provider.add(1, audio=SPEECH))
    here.run()
    began = here.now()
    assert retry_until_it_changes(here) == "done"
    assert here.now() - began > timedelta(hours=20)
    call = here.one(tables.calls)
    assert (call.state, call.tries, call.reason_code) == ("to-fetch", 1, "http-unavailable")
    here.sound()


def test_our_own_full_disk_never_makes_a_call_missing(here: Beside) -> None:
    here.settings(min_free_disk_mb=10**9)
    here.told(here.provider.add(1, audio=SPEECH))
    here.run()
    assert retry_until_it_changes(here) == "done"
    call = here.one(tables.calls)
    assert (call.state, call.tries, call.reason_code) == ("to-fetch", 0, "disk-full")
    assert here.provider.asked() == []
    here.sound()
    here.settings(min_free_disk_mb=0)
    here.later(hours=2)
    assert held(here) == SPEECH
