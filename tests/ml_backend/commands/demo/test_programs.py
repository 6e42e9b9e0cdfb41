"""The supervisor of the demo, with real processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ml_backend.commands.demo import home as homes
from ml_backend.commands.demo.programs import Program, Supervisor, end_leftovers
from ml_backend.errors import KaanError
from tests.patience import until

ROOT = Path(__file__).resolve().parents[4]
SLEEP = [sys.executable, "-c", "import time; print('awake', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); print('deaf', flush=True);"
    "time.sleep(600)",
]


@pytest.fixture
def home(tmp_path):
    home = homes.take(tmp_path / "demo", port=0, label_studio_port=0)
    yield home
    home.release()


@pytest.fixture
def supervisor(home):
    supervisor = Supervisor(home, say=lambda sentence: None)
    yield supervisor
    supervisor.stop(hurry=lambda: True)


def program(name, command, **more):
    return Program(name, command, {"PATH": os.environ["PATH"]}, **more)


def processes_of(home):
    """Everything that was started for this demo and is still alive."""
    found = []
    for group in json.loads((home.run / "programs.json").read_text()):
        found += [p for p in psutil.process_iter() if _group_of(p.pid) == group["pid"]]
    return [p for p in found if p.status() != psutil.STATUS_ZOMBIE]


def _group_of(pid):
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def test_a_program_that_dies_is_started_again_and_it_is_said_so(home):
    said = []
    supervisor = Supervisor(home, say=said.append)
    supervisor.start(program("sleeper", SLEEP))
    first = supervisor.running[0].process.pid
    os.kill(first, signal.SIGKILL)
    try:
        until(lambda: supervisor.watch() or said, "the death is noticed")
        assert "sleeper stopped (killed by SIGKILL)" in said[0]
        until(lambda: supervisor.watch() or supervisor.running[0].process.pid != first, "it runs again")
        assert supervisor.running[0].process.poll() is None
    finally:
        supervisor.stop(hurry=lambda: True)


def test_a_program_that_keeps_dying_is_started_less_and_less_often(home):
    said = []
    supervisor = Supervisor(home, say=said.append)
    supervisor.start(program("broken", [sys.executable, "-c", "raise SystemExit(3)"]))
    try:
        until(lambda: supervisor.watch() or len(said) > 1, "it died twice")
        assert "exit code 3" in said[0]
        assert supervisor.running[0].pause_s == 4.0
    finally:
        supervisor.stop()


def test_a_program_that_ends_before_it_serves_shows_the_end_of_its_log(supervisor):
    command = [sys.executable, "-c", "print('the port is gone'); raise SystemExit(7)"]
    supervisor.start(program("server", command, ready=lambda: False))
    with pytest.raises(KaanError, match=r"exit code 7[\s\S]*the port is gone"):
        supervisor.wait_ready("server", 30)


def test_stopping_ends_children_of_a_program_that_does_not_listen(home):
    supervisor = Supervisor(home, say=lambda sentence: None)
    supervisor.start(program("deaf", STUBBORN))
    log = home.logs / "deaf.log"
    until(lambda: log.exists() and "deaf" in log.read_text(), "it ignores SIGTERM")
    alive = processes_of(home)
    assert len(alive) == 2
    supervisor.stop(hurry=lambda: True)
    until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in alive), "all have ended")


SUPERVISE = """
import sys, time
from pathlib import Path
from ml_backend.commands.demo import home as homes
from ml_backend.commands.demo.programs import Program, Supervisor
home = homes.take(Path(sys.argv[1]), port=0, label_studio_port=0)
supervisor = Supervisor(home, say=print)
supervisor.start(Program("sleeper", sys.argv[2:], {"PATH": ""}))
log = home.logs / "sleeper.log"
while not log.stat().st_size:
    time.sleep(0.02)
print("up", flush=True)
time.sleep(600)
"""


def _killed_supervisor(folder, command):
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(folder), *command], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "up\n"
    (group,) = json.loads((folder / "run" / "programs.json").read_text())
    process.kill()
    process.wait()
    process.stdout.close()
    return group["pid"]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells a child of its parent's death on Linux only")
def test_killing_the_supervisor_leaves_nothing_running(tmp_path):
    pid = _killed_supervisor(tmp_path / "demo", SLEEP)
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", "its program ends with it")


def test_the_next_start_ends_what_a_killed_supervisor_left(tmp_path):
    pid = _killed_supervisor(tmp_path / "demo", STUBBORN)
    assert psutil.pid_exists(pid), "it ignores the signal that the kernel sends"
    home = homes.take(tmp_path / "demo", port=0, label_studio_port=0)
    try:
        assert end_leftovers(home, within_s=0.5) == ["sleeper"]
    finally:
        home.release()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"
