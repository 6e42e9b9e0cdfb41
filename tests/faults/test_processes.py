"""F8, F11, F18, F20: processes of the product killed with the real command line, between any two lines."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from ml_backend import db, tables
from ml_backend.jobs import enqueueing, job_kinds, transport
from tests.faults import checker
from tests.faults.launch import At
from tests.faults.world import ROOT, World, sid, until

CALL = ROOT / "ml_backend" / "bundled" / "calls" / "en-short-price.mp3"
OTHER = CALL.with_name("mr-new-address.wav")
BUCKET = "call-recordings"


def bring(there: World, *, name: str = "recordings/2026/11/22/one.mp3", call: Path = CALL) -> int:
    """A call's recording lies in the store and waits to be ingested; gives its id."""
    context = there.context
    context.store.ensure_bucket(BUCKET)
    context.store.put_file(BUCKET, name, call)
    with context.db.transaction() as connection:
        values = {
            "source": "object",
            "source_identity": f"s3://{BUCKET}/{name}",
            "bucket": BUCKET,
            "object_key": name,
            "state": "found",
        }
        recording_id, _ = db.insert_once(connection, tables.recordings, values, key=("source", "source_identity"))
        enqueueing.enqueue(connection, job_kinds.INGEST_RECORDING, key=str(recording_id), recording_id=recording_id)
    return recording_id


def heard(there: World) -> int:
    return there.count(tables.transcriptions)


@pytest.mark.guard("leases-run-out")
@pytest.mark.parametrize("place", ["runner.after-take", "runner.before-settle"])
def test_f8_a_worker_killed_between_taking_a_job_and_its_outcome_is_replaced(there: World, place: str) -> None:
    recording_id = bring(there)
    there.start("relay")
    killed = there.start("worker", "sync", at=(At(place),))
    until(lambda: there.count(tables.recordings, state="ready") == 1, say=lambda: there.rows(tables.jobs))
    until(lambda: there.hits().get(place, 0) >= 2, say=there.hits)
    row = there.rows(tables.jobs, name="ingest-recording")[0]
    until(lambda: there.rows(tables.jobs, name="ingest-recording")[0].state == "done", say=lambda: row)
    assert killed.alive  # only its child died
    assert there.rows(tables.recordings)[0].id == recording_id
    assert checker.wrong(there.context) == []


@pytest.mark.guard("heard-once")
@pytest.mark.parametrize(
    "place",
    [
        "before:sync.transcription.transcription._store",
        "after:sync.transcription.transcription._store",
        "runner.before-settle",
    ],
)
def test_f11_a_worker_killed_around_a_transcription_leaves_one(there: World, place: str) -> None:
    bring(there)
    there.start("relay")
    there.start("worker", "sync")
    killed = there.start("worker", "transcribe", at=(At(place),))
    until(lambda: not killed.alive, say=lambda: killed.log)
    there.start("worker", "transcribe")
    until(lambda: there.rows(tables.jobs, name="transcribe-recording")[0].state == "done", say=there.jobs)
    assert heard(there) == 1
    assert checker.wrong(there.context) == []


@pytest.mark.guard("one-attempt-per-message")
@pytest.mark.parametrize("place", ["relay.before-push", "relay.after-push"])
def test_f18_a_relay_killed_beside_a_push_may_push_twice_and_the_job_runs_once(there: World, place: str) -> None:
    bring(there)
    killed = there.start("relay", at=(At(place),))
    until(lambda: not killed.alive, say=lambda: killed.log)
    there.start("relay")
    there.start("worker", "sync")
    until(lambda: there.count(tables.recordings, state="ready") == 1, say=there.jobs)
    until(lambda: there.rows(tables.jobs, name="ingest-recording")[0].state == "done")
    transport.put(transport.connect(there.settings.redis_url), "sync", 1, attempt=0)  # and once more, late
    until(lambda: transport.lying(transport.connect(there.settings.redis_url), "sync") == set())
    bring(
        there, name="recordings/2026/11/22/two.mp3", call=OTHER
    )  # the worker is past the late message when it is done
    until(lambda: there.count(tables.recordings, state="ready") == 2, say=there.jobs)
    assert there.rows(tables.jobs, name="ingest-recording")[0].attempt == 1
    assert checker.wrong(there.context) == []


@pytest.mark.guard("answers-are-finished")
def test_f20_on_sigterm_the_web_process_answers_what_it_has_and_closes(there: World) -> None:
    web, answers = there.serve(at=(At("web.before-commit", do="sleep", seconds=2.0),)), []
    asking = threading.Thread(target=lambda: answers.append(there.send(sid(1))))
    asking.start()
    until(lambda: there.hits().get("web.before-commit"))
    web.popen.send_signal(signal.SIGTERM)
    asking.join()
    assert answers == [200]
    until(lambda: not web.alive, within_s=25, say=lambda: web.log)
    assert web.popen.returncode == 0
    assert [row.call_sid for row in there.rows(tables.events)] == [sid(1)]
    assert there.send(sid(2)) is None
