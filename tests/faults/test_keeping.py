"""F21, F27, F51, F59: memory runs out, objects vanish, the database comes from a backup; and no secret anywhere."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from minio import Minio

from ml_backend import tables
from ml_backend.commands import command_line
from ml_backend.jobs import enqueueing, job_kinds, runner
from tests.faults import canaries, checker
from tests.faults.launch import At
from tests.faults.wholes import BUCKET, CALL, Whole
from tests.faults.world import ROOT, until


def sound(whole: Whole) -> None:
    assert checker.wrong(whole.context, sent=whole.history.read(), label_studio=whole.studio) == []


@pytest.mark.guard("after-a-death-alone")
def test_f21_calls_that_are_too_much_together_are_heard_one_by_one_after_the_death(whole: Whole) -> None:
    """Nobody knows what a process was killed for; from then on its calls get the least memory a call can have."""
    for number in (1, 2):
        whole.report(number, audio=CALL.read_bytes() + bytes(number))
    runner.run_due(whole.context, queues=("sync",))
    assert len(whole.rows(tables.jobs, name="transcribe-recording", state="waiting")) == 2
    whole.start("relay")
    pooled = whole.start("worker", "transcribe", at=(At("before:ml_backend.asr.engine.Transcriber.transcribe"),))
    until(lambda: not pooled.alive, say=whole.jobs)
    assert [row.attempt for row in whole.rows(tables.jobs, name="transcribe-recording")] == [1, 1]
    alone = whole.start("worker", "transcribe")
    until(lambda: {row.state for row in whole.rows(tables.jobs, name="transcribe-recording")} == {"done"})
    ended = whole.rows(tables.jobs, name="transcribe-recording")
    assert [(row.attempt, row.deaths) for row in ended] == [(2, 1)] * 2
    assert whole.count(tables.transcriptions) == 2
    until(lambda: sum(_members(alone.log)) >= 2)
    assert _members(alone.log)[:2] == [1, 1]
    sound(whole)


def _members(log: str) -> list[int]:
    """How many calls were heard together, each time."""
    said = [json.loads(line) for line in log.splitlines() if '"transcribe-recording"' in line]
    return [line["members"] for line in said if line["event"] == "job ran"]


@pytest.mark.guard("deaths-are-counted")
def test_f21_a_transcriber_killed_for_memory_again_and_again_sets_the_call_aside_and_hears_the_next(
    whole: Whole,
) -> None:
    whole.report(1)
    whole.start("relay")
    whole.start("worker", "sync")
    for _ in range(3):  # what the kernel does when memory is out
        transcriber = whole.start("worker", "transcribe", at=(At("runner.after-take"),))
        until(lambda one=transcriber: not one.alive, say=whole.jobs)
    until(lambda: whole.rows(tables.jobs, name="transcribe-recording")[0].state == "quarantined", say=whole.jobs)
    [aside] = whole.rows(tables.jobs, name="transcribe-recording")
    assert "3 times" in aside.error
    assert aside.next_step
    whole.start("worker", "transcribe")
    whole.report(2, audio=(ROOT / "ml_backend/bundled/calls/en-short-price.mp3").read_bytes() + b"\0")
    until(lambda: whole.count(tables.transcriptions) == 1, say=whole.jobs)
    assert checker.tasks(whole.context, whole.studio) == []


@pytest.mark.guard("nightly-check")
@pytest.mark.parametrize("damage", ["deleted", "altered"])
def test_f27_a_stored_object_that_vanishes_or_changes_is_found_at_night_and_fetched_again_or_lost_loudly(
    whole: Whole, damage: str
) -> None:
    for number in (1, 2):
        whole.report(number)
    whole.run_jobs(wait_s=0)
    kept, doomed = whole.rows(tables.recordings)
    for row in (kept, doomed):
        _damage(whole, row.object_key, damage)
    whole.provider.recordings.pop(doomed.source_identity.rpartition(":")[2])  # the provider has one of them still
    with whole.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.VERIFY_OBJECTS, key="0", after_id=0)
    whole.run_jobs(wait_s=0)
    again, gone = whole.rows(tables.recordings)
    assert again.state == "ready"
    assert gone.state == "found"
    [call] = [row for row in whole.rows(tables.calls) if row.id == gone.call_id]
    assert call.next_action
    assert call.due_at
    assert gone.reason_code or call.reason_code
    sound(whole)


def _damage(whole: Whole, key: str, damage: str) -> None:
    """Somebody with other tools."""
    client = Minio(whole.store.address, access_key="other", secret_key="other-tools", secure=False)
    client.remove_object(BUCKET, key)
    if damage == "altered":
        client.put_object(BUCKET, key, io.BytesIO(b"other bytes"), 11)


@pytest.mark.guard("listing-is-read")
@pytest.mark.parametrize("first", ["listing", "store", "annotations"])
def test_f51_after_a_restore_the_listing_fills_the_gap_and_objects_without_rows_are_joined_again(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    folder = tmp_path / "data"
    whole.environment |= {"OBJECT_STORE": str(folder / "objects"), "LABEL_STUDIO_LOCAL_FILES_ROOT": str(folder)}
    whole.stop()
    whole.report(1)
    whole.run_jobs()
    for name, value in whole.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert command_line.main(["backup", str(tmp_path / "copy.tar.gz")]) == 0
    whole.report(2, audio=(ROOT / "ml_backend/bundled/calls/mr-new-address.wav").read_bytes())
    whole.run_jobs()
    before = {row.call_sid: row.state for row in whole.rows(tables.calls)}
    assert len(before) == 2
    named = {row.id: row.call_sid for row in whole.rows(tables.recordings)}
    tasks = {named[row.recording_id]: row.ls_task_id for row in whole.rows(tables.tasks)}
    for call_sid, task_id in tasks.items():
        whole.studio.annotate(task_id, f"what was said in {call_sid}")

    objects = tmp_path / "objects-that-survived"
    whole.stop()
    shutil.copytree(folder / "objects", objects)
    shutil.rmtree(folder)
    assert command_line.main(["restore", str(tmp_path / "copy.tar.gz")]) == 0
    shutil.copytree(objects, folder / "objects", dirs_exist_ok=True)  # originals lie on other disks
    assert {row.call_sid for row in whole.rows(tables.calls)} < before.keys()
    unheard = whole.call(3, audio=(ROOT / "ml_backend/bundled/calls/hi-refund-sum.wav").read_bytes())["CallSid"]
    works = {
        "listing": lambda c: enqueueing.enqueue(c, job_kinds.RECONCILE_CALLS, key="2", hours=2),
        "store": lambda c: enqueueing.enqueue(c, job_kinds.SCAN_BUCKET, key=f"{BUCKET}:1", bucket=BUCKET, full=1),
        "annotations": lambda c: enqueueing.enqueue(c, job_kinds.COMPARE_ANNOTATIONS, key="1:1", project_id=1, full=1),
    }
    for name in (first, "listing", "store", "annotations"):
        with whole.context.db.transaction() as connection:
            works[name](connection)
        whole.run_jobs()
    after = {row.call_sid: row.state for row in whole.rows(tables.calls)}
    assert after == before | {unheard: "tasked"}, "nobody called back about the third while all was down"
    assert len(whole.studio.tasks) == 3
    open_ = [row for row in whole.rows(tables.tasks) if row.ls_task_id is not None]
    names = {row.id: row.call_sid for row in whole.rows(tables.recordings)}
    assert {names[row.recording_id] for row in open_} == after.keys(), "each task is over its call again"
    calls_of = {row.id: names[row.recording_id] for row in open_}
    said = {calls_of[row.task_id]: row.text for row in whole.rows(tables.annotations)}
    assert said == {call_sid: f"what was said in {call_sid}" for call_sid in before}
    sound(whole)


@pytest.mark.guard("log-lines-are-masked", "numbers-are-pseudonyms")
def test_f59_no_secret_and_no_number_is_in_any_output(whole: Whole) -> None:
    found = canaries.hunt(whole)
    assert not found, "\n".join(found)
