"""Live requests before what a person waits for before bulk, across processes, by marks that die with their process."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ml_backend import db
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile, Transcript
from ml_backend.asr.window_decoding import Decoder
from ml_backend.context import JobContext, open_context
from ml_backend.jobs import device_turns, enqueueing, runner, worker_process
from ml_backend.jobs.device_turns import LIVE_REQUEST, DeviceTurns
from ml_backend.jobs.job_kinds import BULK, LIVE, QUEUES, WAITED_FOR, JobKind
from ml_backend.serving import loaded_models
from ml_backend.settings import Settings
from tests import sounds
from tests.patience import until

ROOT = Path(__file__).parents[3]
MARKS = """
import sys
from pathlib import Path
from ml_backend.jobs.device_turns import DeviceTurns
with DeviceTurns(Path(sys.argv[1])).taken(int(sys.argv[2])):
    print("taken", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def marked(path: Path, rank: int = LIVE_REQUEST) -> Iterator[subprocess.Popen[str]]:
    """Another process that marks the device."""
    process = subprocess.Popen(
        [sys.executable, "-c", MARKS, str(path), str(rank)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device-turns"


@pytest.fixture
def turns(path: Path) -> DeviceTurns:
    return DeviceTurns(path)


def test_who_goes_first_is_seen_from_other_processes_by_rank(path: Path, turns: DeviceTurns) -> None:
    assert not turns.is_taken()
    with marked(path, WAITED_FOR):
        assert turns.is_taken(before=BULK)
        assert turns.is_taken(before=LIVE)
        assert not turns.is_taken(before=WAITED_FOR), "a person's request does not wait for another person's"
        with marked(path):
            assert turns.is_taken(before=WAITED_FOR), "a live request goes before it"
    assert not turns.is_taken()


def test_a_mark_stands_until_the_last_of_several_requests_is_answered(path: Path, turns: DeviceTurns) -> None:
    other = DeviceTurns(path)
    with turns.taken():
        with turns.taken(), other.taken():
            assert turns.is_taken()
        assert other.is_taken(), "one is still inside"
    assert not other.is_taken()


class Noting(DeviceTurns):
    """Tells the test when somebody was seen who goes first."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.waits = threading.Event()

    def is_taken(self, *, before: int = BULK) -> bool:
        taken = super().is_taken(before=before)
        if taken:
            self.waits.set()
        return taken


def test_a_worker_in_the_middle_of_bulk_stands_still_for_a_live_request_and_goes_on_when_its_process_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, asr_device="cpu", asr_threads=1, asr_batch_size=1)
    db.upgrade(settings.database)
    context = open_context(settings)
    turns = context.keep("device-turns", lambda: Noting(tmp_path / "device-turns"))
    monkeypatch.setattr(device_turns, "MOST_S", 600.0)
    clip = Request(sounds.speech("hello, where is my order")[None], DecodingProfile(language="en"))
    batches, answers, stack = list[int](), list[Any](), ExitStack()
    encode = Decoder.encode

    def counted(decoder: Decoder, features: Any) -> Any:
        batches.append(len(features))
        if len(batches) == 2:
            live.append(stack.enter_context(marked(tmp_path / "device-turns")))
        return encode(decoder, features)

    live: list[subprocess.Popen[str]] = []
    with loaded_models.using(context) as transcriber, stack:
        monkeypatch.setattr(Decoder, "encode", counted)
        worker = threading.Thread(target=lambda: answers.extend(transcriber.transcribe([clip] * 4)))
        worker.start()
        until(lambda: turns.waits.is_set() or not worker.is_alive(), "it waits", within_s=60)
        assert (len(batches), answers) == (2, [])
        live[0].kill()
        worker.join(120)
    assert len(batches) >= 4
    assert [type(answer) for answer in answers] == [Transcript] * 4
    context.db.dispose()


def test_nobody_waits_for_ever(path: Path, turns: DeviceTurns, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    real = turns.is_taken
    monkeypatch.setattr(turns, "is_taken", lambda *, before: looks.append(before) or real(before=before))
    monkeypatch.setattr(device_turns, "MOST_S", 0.1)
    with DeviceTurns(path).taken():
        turns.give_way()
        assert looks
        assert set(looks) == {BULK}, "it waited, and went on although the mark stands"
        with turns.job(LIVE, time_limit_s=0.4):
            for _ in range(10):
                turns.give_way()
            looks.clear()
            turns.give_way()
            assert not looks, "a quarter of the job's time was waited: the rest of it runs"


SEEN: list[tuple[bool, int]] = []


def look(context: JobContext, n: int) -> None:
    """A job that notes what others see of it."""
    other = DeviceTurns(context.settings.data_dir / "device-turns")
    SEEN.append((other.is_taken(), device_turns.of(context)._rank))


def test_a_job_marks_the_device_when_a_person_waits_for_it_and_gives_way_by_its_priority(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path)
    db.upgrade(settings.database)
    context = open_context(settings)
    kinds = {queue: JobKind(queue, f"{__name__}.look", queue, 60) for queue in QUEUES}
    SEEN.clear()
    asked = (("transcribe", WAITED_FOR), ("sync", WAITED_FOR), ("transcribe", LIVE), ("training", LIVE))
    for queue, priority in asked:
        with context.db.transaction() as connection:
            enqueueing.enqueue(connection, kinds[queue], priority=priority, n=1)
        runner.run_due(context, kinds=kinds)
    assert SEEN == [(True, WAITED_FOR), (False, BULK), (False, LIVE), (False, LIVE)]
    assert not DeviceTurns(tmp_path / "device-turns").is_taken()
    context.db.dispose()


def test_a_file_that_cannot_be_locked_holds_nobody_up(tmp_path: Path) -> None:
    turns = DeviceTurns(tmp_path / "nowhere" / "device-turns")
    with turns.taken(), turns.job(BULK, time_limit_s=60):
        turns.give_way()
        assert not turns.is_taken()


def test_every_worker_runs_at_a_lower_priority_of_the_operating_system_than_what_answers_requests() -> None:
    niceness = [worker_process.NICENESS[queue] for queue in QUEUES]
    assert niceness == sorted(niceness)
    assert niceness[0] > 0
