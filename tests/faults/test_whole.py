"""F5, F9, F10, F22-F24, F27: from the callback to the task, while recorder, store and workers fail."""

from __future__ import annotations

import hashlib
import http.server
import threading
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from ml_backend import tables
from ml_backend.errors import RetryableError
from ml_backend.jobs import runner
from ml_backend.storage.s3_store import S3Store
from tests.faults import checker
from tests.faults.launch import At
from tests.faults.wholes import BUCKET, CALL, Whole
from tests.faults.world import PLAIN, until


def sound(whole: Whole) -> None:
    assert checker.wrong(whole.context, sent=whole.history.read(), label_studio=whole.studio) == []


def objects(whole: Whole) -> list[str]:
    return [one.key for one in whole.context.store.list(BUCKET)]


def later(monkeypatch: pytest.MonkeyPatch, **span: float) -> None:
    """The calendar of this process goes on."""
    real = tables.now

    def now() -> datetime:
        return real() + timedelta(**span)

    monkeypatch.setattr(tables, "now", now)


def tasked(whole: Whole, count: int = 1) -> bool:
    return [row.state for row in whole.rows(tables.calls)] == ["tasked"] * count


def working(whole: Whole, **options: Any) -> None:
    """Relay and both workers, as processes."""
    whole.start("relay")
    whole.start("worker", "sync", **options)
    whole.start("worker", "transcribe")


