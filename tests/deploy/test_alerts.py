"""A real Prometheus scrapes a real web app: each alert fires by its cause, and clears when the cause is gone."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from werkzeug.serving import make_server

from ml_backend import db, tables
from ml_backend.api.app import create_app
from ml_backend.api.live.live_tally import LiveTally
from ml_backend.calls import ledger, live_spool, pseudonyms
from ml_backend.calls.live_recordings import LiveAudio
from ml_backend.context import Context, JobContext, open_context
from ml_backend.jobs import enqueueing, job_kinds, processes
from ml_backend.monitoring import work_numbers
from ml_backend.settings import Settings
from model import SpeechModel
from sync.annotations import differences
from sync.commands import backup
from sync.live import kept_counts
from tests import patience
from tests.servers import prometheus

TOKEN = "t" * 24
LATE = timedelta(hours=3)
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((prometheus.MONITORING / "rules" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}


class Silent(LiveTally):
    """Writes when it is told to."""

    def _begin(self) -> None:
        pass


class Deployment:
    """A web app over a database with the rows that healthy processes leave, and what breaks it."""

    def __init__(self, folder: Path, disk: SimpleNamespace) -> None:
        self.disk = disk
        settings = Settings(_env_file=None, data_dir=folder, api_tokens=f"prometheus:read:{TOKEN}")
        db.upgrade(settings.database)
        self.context: Context = open_context(settings)
        self.database = self.context.db
        self.tally = Silent(self.context)
        self.tally.serves()
        self.server = make_server(
            "127.0.0.1", 0, create_app(settings, SpeechModel, context=self.context), threaded=True
        )
        self.target = f"127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, name="web", daemon=True)
        self._thread.start()
        for role in ("relay", "worker:sync", "worker:transcribe", "live", "web"):
            self.process_runs(role)
        self.answers(200, times=5)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(30)
        self.database.dispose()

    def insert(self, table: sa.Table, **values: Any) -> Any:
        with self.database.transaction() as connection:
            return connection.execute(sa.insert(table).values(**values)).inserted_primary_key[0]

    def change(self, table: sa.Table, **values: Any) -> None:
        with self.database.transaction() as connection:
            connection.execute(sa.update(table).values(**values))

    def process_runs(self, role: str, **detail: Any) -> None:
        """Its heartbeat, ahead of the clock: a busy machine is no missing process."""
        processes.seen(self.database, f"{role}@here", role, started_at=tables.now(), detail=detail or None)
        ahead = {"seen_at": tables.now() + timedelta(minutes=10)}
        with self.database.transaction() as connection:
            row = tables.processes
            connection.execute(sa.update(row).where(row.c.name == f"{role}@here").values(**ahead))

    def job(self, kind: job_kinds.JobKind, **arguments: Any) -> int:
        with self.database.transaction() as connection:
            due_at = tables.now() - LATE
            return enqueueing.enqueue(connection, kind, key=kind.name, due_at=due_at, **arguments)

    def jobs_end(self, state: str = "done") -> None:
        self.change(tables.jobs, state=state, finished_at=tables.now())

    def answers(self, status: int, *, times: int, seconds: float = 0.01) -> None:
        for _ in range(times):
            self.tally.answered("parse", "nlu", version="v1", status=status, seconds=seconds)
        assert self.tally.write()


# One cause each, as a deployment meets it; what it gives back takes the cause away.


def a_worker_ends(here: Deployment) -> Callable[[], None]:
    processes.gone(here.database, "worker:sync@here")
    return lambda: here.process_runs("worker:sync")


def a_call_is_late(here: Deployment) -> Callable[[], None]:
    row = here.insert(
        tables.calls, provider="exotel", call_sid="c1", state="to-fetch", next_action="fetch",
        due_at=tables.now() - LATE,
    )  # fmt: skip

    def stored() -> None:
        with here.database.transaction() as connection:
            ledger.move(connection, row, "kept", reason_code="not-selected", reason="Enough of its kind.")

    return stored


def exotel_refuses_our_key(here: Deployment) -> Callable[[], None]:
    here.insert(tables.checkpoints, name="account:a", position={}, state="stopped", reason="refused the credentials")
    return lambda: here.change(tables.checkpoints, state="running")


def project(here: Deployment, number: int, **values: Any) -> int:
    return here.insert(
        tables.projects, instance_url=f"http://label-studio-{number}", ls_project_id=number, state="attached", **values
    )


def redis_takes_no_messages(here: Deployment) -> Callable[[], None]:
    """As the relay's heartbeat says it (tests/ml_backend/test_metrics.py)."""
    here.process_runs("relay", redis="redis-unavailable")
    return lambda: here.process_runs("relay", redis=None)


