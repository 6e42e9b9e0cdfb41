"""The demo under kill -9, Ctrl-C and a second start."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest
import soundfile
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.db import Database
from sync.demo import bundled_calls
from tests.patience import until
from tests.stack import running
from tests.stack.running import CALLS

pytestmark = pytest.mark.stack

TRICK_ORDER = ("worker-transcribe", "redis", "relay", "worker-sync", "web", "worker-transcribe")


def test_killing_every_process_while_calls_are_transcribed_loses_and_repeats_nothing(stack):
    folder = "killed"
    names = _strangers(stack, folder)
    project_id = stack.create_project("Killed again and again")
    stack.cli("project", "add", str(project_id), f"{bundled_calls.BUCKET}/{folder}")
    for name in TRICK_ORDER:
        pid = until(lambda name=name: _alive(stack, name), f"{name} runs", within_s=90)
        stack.kill(name)
        until(lambda name=name, pid=pid: _alive(stack, name) not in (None, pid), f"{name} runs again", within_s=90)

    def complete():
        tasks = stack.label_studio.tasks(project_id)
        return tasks if len(tasks) >= len(names) and all(task["predictions"] for task in tasks) else None

    tasks = until(complete, "all calls are in Label Studio with their drafts", within_s=400, every_s=2)
    assert len(tasks) == len(names)
    assert {len(task["predictions"]) for task in tasks} == {1}
    database = Database(stack.settings["DATABASE_URL"])
    try:
        mine = sa.select(tables.recordings.c.id).where(tables.recordings.c.object_key.like(f"{folder}/%"))
        counted = sa.select(tables.transcriptions.c.recording_id, sa.func.count()).where(
            tables.transcriptions.c.recording_id.in_(mine)
        )
        rows = database.rows(counted.group_by(tables.transcriptions.c.recording_id))
    finally:
        database.dispose()
    assert [count for _, count in rows] == [1] * len(names)


def test_ctrl_c_stops_everything_and_the_next_start_takes_seconds_and_keeps_the_data(tmp_path_factory, stack):
    before = {p["id"]: p["task_number"] for p in stack.label_studio.projects()}
    mine = _everything_of(stack.folder)
    assert len(mine) >= 6
    stack.process.send_signal(signal.SIGINT)
    assert stack.process.wait(60) == 0
    assert not [p for p in mine if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    took = _start_again(stack)
    after = {p["id"]: p["task_number"] for p in stack.label_studio.projects()}
    assert after == before
    assert took < 90, "a later start has no database to prepare and nothing to transcribe"


def test_a_killed_supervisor_leaves_nothing_behind_and_the_next_start_goes_on(stack):
    mine = _everything_of(stack.folder)
    stack.process.kill()
    stack.process.wait()
    until(
        lambda: not [p for p in mine if p.is_running() and p.status() != psutil.STATUS_ZOMBIE],
        "every program has ended with its supervisor",
        within_s=60,
    )
    _start_again(stack)
    assert stack.cli("jobs", "list").returncode == 0


def test_a_second_demo_in_the_same_folder_is_refused_in_one_sentence(stack):
    done = running.cli("demo", "--headless", "--data-dir", str(stack.folder), check=False)
    assert done.returncode == 2
    assert "already running" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_busy_port_is_refused_in_one_sentence(stack, tmp_path):
    port = stack.facts["label_studio_url"].rpartition(":")[2]
    done = running.cli(
        "demo", "--headless", "--data-dir", str(tmp_path / "d"), "--port", "0", "--label-studio-port", port, check=False
    )
    assert done.returncode == 2
    assert f"Port {port}, for Label Studio, is in use" in done.stderr
    assert "Traceback" not in done.stderr


def _strangers(stack, folder):
    """The bundled calls a little softer, so that their bytes are new and have to be transcribed again."""
    target = Path(stack.settings["OBJECT_STORE"]) / bundled_calls.BUCKET / folder
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    names = []
    for call in bundled_calls.read(CALLS):
        samples, rate_hz = soundfile.read(call.path)
        soundfile.write(target / f"{call.path.stem}.wav", samples * 0.97, rate_hz, subtype="PCM_16")
        names.append(call.path.stem)
    return names


def _alive(stack, name):
    """The program's process id, None while it is down."""
    try:
        process = stack.program(name)
        return process.pid if process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, LookupError, OSError):
        return None


def _everything_of(folder):
    """Every process below the supervisor, and Redis and Label Studio, which hold the folder in their command line."""
    import json

    found = []
    for group in json.loads((folder / "run" / "programs.json").read_text()):
        process = psutil.Process(group["pid"])
        found += [process, *process.children(recursive=True)]
    return found


def _start_again(stack):
    """Bring the same folder up once more, into the same fixture; gives the seconds it took."""
    started = time.monotonic()
    again = running.start(stack.folder)
    stack.process, stack.facts, stack.label_studio = again.process, again.facts, again.label_studio
    return time.monotonic() - started