@pytest.mark.guard("copies-are-one")
def test_f5_fifty_copies_of_a_callback_become_one_object_and_one_task(whole: Whole) -> None:
    whole.serve()
    body, answers = whole.call(1), []

    def send() -> None:
        with httpx.Client(timeout=30, verify=PLAIN) as client:
            answers.append(whole.post(body, client=client))

    threads = [threading.Thread(target=send) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 50
    whole.run_jobs()
    assert (whole.count(tables.calls), whole.count(tables.recordings), len(objects(whole))) == (1, 1, 1)
    assert tasked(whole)
    assert (whole.count(tables.tasks), len(whole.studio.tasks)) == (1, 1)
    sound(whole)


@pytest.mark.guard("downloads-lie-aside")
def test_f9_a_worker_killed_in_mid_download_leaves_nothing_half_and_the_download_is_repeated(whole: Whole) -> None:
    whole.recorder.set(bandwidth=600)
    whole.report(1)
    whole.start("relay")
    killed = whole.start("worker", "sync")
    until(lambda: whole.recorder.accepted == 1 and whole.rows(tables.jobs, name="fetch-recording")[0].attempt == 1)
    killed.kill()
    whole.context.store.ensure_bucket(BUCKET)
    assert objects(whole) == []
    assert not (whole.settings.data_dir / "spool").exists()
    whole.recorder.heal()
    whole.start("worker", "sync")
    until(lambda: whole.rows(tables.recordings)[0].state in ("stored", "ready"), say=whole.jobs)
    [key] = objects(whole)
    assert whole.context.store.stat(BUCKET, key).size_bytes == CALL.stat().st_size
    sound(whole)


@pytest.mark.guard("the-same-bytes-are-no-conflict")
@pytest.mark.parametrize("place", ["download.before-keep", "original.before-put", "original.after-put"])
def test_f10_a_worker_killed_around_an_upload_leaves_one_whole_object(whole: Whole, place: str) -> None:
    whole.report(1)
    whole.start("relay")
    whole.start("worker", "sync", at=(At(place),))
    until(lambda: whole.rows(tables.recordings)[0].state in ("stored", "ready"), say=whole.jobs)
    assert whole.hits()[place] == 2
    [key] = objects(whole)
    [recording] = whole.rows(tables.recordings)
    assert (recording.object_key, recording.sha256) == (key, hashlib.sha256(CALL.read_bytes()).hexdigest())
    sound(whole)


@pytest.mark.guard("heard-once")
@pytest.mark.parametrize("place", ["download.after-keep", "ingest.before-commit", "transcribe.before-drafts"])
def test_f11_a_worker_killed_between_two_commits_leaves_one_recording_one_transcript_one_task(
    whole: Whole, place: str
) -> None:
    whole.report(1)
    whole.start("relay")
    whole.start("worker", "sync", at=(At(place),))
    transcriber = whole.start("worker", "transcribe", at=(At(place),))
    if place.startswith("transcribe"):
        until(lambda: not transcriber.alive)
        whole.start("worker", "transcribe")
    until(lambda: tasked(whole) and whole.studio.predictions, say=whole.jobs)
    assert whole.hits()[place] >= 2
    counts = [whole.count(table) for table in (tables.recordings, tables.transcriptions, tables.tasks)]
    assert counts == [1, 1, 1] == [len(objects(whole)), len(whole.studio.tasks), len(whole.studio.predictions)]
    sound(whole)


@pytest.mark.guard("spool")
def test_f22_while_the_store_is_down_recordings_wait_in_the_spool_and_go_up_in_order(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole.store.set(down=True)
    for number in (1, 2):
        whole.report(number)
        whole.run_jobs(wait_s=0)
    assert [row.state for row in whole.rows(tables.recordings)] == ["spooled", "spooled"]
    asked = len(whole.provider.asked("recordings"))
    whole.environment["SPOOL_MAX_MB"] = str(2 * CALL.stat().st_size / 1e6)
    whole.stop()
    whole.report(3)
    whole.run_jobs(wait_s=0)
    assert len(whole.provider.asked("recordings")) == asked  # nothing more is fetched than can be kept
    assert whole.rows(tables.calls)[2].reason_code == "spool-full"
    sound_so_far = [line for line in checker.wrong(whole.context) if not line.startswith("I3")]
    assert sound_so_far == []

    later(monkeypatch, hours=12)
    whole.store.heal()
    whole.provider.recordings.clear()  # by now the provider has deleted its own
    whole.due_schedules()
    whole.run_jobs(wait_s=0)
    spooled = whole.rows(tables.recordings)[:2]
    assert [row.state for row in spooled] == ["ready", "ready"]
    assert not list((whole.settings.data_dir / "spool").iterdir())
    sound(whole)


@pytest.mark.guard("spool")
@pytest.mark.parametrize("place", ["spool.before-rename", "spool.after-stored"])
def test_f22_a_worker_killed_beside_the_spool_keeps_the_recording(whole: Whole, place: str) -> None:
    whole.store.set(down=True)
    whole.report(1)
    whole.start("relay")
    whole.start("worker", "sync", at=(At(place),))
    until(lambda: whole.rows(tables.recordings)[0].state == "spooled", say=whole.jobs)
    whole.store.heal()
    until(lambda: whole.rows(tables.recordings)[0].state in ("stored", "ready"), say=whole.jobs)
    until(lambda: whole.hits().get(place, 0) >= 1)
    assert len(objects(whole)) == 1
    sound(whole)


@pytest.mark.guard("jobs-end-at-their-limit")
def test_f23_a_store_that_drips_holds_a_job_up_to_its_limit_and_nothing_else(whole: Whole) -> None:
    whole.report(1)
    whole.start("relay")
    whole.start(
        "worker", "sync", at=(At("download.after-keep", do="sleep", seconds=1.0),), limits={"ingest-recording": 2}
    )
    until(lambda: whole.hits().get("download.after-keep"))
    whole.store.set(bandwidth=100)
    until(lambda: any(row.failures for row in whole.rows(tables.jobs, name="ingest-recording")), say=whole.jobs)
    assert whole.rows(tables.jobs, name="ingest-recording")[0].error_code == "time-limit"
    whole.report(2, status="busy")  # needs no store
    whole.store.heal()
    until(lambda: whole.rows(tables.recordings)[0].state == "ready", say=lambda: whole.rows(tables.jobs))
    sound(whole)


@pytest.mark.guard("whole-objects-only")
@pytest.mark.parametrize("fault", [{"limit_data": 3000}, {"reset": True}, {"down": True}], ids=str)
def test_f24_a_store_that_breaks_off_is_tried_again_and_nothing_is_short(whole: Whole, fault: dict[str, Any]) -> None:
    whole.report(1)
    only_fetch(whole)
    whole.store.set(**fault)
    whole.run_jobs(wait_s=0)
    [ingest] = whole.rows(tables.jobs, name="ingest-recording")
    assert (ingest.state, ingest.error_branch) == ("waiting", "retryable")
    assert ingest.error
    assert ingest.next_step
    whole.store.heal()
    whole.context.db.update(tables.jobs, ingest.id, due_at=tables.now())
    whole.run_jobs()
    assert tasked(whole)
    sound(whole)


def only_fetch(whole: Whole) -> None:
    """Until the original is stored, and no further."""
    for row in whole.rows(tables.jobs, name="fetch-recording"):
        runner.Runner(whole.context).run(row.id)
    assert [row.state for row in whole.rows(tables.recordings)] == ["stored"]


@pytest.mark.guard("a-busy-store-is-left-alone")
def test_f24_a_store_that_asks_to_slow_down_is_asked_a_few_times_and_then_later() -> None:
    asked = []

    class SlowDown(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>"
            self.send_response(503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_PUT = do_GET

        def log_message(self, *arguments: Any) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowDown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    store = S3Store(f"127.0.0.1:{server.server_port}", access_key="a", secret_key="b" * 16, secure=False)
    try:
        with pytest.raises(RetryableError) as caught:
            store.put_bytes("calls", "a.txt", b"x")
    finally:
        server.shutdown()
        server.server_close()
    assert caught.value.next_step
    assert len(asked) <= 6
