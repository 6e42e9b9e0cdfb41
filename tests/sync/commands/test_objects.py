"""`sync objects`: what a person sees, beforehand and afterwards."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.commands import command_line
from ml_backend.context import open_context
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.settings import Settings
from sync.objects import estimate, scan
from tests.sync.outside import OTHER_SPEECH, SPEECH, Outside


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outside:
    """Two calls, a synthetic voice with its text, a picture and an empty file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    settings = Settings()
    db.upgrade(settings.database)
    found = Outside(open_context(settings))
    found.put("call-recordings", "recordings/2026/11/20/c-1.mp3", b"x" * 40_000)
    found.put("call-recordings", "recordings/2026/11/20/c-2.wav", b"x" * 160_000)
    found.put("call-recordings", "picture.png", SPEECH)
    found.put("call-recordings", "empty.wav", b"")
    found.put("training-data", "tts/hi/ab12.wav", OTHER_SPEECH)
    found.put("training-data", "tts/hi/ab12.txt", b"hello")
    return found


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert command_line.main(["sync", "objects", *words]) == 0
    return capsys.readouterr().out


def test_a_dry_run_says_what_would_come_and_changes_nothing(
    outside: Outside, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(run(capsys, "--full", "--dry-run", "--speed", "4", "--json"))

    kinds = {"calls": 2, "synthetic voice": 1, "texts": 1, "not audio": 1, "unusable": 1, "known": 0}
    assert found["new"] == kinds
    assert found["audio_hours"] == round(20 / 3600, 4)
    assert found["compute_hours"] == round(5 / 3600, 4)
    assert any("assumed" in note for note in found["notes"])
    for table in (tables.objects, tables.recordings, tables.calls, tables.checkpoints):
        assert outside.rows(table) == []


def test_a_run_finds_them_and_a_second_dry_run_has_nothing_to_announce(
    outside: Outside, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "2 new" in run(capsys, "--full", "--bucket", "call-recordings")
    assert "no bucket voice-audio" in run(capsys, "--full", "--bucket", "voice-audio")
    run(capsys, "--full")
    assert "new: nothing" in run(capsys, "--full", "--dry-run")
    assert len(outside.rows(tables.recordings)) == 3


def test_objects_that_make_no_recording_are_listed_with_the_reason(
    outside: Outside, capsys: pytest.CaptureFixture[str]
) -> None:
    outside.put("call-recordings", f"to\x07{'8' * 10}.wav", b"")
    run(capsys, "--full")
    shown = run(capsys, "--problems")

    assert "call-recordings/empty.wav" in shown
    assert "The object has no bytes. [object-empty]" in shown
    assert "\x07" not in shown
    assert "8" * 10 not in shown
    codes = [one["code"] for one in json.loads(run(capsys, "--problems", "--json"))["objects"]]
    assert sorted(codes) == ["bad-object-key", "object-empty"]


def test_a_bucket_that_is_not_searched_is_a_mistake_that_lists_the_others(
    outside: Outside, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(["sync", "objects", "--bucket", "kaan-audio"]) == 1
    assert "call-recordings" in capsys.readouterr().err


def test_the_speed_is_measured_where_calls_were_heard(outside: Outside) -> None:
    outside.scan()
    began = tables.now()
    with outside.context.db.transaction() as connection:
        for number in range(estimate.ENOUGH):
            recording = {
                "source": "object",
                "source_identity": f"s3://x/{number}.wav",
                "object_key": f"{number}.wav",
                "size_bytes": 80_000,
                "duration_s": 10.0,
                "state": "ready",
            }
            made = sa.insert(tables.recordings).values(**recording).returning(tables.recordings.c.id)
            recording_id = connection.execute(made).scalar_one()
            job_id = enqueueing.enqueue(connection, job_kinds.TRANSCRIBE_RECORDING, recording_id=recording_id)
            start = began + timedelta(seconds=number // 2)  # two at once
            times = {"started_at": start, "finished_at": start + timedelta(seconds=1), "state": "done"}
            connection.execute(sa.update(tables.jobs).where(tables.jobs.c.id == job_id).values(**times))

    found = estimate.of_calls(outside.context, calls=10, audio_s=3600.0, basis="as told.")
    assert found.compute_hours == 0.05  # 200 s of audio in 10 s
    assert "measured" in found.notes[1]
    seconds, basis = estimate.audio_s_of(outside.context, [(".wav", 80_000)])
    assert (seconds, "so far" in basis) == (10.0, True)


def test_the_progress_knows_how_much_there_is(outside: Outside) -> None:
    assert scan.expected(outside.context, "call-recordings") is None
    outside.scan()
    assert scan.expected(outside.context, "call-recordings") == 4
