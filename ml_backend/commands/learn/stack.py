"""DATA_DIR -> a running demo: an existing one, or one that this process starts and stops.

A demo that is started here stops with this process; the kernel ends it if this process is killed (`leash`). Its output
goes to a file, so that neither process waits for the other.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ml_backend.commands.demo import ports
from ml_backend.commands.demo.programs import leashed
from ml_backend.errors import ConfigurationError, PermanentError

LOOK_EVERY_S = 0.3
UP_WITHIN_S = 1200.0  # Label Studio's first start on a busy machine, then the bundled calls
STOP_WITHIN_S = 60.0


@dataclass
class Stack:
    """A demo, running. `mine` is its process when it was started here."""

    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    mine: subprocess.Popen[bytes] | None = None
    _log_read: int = 0

    @property
    def env_file(self) -> Path:
        return Path(str(self.facts["env_file"]))

    @property
    def env_file_from_here(self) -> str:
        """The file's path as a person in this folder would type it."""
        near = self.env_file.is_relative_to(Path.cwd())
        return os.path.relpath(self.env_file) if near else str(self.env_file)

    @property
    def label_studio_url(self) -> str:
        return str(self.facts["label_studio_url"])

    @property
    def password(self) -> str:
        return str(json.loads((self.folder / "secrets.json").read_text(encoding="utf-8"))["label_studio_password"])

    @property
    def log(self) -> Path:
        return self.folder / "logs" / "demo.log"

    def news(self) -> list[str]:
        """The lines that our demo printed since the last call."""
        if self.mine is None or not self.log.exists():
            return []
        with self.log.open("rb") as stream:
            stream.seek(self._log_read)
            whole, newline, _ = stream.read().rpartition(b"\n")
        self._log_read += len(whole) + len(newline)
        return whole.decode(errors="replace").splitlines()

    def stop(self) -> None:
        """Stop a demo of our own, as Ctrl-C does; one that ran before keeps running."""
        if self.mine is None or self.mine.poll() is not None:
            return
        self.mine.send_signal(signal.SIGINT)
        try:
            self.mine.wait(STOP_WITHIN_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self.mine.send_signal(signal.SIGTERM)  # a second signal: stop at once
            self.mine.wait()


def running(folder: Path) -> Stack | None:
    """The running demo of this folder, if any."""
    try:
        facts = json.loads((folder / "run" / "ready.json").read_text(encoding="utf-8"))
        if not psutil.pid_exists(int(facts["pid"])):
            return None
        port = int(str(facts["url"]).rpartition(":")[2])
    except (OSError, ValueError, KeyError):
        return None
    return Stack(folder, facts) if ports.answers(port, "/health", "UP") else None


def start(folder: Path, stack: Stack, *, port: int | None, label_studio_port: int | None) -> None:
    """Start a demo of our own without waiting for it."""
    stack.log.parent.mkdir(parents=True, exist_ok=True)
    stack._log_read = stack.log.stat().st_size if stack.log.exists() else 0
    command = [sys.executable, "-m", "ml_backend", "demo", "--headless", "--data-dir", str(folder)]
    for name, value in (("--port", port), ("--label-studio-port", label_studio_port)):
        command += [] if value is None else [name, str(value)]
    with stack.log.open("ab") as stream:
        stack.mine = leashed(command, stdout=stream, stderr=subprocess.STDOUT)


def wait(stack: Stack, say: Callable[[str], None]) -> None:
    """Return when the demo is ready, repeating its output; raises an error if the demo ends."""
    deadline = time.monotonic() + UP_WITHIN_S
    while True:
        for line in stack.news():
            say(line)
        if (found := running(stack.folder)) is not None:
            stack.facts = found.facts
            return
        if stack.mine is not None and (code := stack.mine.poll()) is not None:
            if "demo-running" not in stack.log.read_text(encoding="utf-8", errors="replace")[-2000:]:
                raise ConfigurationError(
                    "demo-failed",
                    f"The demo did not start (exit code {code}); its output is above and in {stack.log}.",
                    "Follow its advice; the same command continues.",
                )
            stack.mine = None  # another process is starting it: wait for that one
        if time.monotonic() > deadline:
            raise PermanentError(
                "demo-slow", f"The demo was not ready after {UP_WITHIN_S / 60:.0f} minutes.", f"See {stack.log}."
            )
        time.sleep(LOOK_EVERY_S)
