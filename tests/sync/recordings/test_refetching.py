"""Audio that came cut or as something else is fetched once more, and never silently short (F38, F39, F41)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml_backend import tables
from ml_backend.jobs import job_kinds
from sync.recordings import refetching
from sync.recordings.originals import keep_original
from tests import ledger_rules, sounds
from tests.sync import offline
from tests.sync.offline import Offline


@pytest.fixture
def service(tmp_path: Path) -> Offline:
    return offline.opened(tmp_path)


def fetched(service: Offline, recording, content: bytes, folder: Path, *, extension: str = "wav"):  # type: ignore[no-untyped-def]
    """As if the downloader had just brought these bytes; then the ingest."""
    path = folder / "downloaded"
    path.write_bytes(content)
    recording = service.update(recording, **keep_original(service.context, recording, path, extension=extension))
    service.run(job_kinds.INGEST_RECORDING, recording_id=recording.id)
    return service.row(tables.recordings, recording.id)


def wav(folder: Path, seconds: float) -> bytes:
    return sounds.write_wav(folder / "made.wav", sounds.noise(seconds), rate_hz=16000).read_bytes()


def check_ledger(service: Offline) -> None:
    with service.context.db.reading() as connection:
        assert ledger_rules.violations(connection) == []


def test_a_cut_recording_is_fetched_once_more_and_the_whole_one_is_used(service: Offline, tmp_path: Path) -> None:
    whole = wav(tmp_path, 10)
    recording = service.recording(service.call(talk_seconds=10))
    recording = fetched(service, recording, whole[: len(whole) // 2], tmp_path)
    assert (recording.state, recording.reason_code) == ("found", "audio-cut")
    assert "5.00 s could be decoded of the 10.00 s" in recording.reason
    assert "fetched once more" in recording.reason
    [job] = service.waiting("fetch-recording")
    assert job.due_at > tables.now()
    assert service.waiting("transcribe-recording") == []
    check_ledger(service)

    first_key = recording.object_key
    recording = fetched(service, recording, whole, tmp_path)
    assert (recording.state, recording.reason_code) == ("ready", None)
    assert recording.duration_s == 10
    assert recording.object_key != first_key
    assert service.context.store.stat("call-recordings", first_key) is not None, "originals are never overwritten"
    assert len(service.waiting("transcribe-recording")) == 1
    check_ledger(service)


def test_a_recording_that_stays_cut_goes_on_and_says_so(service: Offline, tmp_path: Path) -> None:
    cut = wav(tmp_path, 10)[:100_000]
    recording = fetched(service, service.recording(service.call()), cut, tmp_path)
    recording = fetched(service, recording, cut, tmp_path)
    assert (recording.state, recording.reason_code) == ("ready", "audio-cut")
    assert len(service.waiting("fetch-recording")) == 1
    assert len(service.waiting("transcribe-recording")) == 1


def test_a_worse_second_fetch_does_not_replace_the_first(service: Offline, tmp_path: Path) -> None:
    whole = wav(tmp_path, 10)
    for worse in (whole[: len(whole) // 4], b"<html>Not now</html>", b""):
        recording = fetched(service, service.recording(service.call()), whole[: len(whole) * 3 // 4], tmp_path)
        first_key = recording.object_key
        recording = fetched(service, recording, worse, tmp_path)
        assert (recording.state, recording.object_key) == ("stored", first_key)
        service.run(job_kinds.INGEST_RECORDING, recording_id=recording.id)
        recording = service.row(tables.recordings, recording.id)
        assert (recording.state, recording.reason_code) == ("ready", "audio-cut")
        assert recording.duration_s == pytest.approx(7.5, abs=0.01)
        check_ledger(service)


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "audio-empty"), (b"\0", "audio-not-audio"), (b"<html>busy</html>" * 9, "audio-not-audio")],
)
def test_what_is_no_recording_is_fetched_once_more_and_then_refused(
    service: Offline, tmp_path: Path, content: bytes, code: str
) -> None:
    call_id = service.call()
    recording = fetched(service, service.recording(call_id), content, tmp_path)
    assert (recording.state, recording.reason_code) == ("found", code)
    recording = fetched(service, recording, content, tmp_path)
    assert (recording.state, recording.reason_code) == ("refused", code)
    assert service.row(tables.calls, call_id).state == "refused"
    check_ledger(service)


def test_audio_shorter_than_its_call_is_cut_even_when_the_file_looks_whole(service: Offline, tmp_path: Path) -> None:
    """An MP3 without a frame count says nothing of its length: only the call does."""
    mp3 = sounds.encode(tmp_path / "a.mp3", sounds.noise(30), container="mp3", codec="libmp3lame", rate_hz=16000)
    recording = service.recording(service.call(talk_seconds=60))
    recording = fetched(service, recording, mp3.read_bytes(), tmp_path, extension="mp3")
    assert (recording.state, recording.reason_code) == ("found", "audio-cut")
    assert "of the 60.00 s the call lasted" in recording.reason


def test_a_call_with_two_recordings_is_not_held_to_its_length(service: Offline, tmp_path: Path) -> None:
    call_id = service.call(talk_seconds=60)
    service.recording(call_id)
    recording = fetched(service, service.recording(call_id), wav(tmp_path, 20), tmp_path)
    assert (recording.state, recording.reason_code) == ("ready", None)


def test_a_damaged_middle_is_a_state_with_a_reason(service: Offline, tmp_path: Path) -> None:
    mp3 = sounds.encode(tmp_path / "a.mp3", sounds.noise(20), container="mp3", codec="libmp3lame", rate_hz=16000)
    raw = bytearray(mp3.read_bytes())
    third = len(raw) // 3
    raw[third : 2 * third] = np.random.default_rng(0).bytes(third)
    recording = fetched(service, service.recording(service.call()), bytes(raw), tmp_path, extension="mp3")
    recording = fetched(service, recording, bytes(raw), tmp_path, extension="mp3")
    assert recording.state == "ready"
    assert recording.reason_code in ("audio-cut", "audio-damaged")


def test_when_the_provider_has_it_no_more_the_first_fetch_is_used(service: Offline, tmp_path: Path) -> None:
    cut = wav(tmp_path, 10)[:100_000]
    recording = fetched(service, service.recording(service.call()), cut, tmp_path)
    with service.context.db.transaction() as connection:
        assert refetching.give_up(connection, recording)
    service.run(job_kinds.INGEST_RECORDING, recording_id=recording.id)
    recording = service.row(tables.recordings, recording.id)
    assert (recording.state, recording.reason_code) == ("ready", "audio-cut")
    never = service.recording(service.call())
    with service.context.db.transaction() as connection:
        assert not refetching.give_up(connection, never)
