"""What was stored is looked at again: missing or altered is fetched again, or lost and said so (F27)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ml_backend import tables
from ml_backend.jobs import job_kinds
from sync.recordings import verification
from sync.recordings.originals import keep_original
from tests import sounds
from tests.ledger_rules import violations
from tests.sync import offline
from tests.sync.offline import Offline


@pytest.fixture
def service(tmp_path: Path) -> Offline:
    return offline.opened(tmp_path, max_task_s=2.0)


def ready(service: Offline, folder: Path, **known: Any) -> Any:
    path = sounds.write_wav(folder / "made.wav", sounds.noise(5))
    recording = service.recording(None if "source" in known else service.call(), **known)
    service.update(recording, **keep_original(service.context, recording, path, extension="wav"))
    service.run(job_kinds.INGEST_RECORDING, recording_id=recording.id)
    return service.row(tables.recordings, recording.id)


def after_the_night(service: Offline, recording: Any) -> Any:
    outcomes = service.run(job_kinds.VERIFY_OBJECTS, after_id=0)
    assert [outcome.state for outcome in outcomes] == ["done"]
    with service.context.db.reading() as connection:
        assert violations(connection) == []
    return service.row(tables.recordings, recording.id)


def on_disk(service: Offline, recording: Any) -> Path:
    path = service.context.store.open_local(recording.bucket, recording.object_key)
    assert path is not None
    return path


def test_a_sound_recording_is_left_alone_and_read_only_once(service: Offline, tmp_path: Path) -> None:
    recording = ready(service, tmp_path)
    assert after_the_night(service, recording).state == "ready"
    path = on_disk(service, recording)
    raw, status = path.read_bytes(), path.stat()
    path.write_bytes(bytes(len(raw)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # silent damage: the store shows nothing
    row = service.row(tables.recordings, recording.id)
    assert verification.verify(service.context, row, read_again=False) == "sound"
    assert verification.verify(service.context, row, read_again=True) == "altered"


@pytest.mark.parametrize("what", ["missing", "altered"])
def test_a_damaged_original_is_fetched_again_from_its_provider(service: Offline, tmp_path: Path, what: str) -> None:
    recording = ready(service, tmp_path)
    path = on_disk(service, recording)
    raw = bytearray(path.read_bytes())
    raw[1000] ^= 1
    path.unlink() if what == "missing" else path.write_bytes(raw)
    found = after_the_night(service, recording)
    assert (found.state, found.reason_code, found.object_key) == ("found", f"object-{what}", None)
    assert len(service.waiting("fetch-recording")) == 1
    whole = tmp_path / "made.wav"
    service.update(found, **keep_original(service.context, found, whole, extension="wav"))
    service.run(job_kinds.INGEST_RECORDING, recording_id=recording.id)
    again = service.row(tables.recordings, recording.id)
    assert (again.state, again.reason_code, again.sha256) == ("ready", None, recording.sha256)


def test_one_that_nobody_else_has_is_lost_and_it_is_said_loudly(
    service: Offline, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording = ready(service, tmp_path, source="upload")
    on_disk(service, recording).unlink()
    found = after_the_night(service, recording)
    assert (found.state, found.reason_code) == ("lost", "object-missing")
    assert any(record.levelname == "ERROR" for record in caplog.records)


def test_normalised_audio_that_is_gone_is_made_again(service: Offline, tmp_path: Path) -> None:
    recording = ready(service, tmp_path)
    piece = recording.spans[1][2]
    service.context.store.delete("kaan-audio", piece)
    found = after_the_night(service, recording)
    assert found.state == "stored"
    service.run(job_kinds.INGEST_RECORDING, recording_id=recording.id)
    assert service.context.store.stat("kaan-audio", piece) is not None
    assert service.row(tables.recordings, recording.id).spans == recording.spans


def test_a_length_that_became_known_late_is_compared_too(service: Offline, tmp_path: Path) -> None:
    recording = ready(service, tmp_path)
    service.context.db.update(tables.calls, recording.call_id, talk_seconds=60)
    found = after_the_night(service, recording)
    assert (found.state, found.reason_code) == ("found", "audio-cut")
    assert len(service.waiting("fetch-recording")) == 1


def test_a_night_goes_on_in_slices_until_all_were_seen(
    service: Offline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [ready(service, tmp_path) for _ in range(3)]
    on_disk(service, rows[2]).unlink()
    monkeypatch.setattr(verification, "SLICE_ROWS", 2)
    service.run(job_kinds.VERIFY_OBJECTS, after_id=0)
    assert service.row(tables.recordings, rows[2].id).state == "ready"
    [job] = service.waiting("verify-objects")
    service.run(job_kinds.VERIFY_OBJECTS, **job.arguments)
    assert service.row(tables.recordings, rows[2].id).state == "found"


def test_what_killed_workers_left_in_the_temporary_folder_goes_after_a_day(
    service: Offline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = {
        prefix: Path(tempfile.mkdtemp(prefix=prefix)) for prefix in ("kaan-ingest-", "kaan-render-", "kaan-", "other-")
    }
    made["a demo's"], made["recent"] = tmp_path / "kaan-0-0123456789ab", Path(tempfile.mkdtemp(prefix="kaan-ingest-"))
    made["a demo's"].mkdir()
    for name, folder in made.items():
        (folder / "audio.wav").write_bytes(b"x")
        if name != "recent":
            os.utime(folder, (1, 1))
    service.run(job_kinds.VERIFY_OBJECTS, after_id=0)
    assert [name for name, folder in made.items() if not folder.exists()] == ["kaan-ingest-", "kaan-render-", "kaan-"]
