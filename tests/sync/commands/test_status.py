"""What needs a person is said with the next step."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ml_backend import tables
from ml_backend.api.live.live_tally import LiveTally
from ml_backend.calls import live_spool, pseudonyms
from ml_backend.calls.live_recordings import LiveAudio
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds, processes
from sync.commands import status
from tests.training import spoken


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    opened = spoken.opened(tmp_path / "data")
    yield opened
    opened.db.dispose()


def late_export(context: Context) -> None:
    with context.db.transaction() as connection:
        hour_ago = tables.now() - timedelta(hours=1)
        enqueueing.enqueue(connection, job_kinds.EXPORT_DATASET, key="calls", name="calls", due_at=hour_ago)


def runs(context: Context, role: str) -> None:
    now = tables.now()
    with context.db.transaction() as connection:
        values = {"name": f"here-{role}", "role": role, "pid": 1, "started_at": now, "seen_at": now}
        connection.execute(tables.processes.insert().values(**values))


def test_a_job_that_nobody_will_run_is_named_with_the_worker_that_is_missing(context: Context) -> None:
    with context.db.transaction() as connection:
        enqueueing.enqueue(
            connection, job_kinds.EXPORT_DATASET, key="calls", name="calls"
        )  # now: nobody waits ten minutes for it
        later = tables.now() + timedelta(hours=1)
        enqueueing.enqueue(
            connection, job_kinds.RENEW_DATASETS, key="1", erasure_id=1, due_at=later
        )  # not due: no trouble yet
    [said] = [one for one in status.read(context)["trouble"] if "training" in one]
    assert "1 export-dataset" in said
    assert "renew-datasets" not in said
    assert "No training worker is running; start one: `python -m ml_backend worker training`" in said


def test_a_job_that_waits_for_a_busy_worker_is_not_said_to_lack_one(context: Context) -> None:
    late_export(context)
    runs(context, "worker:training")
    [said] = [one for one in status.read(context)["trouble"] if "export-dataset" in one]
    assert "worker training" not in said
    assert "jobs list" in said


def test_a_promoted_model_that_does_not_load_where_calls_are_answered_is_named_with_the_way_back(
    context: Context,
) -> None:
    name = "live-here-1"
    reason = "nlu-2 does not load: The file model.onnx is not what was registered."
    for trouble in ({}, {"nlu": reason}):
        processes.seen(
            context.db, name, "live", started_at=tables.now(), detail={"not_loaded": trouble}
        )  # as its heartbeat writes
        said = [one for one in status.read(context)["trouble"] if "live requests" in one]
        assert bool(said) == bool(trouble)
    assert reason in said[0]
    assert "`rollback --kind nlu --why ...`" in said[0]


def test_live_serving_is_shown_with_percentiles_and_uptime_once_it_was_started(
    context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    status._show(status.read(context))
    assert "uptime" not in capsys.readouterr().out
    tally = LiveTally(context)
    tally.serves()
    for status_code in (200, 200, 503):
        tally.answered("parse", "nlu", version="v1", status=status_code, seconds=0.12)
    tally.close()
    facts = status.read(context)
    assert facts["live"]["last_hour"][0]["answer"]["count"] == 2
    status._show(facts)
    said = " ".join(capsys.readouterr().out.split())
    assert "parse (nlu): p50 125 ms, p95 148 ms, p99 150 ms of 2 answers; 3 requests in the last hour, 1 failed" in said
    assert "uptime today" in said
    assert "no process of `serve` is running now" in said
    runs(context, "live")
    status._show(status.read(context))
    assert "`serve`" not in capsys.readouterr().out


def test_live_audio_that_waits_long_is_said(context: Context) -> None:
    key = pseudonyms.key_of(context.settings)
    for minutes in (30, 0):
        at = tables.now() - timedelta(minutes=minutes)
        live_spool.add(context.settings, LiveAudio("c5d1", "a" * 64, 4, at), b"said", key=key, used_bytes=0)
    facts = status.read(context)
    assert facts["live_audio"]["waiting"] == 2
    assert facts["live_audio"]["oldest_s"] >= 1800
    [said] = [one for one in facts["trouble"] if "live requests" in one]
    assert "waits: 2, for 30 min" in said
    live_spool.remove_call(context.settings, "c5d1", key=key)
    assert not [one for one in status.read(context)["trouble"] if "live requests" in one]