def annotations_are_missing(here: Deployment) -> Callable[[], None]:
    row = SimpleNamespace(id=project(here, 1), ls_project_id=1)

    def write(missing: int, left: int) -> None:
        with here.database.transaction() as connection:
            differences.write(connection, row, differences.Difference(10, 10 - missing, 5, 5), left_by_full=left)

    write(3, 3)
    return lambda: write(0, 0)


def annotations_are_not_compared(here: Deployment) -> Callable[[], None]:
    row = SimpleNamespace(id=project(here, 2), ls_project_id=2)

    def write() -> None:
        with here.database.transaction() as connection:
            differences.write(connection, row, differences.Difference(10, 10, 5, 5))

    write()
    with here.database.transaction() as connection:
        mine = tables.summaries.c.name == differences.name_of(row.id)
        connection.execute(sa.update(tables.summaries).where(mine).values(made_at=tables.now() - LATE))
    return write


def a_project_has_a_reason(here: Deployment) -> Callable[[], None]:
    row = project(here, 3, reason_code="project-missing", reason="The project is gone.")
    mine = sa.update(tables.projects).where(tables.projects.c.id == row)

    def attached() -> None:
        with here.database.transaction() as connection:
            connection.execute(mine.values(reason=None, reason_code=None))

    return attached


def a_job_waits(here: Deployment) -> Callable[[], None]:
    here.job(job_kinds.READ_CALL_EVENT, event_id=1)
    return here.jobs_end


def training_waits(here: Deployment) -> Callable[[], None]:
    here.job(job_kinds.RUN_TRAINING, run_id=1)
    return lambda: here.process_runs("worker:training")


def a_job_ends_badly(here: Deployment) -> Callable[[], None]:
    job = here.job(job_kinds.SCAN_BUCKET, bucket="b", full=0)
    with here.database.transaction() as connection:
        connection.execute(sa.update(tables.jobs).where(tables.jobs.c.id == job).values(state="quarantined"))
    return here.jobs_end


def a_run_says_nothing(here: Deployment) -> Callable[[], None]:
    here.insert(
        tables.runs, kind="asr", arguments={}, state="running", updated_at=tables.now() - LATE,
        progress={"phase": "training", "step": 3, "steps": 10, "loss": 0.5},
    )  # fmt: skip
    return lambda: here.change(tables.runs, state="done")


def the_champion_does_not_load(here: Deployment) -> Callable[[], None]:
    here.process_runs("live", not_loaded={"asr": "A file is damaged."})
    return lambda: here.process_runs("live", not_loaded={})


def the_disk_is_full(here: Deployment) -> Callable[[], None]:
    here.disk.free = lambda: 1e6
    return lambda: setattr(here.disk, "free", lambda: 1e12)


def no_backup_was_made(here: Deployment) -> Callable[[], None]:
    row = here.insert(
        tables.recordings, source="upload", source_identity="old", created_at=tables.now() - timedelta(days=3)
    )
    assert row
    return lambda: backup.write(here.context.settings, here.context.settings.data_dir / "kaan.tar", objects=False)


def requests_fail(here: Deployment) -> Callable[[], None]:
    here.answers(500, times=50)
    return lambda: None  # they pass out of the range


def requests_are_slow(here: Deployment) -> Callable[[], None]:
    here.answers(200, times=50, seconds=2.0)
    return lambda: None


def a_recording_is_spooled(here: Deployment) -> Callable[[], None]:
    row = here.insert(tables.recordings, source="upload", source_identity="spooled", state="spooled")
    mine = sa.update(tables.recordings).where(tables.recordings.c.id == row)

    def stored() -> None:
        with here.database.transaction() as connection:
            connection.execute(mine.values(state="stored"))

    return stored


def live_audio_is_not_stored(here: Deployment) -> Callable[[], None]:
    settings = here.context.settings
    key = pseudonyms.key_of(settings)
    live_spool.add(settings, LiveAudio("c9", "a" * 64, 4, tables.now() - LATE), b"said", key=key, used_bytes=0)
    return lambda: live_spool.remove_call(settings, "c9", key=key)


