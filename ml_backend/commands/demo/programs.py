"""The programs of the demo: started in order, watched, started again when they die, stopped in reverse order.

Each runs in its own process group with its own log file. On Linux the kernel signals a program when the supervisor dies
(`leash`); elsewhere the next start ends the programs that a killed supervisor left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ml_backend.commands.demo import ports
from ml_backend.commands.demo.home import ROOT, DemoFolder, write_private
from ml_backend.errors import KaanError, PermanentError

LEASH = Path(__file__).with_name("leash.py")
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 60.0  # a program that ran this long starts again at once when it dies
STOP_WITHIN_S = 15.0


@dataclass(frozen=True)
class Program:
    """One command with its whole environment. `ready` says whether it serves; None: as soon as it runs.

    A foundation (Redis, Label Studio) is stopped after the programs that stand on it.
    """

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    ready: Callable[[], bool] | None = None
    foundation: bool = False


@dataclass
class _Running:
    program: Program
    process: subprocess.Popen[bytes]
    started: float
    pause_s: float = 1.0
    due: float | None = None  # when to start it again; None while it runs


@dataclass
class Supervisor:
    """Holds the programs. `say` receives one sentence for each event that a person should know."""

    home: DemoFolder
    say: Callable[[str], None]
    stopping: Callable[[], bool] = lambda: False
    running: list[_Running] = field(default_factory=list)

    def start(self, program: Program) -> None:
        """Start a program without waiting until it serves."""
        self.running.append(_Running(program, self._spawn(program), time.monotonic()))
        self._write_down()

    def wait_ready(self, name: str, within_s: float) -> None:
        """Return when the program serves; a program that dies or takes too long is an error with the end of its log."""
        one = next(one for one in self.running if one.program.name == name)
        deadline = time.monotonic() + within_s
        while one.program.ready is not None and not one.program.ready():
            if self.stopping():
                raise KeyboardInterrupt
            code = one.process.poll()
            if code is not None:
                raise self._failed(name, f"{name} ended while starting ({_ending(code)}).")
            if time.monotonic() > deadline:
                raise self._failed(name, f"{name} did not answer within {within_s:.0f} seconds.")
            time.sleep(0.1)

    def watch(self) -> None:
        """Check every program once: note those that ended, restart those that are due."""
        now = time.monotonic()
        for one in self.running:
            if one.due is not None:
                if now >= one.due:
                    one.process, one.started, one.due = self._spawn(one.program), now, None
                    self._write_down()
                continue
            code = one.process.poll()
            if code is None:
                continue
            _end_group(one.process.pid, signal.SIGKILL)  # children it may have left
            one.pause_s = 1.0 if now - one.started > STEADY_AFTER_S else min(one.pause_s * 2, LONGEST_PAUSE_S)
            one.due = now + one.pause_s
            self.say(
                f"{one.program.name} stopped ({_ending(code)}); starting it again in {one.pause_s:.0f} s."
                f" Its log: {self.home.logs / one.program.name}.log"
            )

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop all programs, foundations last; kill those that do not stop in time, or all in a hurry."""
        self._end([one for one in self.running if not one.program.foundation], hurry)
        for one in reversed([one for one in self.running if one.program.foundation]):
            self._end([one], hurry)
        self.running.clear()
        (self.home.run / "programs.json").unlink(missing_ok=True)

    def _end(self, some: list[_Running], hurry: Callable[[], bool]) -> None:
        for one in some:
            _signal(one.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_WITHIN_S
        while any(one.process.poll() is None for one in some) and time.monotonic() < deadline and not hurry():
            time.sleep(0.05)
        for one in some:
            if one.process.poll() is None:
                self.say(f"{one.program.name} did not stop in time; killing it.")
            _end_group(one.process.pid, signal.SIGKILL)  # and children it may have left
            one.process.wait()

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        log = self.home.logs / f"{program.name}.log"
        with log.open("ab") as stream:
            return leashed(program.command, env=program.environment, stdout=stream, stderr=subprocess.STDOUT)

    def _write_down(self) -> None:
        groups = [
            {"name": one.program.name, "pid": one.process.pid, "born": _born(one.process.pid)} for one in self.running
        ]
        write_private(self.home.run / "programs.json", json.dumps(groups))

    def _failed(self, name: str, sentence: str) -> KaanError:
        log = self.home.logs / f"{name}.log"
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-8:] if log.exists() else []
        return PermanentError(
            "program-failed", "\n  | ".join([sentence, *tail]), f"The whole log is {log}; then start the demo again."
        )


def leashed(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a process in its own session, so that Ctrl-C reaches only us; it ends when we end."""
    leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid())]
    return subprocess.Popen([*leash, *command], cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True, **options)


def end_leftovers(home: DemoFolder, *, within_s: float = STOP_WITHIN_S) -> list[str]:
    """End the programs that a killed supervisor left running; returns their names."""
    record = home.run / "programs.json"
    try:
        groups = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []

    def alive() -> list[dict[str, Any]]:
        return [group for group in groups if group["born"] is not None and _born(group["pid"]) == group["born"]]

    found = alive()
    for number, patience_s in ((signal.SIGTERM, within_s), (signal.SIGKILL, 5.0)):
        for group in alive():
            _end_group(group["pid"], number)
        deadline = time.monotonic() + patience_s
        while alive() and time.monotonic() < deadline:
            time.sleep(0.05)
    record.unlink(missing_ok=True)
    return [group["name"] for group in found]


def _born(pid: int) -> float | None:
    """When a process started; with its PID this identifies it."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"killed by {signal.Signals(-code).name}"


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _end_group(leader: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "HF_HOME")
_PASSED_ON = ("ASR_", "DEFAULT_LANGUAGE", "PREDICT_WAIT_S", "LOG_LEVEL")  # what a person may vary in the demo


def environment(home: DemoFolder, *, api_key: str) -> dict[str, str]:
    """The whole environment of one of our processes; also written to demo.env for commands typed by hand."""
    chosen = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    settings = {**chosen, **home.settings(api_key=api_key)}
    write_private(
        home.env_file,
        "# Settings of this demo, written at each start; it holds secrets.\n"
        "# Use: python -m ml_backend --env-file "
        + str(home.env_file)
        + " status\n"
        + "".join(f"{name}='{value}'\n" for name, value in settings.items()),
    )
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, **settings, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "LOG_FORMAT": "text"}


def programs(home: DemoFolder, environment: dict[str, str]) -> list[Program]:
    """Our programs in their start order."""

    def serves() -> bool:
        return ports.answers(home.port, "/health", "UP")

    return [
        Program("relay", command("relay"), environment),
        Program("worker-sync", command("worker", "sync"), environment),
        Program("worker-transcribe", command("worker", "transcribe"), environment),
        Program("live", command("serve"), environment),
        Program("web", command("web"), environment, ready=serves),
    ]


def command(*arguments: str) -> list[str]:
    """`python -m ml_backend ...` with this Python."""
    return [sys.executable, "-m", "ml_backend", *arguments]
