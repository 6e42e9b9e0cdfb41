"""The servers the measurements ask: the real web process with a bare route beside, and their CPU seconds."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]

SERVER = """
from flask import Response
from ml_backend import settings
from ml_backend.api import server
server.BEAT_S = 1e6
given = settings.load()
class WithBare(server.Server):
    def load(self):
        app = super().load()
        ready = open("ready.json", "rb").read()
        app.add_url_rule("/bare", view_func=lambda: Response(ready, mimetype="application/json"), methods=["POST"])
        return app
WithBare(given).run()
"""


@contextmanager
def serving(folder: Path, **more: str) -> Iterator[tuple[int, int]]:
    """The real server with a bare route beside; (port, pid of its worker process)."""
    port = free_port()
    env = {**environment(folder, port), **more}
    process = subprocess.Popen([sys.executable, "-c", SERVER], cwd=folder, env=env, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield port, children(process.pid)[0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def environment(folder: Path, port: int) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "DATA_DIR": str(folder), "PORT": str(port), "PYTHONPATH": str(ROOT)}


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError("the server did not start")
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_s_of(pid: int) -> float:
    """CPU seconds of a process's living threads, by the scheduler's fine clock."""
    return sum(int(thread.read_text().split()[0]) for thread in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