def nothing_was_counted(here: Deployment) -> Callable[[], None]:
    here.insert(tables.summaries, name=work_numbers.COUNTS, body={}, made_at=tables.now() - LATE)
    context = here.context
    return lambda: kept_counts.keep_counts(JobContext(context.settings, context.db, context.store))


def a_stranger_writes_into_redis(here: Deployment) -> Callable[[], None]:
    with here.database.transaction() as connection:
        for _ in range(3):
            processes.count_refused_message(connection, "sync")
    return lambda: None


CAUSES: dict[str, Callable[[Deployment], Callable[[], None]]] = {
    "KaanRedisTrouble": redis_takes_no_messages,
    "KaanProcessMissing": a_worker_ends,
    "KaanCallsNotStored": a_call_is_late,
    "KaanFetchingStopped": exotel_refuses_our_key,
    "KaanAnnotationsMissing": annotations_are_missing,
    "KaanJobTooOld": a_job_waits,
    "KaanChampionDoesNotLoad": the_champion_does_not_load,
    "KaanBackupOld": no_backup_was_made,
    "KaanErrorBudgetBurns": requests_fail,
    "KaanErrorBudgetBurnsSlowly": requests_fail,
    "KaanJobsEndedBadly": a_job_ends_badly,
    "KaanNobodyTrains": training_waits,
    "KaanTrainingSilent": a_run_says_nothing,
    "KaanRecordingsWaitForStore": a_recording_is_spooled,
    "KaanLiveAudioWaits": live_audio_is_not_stored,
    "KaanAnnotationsNotCompared": annotations_are_not_compared,
    "KaanNumbersOld": nothing_was_counted,
    "KaanProjectTrouble": a_project_has_a_reason,
    "KaanStrangeMessages": a_stranger_writes_into_redis,
    "KaanLiveSlow": requests_are_slow,
    "KaanDiskFull": the_disk_is_full,  # last: nothing is kept after it
    "KaanDiskFillsUp": the_disk_is_full,
}
FROM_OUTSIDE = {"KaanNotAnswering", "KaanServerErrors"}  # by what a client does


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    disk = SimpleNamespace(free=lambda: 1e12)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=disk.free(), total=2e12, used=1e12))
    deployment = Deployment(tmp_path / "data", disk)
    yield deployment
    deployment.close()


def test_every_alert_has_a_cause_here() -> None:
    assert set(CAUSES) | FROM_OUTSIDE == set(ALERTS)


@pytest.mark.timeout(280)
def test_every_alert_fires_by_its_cause_and_clears_without_it(here: Deployment, tmp_path: Path) -> None:
    with prometheus.running(tmp_path / "prometheus", target=here.target, token=TOKEN) as watcher:
        patience.until(lambda: watcher.evaluated() > 5, "it was scraped some times", within_s=90)
        patience.until(lambda: not watcher.firing(), "nothing is wrong yet")  # a late scrape of a busy machine passes
        undo = [cause(here) for cause in dict.fromkeys(CAUSES.values())]
        ask_what_breaks(here)
        fired: set[str] = set()
        wanted = set(ALERTS) - {"KaanNotAnswering"}

        def all_fired() -> bool:
            fired.update(watcher.firing())
            return fired >= wanted

        try:
            patience.until(all_fired, "every alert fires", within_s=90)
        except AssertionError:
            pytest.fail(f"did not fire: {sorted(wanted - fired)}")
        for each in reversed(undo):
            each()
        try:
            patience.until(lambda: not watcher.firing(), "every alert clears", within_s=90, every_s=0.3)
        except AssertionError:
            pytest.fail(f"did not clear: {sorted(watcher.firing())}")
        here.server.shutdown()
        here.server.server_close()
        patience.until(lambda: watcher.firing() == {"KaanNotAnswering"}, "it is noticed that nobody answers")


def ask_what_breaks(here: Deployment) -> None:
    """Somebody has renamed a table of ours."""
    client, header = here.server.app.test_client(), {"Authorization": f"Bearer {TOKEN}"}
    for old, new in (("voice_clips", "other"), ("other", "voice_clips")):
        with here.database.transaction() as connection:
            connection.execute(sa.text(f"ALTER TABLE {old} RENAME TO {new}"))
        if new == "other":
            assert [client.get("/api/voices", headers=header).status_code for _ in range(3)] == [503] * 3
