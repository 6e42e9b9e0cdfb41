"""The product's processes with the tests' job kinds and short intervals: `python -m tests.ml_backend.serve ROLE`.

ROLE is relay, worker:QUEUE, or run (everything due, in this process). Settings come from the environment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ml_backend import log, settings
from ml_backend.context import Context, open_context
from ml_backend.jobs import runner, worker_process
from ml_backend.jobs.leases import Timing
from ml_backend.jobs.relay import Relay, RelayTiming
from tests.faults import launch
from tests.ml_backend.job_functions import KINDS

QUICK = Timing(lease_s=2.0, beat_s=0.4, backoff_s=0.05, report_s=0.0, exit_grace_s=1.0)
RELAY = RelayTiming(poll_s=0.05, housekeep_s=0.2, missing_s=1.0, seen_s=1.0)
ROOT = Path(__file__).parents[2]


class Process:
    """One of the product's processes, with its log."""

    def __init__(self, role: str, context: Context, *, redis_url: str = "redis://127.0.0.1:1/0") -> None:
        self.log_path = context.settings.data_dir / f"{role.replace(':', '-')}-{time.monotonic_ns()}.log"
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "DATA_DIR": str(context.settings.data_dir),
            "DATABASE_URL": context.settings.database_url,
            "REDIS_URL": redis_url,
            "CA_FILE": context.settings.ca_file,
            **{name: value for name, value in os.environ.items() if name == launch.VARIABLE},
        }
        with self.log_path.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "tests.ml_backend.serve", role],
                cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to the process and everything it started."""
        for pid in [*_children(self.popen.pid), self.popen.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.popen.wait()

    def children(self) -> list[int]:
        return _children(self.popen.pid)

    def wait(self, timeout_s: float = 60) -> int:
        return self.popen.wait(timeout_s)


@contextlib.contextmanager
def processes(context: Context, *, redis_url: str = "redis://127.0.0.1:1/0") -> Iterator[Callable[[str], Process]]:
    """`start(role)` for the length of a block; whatever still runs at its end is killed."""
    started: list[Process] = []

    def start(role: str) -> Process:
        started.append(Process(role, context, redis_url=redis_url))
        return started[-1]

    try:
        yield start
    except BaseException:
        for process in started:
            print(f"--- {process.log_path.name}\n{process.log[-3000:]}")
        raise
    finally:
        for process in started:
            process.kill()


def until(what: Callable[[], bool], *, timeout_s: float = 60, say: Callable[[], object] = lambda: "") -> None:
    """Wait for a condition, never for luck."""
    deadline = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {timeout_s} s: {say()}")
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def main(role: str) -> None:
    launch.prepare()
    chosen = settings.load()
    log.configure(chosen, role)
    if role == "relay":
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        Relay(open_context(chosen), timing=RELAY, lease_timing=QUICK, schedules=()).run(stop)
    elif role == "run":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit it ignored
        runner.run_due(open_context(chosen), kinds=KINDS, timing=QUICK)
    else:
        worker_process.serve(chosen, role.removeprefix("worker:"), kinds=KINDS, timing=QUICK)


if __name__ == "__main__":
    main(sys.argv[1])
