"""Everything around the product on this machine, for one test: the product's processes, and what stands behind them.

Processes are started through `tests.faults.launch`, so that a test can arm them. Redis is real; the object store is a
directory or an S3 server; Exotel and Label Studio are scripted.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context, open_context
from ml_backend.settings import Settings
from tests.faults import launch
from tests.faults.history import History
from tests.faults.launch import At, Plan
from tests.servers.redis import free_port

ROOT = Path(__file__).parents[2]
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # a client of its own would read all certificates first
SECRET = "faults-webhook-secret-" + "0" * 12


class Process:
    """One launched process of the product, in a process group of its own, with its log."""

    def __init__(
        self, name: str, command: list[str], environment: dict[str, str], folder: Path, under: Sequence[str] = ()
    ) -> None:
        self.log_path = folder / f"{name}-{time.monotonic_ns()}.log"
        self.name = name
        with self.log_path.open("wb") as output:
            self.popen = subprocess.Popen(
                [*under, sys.executable, "-m", "tests.faults.launch", *command],
                cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def kill(self) -> None:
        """SIGKILL to the process and everything it started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.popen.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


@dataclass
class World:
    """One service and what is around it. `settings` are the environment of every process."""

    folder: Path
    environment: dict[str, str]
    started: list[Process] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    _context: Context | None = None

    def __post_init__(self) -> None:
        base = {
            "DATA_DIR": str(self.folder / "data"),
            "EXOTEL_WEBHOOK_SECRET": SECRET,
            "PSEUDONYM_KEY": "faults-pseudonym-key-" + "0" * 16,
            "MIN_FREE_DISK_MB": "0",
            "PORT": str(self.port),
            "LOG_FORMAT": "json",
        }
        self.environment = {**base, **self.environment}
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        db.upgrade(self.settings.database)
        self.history = History(self.folder / "history.jsonl")

    @property
    def settings(self) -> Settings:
        return Settings(_env_file=None, **{name.lower(): value for name, value in self.environment.items()})

    @property
    def context(self) -> Context:
        """The test's own look at the database and the store."""
        if self._context is None:
            self._context = open_context(self.settings)
        return self._context

    @property
    def points(self) -> Path:
        return self.folder / "points"

    @property
    def clock(self) -> Path:
        return self.folder / "clock"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def callbacks(self) -> str:
        return f"{self.url}/webhooks/exotel/{SECRET}"

    def advance(self, seconds: float) -> None:
        """The processes' calendar goes on by this much."""
        self.clock.write_text(str(float(self.clock.read_text() if self.clock.exists() else 0) + seconds))

    def start(
        self,
        *command: str,
        at: tuple[At, ...] = (),
        without: tuple[str, ...] = (),
        quick: bool = True,
        under: Sequence[str] = (),
        limits: dict[str, float] | None = None,
    ) -> Process:
        """A process of the product: `start("worker", "sync", at=(At("relay.after-push"),))`."""
        removed = Plan.of(os.environ[launch.VARIABLE]).without if launch.VARIABLE in os.environ else ()
        points = self.points / f"{len(self.started)}-{'-'.join(command)}"  # each process counts for itself
        plan = Plan(
            str(points), at=at, without=(*without, *removed), clock=str(self.clock), quick=quick, limits=limits or {}
        )
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": os.environ.get("HOME", "/"),
            **self.environment,
            launch.VARIABLE: plan.text(),
        }
        process = Process(
            "-".join(command) or "kaan", [word for word in command if word], environment, self.folder, under
        )
        self.started.append(process)
        return process

    def serve(self, *command: str, **options: Any) -> Process:
        """The web process, answering."""
        process = self.start(*(command or ("web",)), **options)
        until(lambda: self.healthy() or not process.alive, say=lambda: process.log)
        assert process.alive, process.log
        return process

    def healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        for process in self.started:
            process.kill()
        if self._context is not None:
            follower = getattr(self._context.kept.get("asr"), "_follower", None)
            self._context.kept.clear()
            if follower is not None:
                follower.join(30)  # it reads the database once a second, and so makes its files anew
            self._context.db.dispose()
            self._context = None

    def hits(self) -> dict[str, int]:
        """How often each fail point was reached, by all processes together."""
        total: dict[str, int] = {}
        for folder in self.points.iterdir() if self.points.exists() else ():
            for name, count in launch.hits(folder).items():
                total[name] = total.get(name, 0) + count
        return total

    # --- looking

    def rows(self, table: sa.Table, **wanted: Any) -> list[Any]:
        return list(self.context.db.rows(sa.select(table).order_by(*table.primary_key).filter_by(**wanted)))

    def count(self, table: sa.Table, **wanted: Any) -> int:
        statement = sa.select(sa.func.count()).select_from(table).filter_by(**wanted)
        with self.context.db.reading() as connection:
            return int(connection.execute(statement).scalar_one())

    def jobs(self) -> dict[str, int]:
        """State -> number of jobs."""
        row = tables.jobs.c
        found = self.context.db.rows(sa.select(row.state, sa.func.count().label("n")).group_by(row.state))
        return {one.state: int(one.n) for one in found}

    # --- calls

    def send(self, sid: str, *, client: httpx.Client | None = None, **more: Any) -> int | None:
        """One status callback of an ended call, through the outside ledger."""
        return self.post(callback(sid, **more), client=client)

    def post(self, body: dict[str, Any], *, client: httpx.Client | None = None) -> int | None:
        """A callback as it is, through the outside ledger."""
        raw, sid = json.dumps(body).encode(), str(body.get("CallSid"))
        with contextlib.ExitStack() as stack:
            one = client or stack.enter_context(httpx.Client(timeout=20, verify=PLAIN))
            return self.history.post(one, self.callbacks, raw, call_sid=sid, content_type="application/json")


def callback(sid: str, **more: Any) -> dict[str, Any]:
    """What Exotel posts when a call has ended. The numbers are fictitious."""
    return {
        "CallSid": sid, "EventType": "terminal", "Status": "completed", "Direction": "incoming",
        "From": "00000000101", "To": "00000000202", "DateCreated": "2026-11-22 10:00:00",
        "StartTime": "2026-11-22 10:00:00", "EndTime": "2026-11-22 10:01:00", "ConversationDuration": 60, **more,
    }  # fmt: skip


def sid(number: int | None = None) -> str:
    """A call's id as Exotel makes them: 32 hex digits."""
    return f"{number:032x}" if number is not None else secrets.token_hex(16)


@contextlib.contextmanager
def running(folder: Path, **environment: str) -> Iterator[World]:
    """A world for the length of a block; on failure the logs of its processes are shown."""
    world = World(folder, environment)
    try:
        yield world
    except BaseException:
        for process in world.started:
            print(f"--- {process.log_path.name}\n{process.log[-3000:]}")
        raise
    finally:
        world.stop()


def until(what: Callable[[], Any], *, within_s: float = 60, say: Callable[[], object] = lambda: "") -> None:
    """Wait for a condition, never for luck."""
    deadline = time.monotonic() + within_s
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {within_s} s: {say()}")
        time.sleep(0.03)
