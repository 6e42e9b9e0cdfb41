"""`python -m tests.faults.launch COMMAND...`: the product's own command line, in a process that a test has armed.

What is armed stands in the environment variable KAAN_FAULTS (JSON of a `Plan`), which only this file reads: the
product knows neither the variable nor this file. A fail point is a name given to `failpoints.hit`, or
`before:module.function` and `after:module.function` for any function. Hits are counted in files, so that the n-th hit
is the n-th of all processes of a test, forked children included.
"""

from __future__ import annotations

import datetime as dates
import errno
import fcntl
import functools
import importlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

VARIABLE = "KAAN_FAULTS"


@dataclass(frozen=True)
class At:
    """At the `nth` hit of a fail point: kill (this process, SIGKILL), raise, full (disk full), or sleep `seconds`."""

    name: str
    do: str = "kill"
    nth: int = 1
    seconds: float = 0.0
    every: bool = False  # at every hit from the n-th on


@dataclass(frozen=True)
class Plan:
    """What one test does to the processes it starts."""

    folder: str  # hits are counted here
    at: tuple[At, ...] = ()
    without: tuple[str, ...] = ()  # guards that are removed: tests.faults.guards.guards
    clock: str = ""  # a file with the seconds that this process's calendar is ahead
    quick: bool = True  # leases and intervals of a second instead of half a minute
    offline: bool = True  # refuse every address beyond this machine
    limits: dict[str, float] = field(default_factory=dict)  # kind of job -> its time limit in seconds

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str) -> Plan:
        values = json.loads(text)
        return cls(**{**values, "at": tuple(At(**at) for at in values["at"]), "without": tuple(values["without"])})


class FailPointReached(RuntimeError):
    """What `raise` raises: no error of ours, so that the product meets something it does not know."""


@dataclass
class Armed:
    """The action behind `failpoints.hit`."""

    plan: Plan
    places: dict[str, list[At]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        Path(self.plan.folder).mkdir(parents=True, exist_ok=True)
        for at in self.plan.at:
            self.places.setdefault(at.name, []).append(at)

    def __call__(self, name: str) -> None:
        number = self._count(name)
        for at in self.places.get(name, ()):
            if number == at.nth or (at.every and number > at.nth):
                self._act(at)

    def _count(self, name: str) -> int:
        with (Path(self.plan.folder) / name.replace("/", "_")).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(b".")
            file.flush()
            return file.tell()

    def _act(self, at: At) -> None:
        if at.do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif at.do == "sleep":
            time.sleep(at.seconds)
        elif at.do == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        else:
            raise FailPointReached(at.name)


def hits(folder: Path) -> dict[str, int]:
    """How often each fail point was reached so far."""
    return {path.name: path.stat().st_size for path in folder.iterdir()} if folder.exists() else {}


def prepare(text: str | None = None) -> Plan | None:
    """Arm this process as the environment says; None when it says nothing."""
    text = os.environ.get(VARIABLE) if text is None else text
    if not text:
        return None
    plan = Plan.of(text)
    from ml_backend.jobs import failpoints
    from tests.faults.guards import guards

    armed = Armed(plan)
    failpoints.arm(armed)
    for place in armed.places:
        moment, _, path = place.partition(":")
        if path:
            _wrap(moment, path, armed)
    for name in plan.without:
        guards.remove(name)
    if plan.clock:
        shift_clock(Path(plan.clock))
    if plan.quick:
        quicken()
    if plan.limits:
        from ml_backend.jobs import job_kinds

        for name, limit_s in plan.limits.items():
            object.__setattr__(job_kinds.KINDS[name], "time_limit_s", limit_s)
    if plan.offline:
        stay_on_this_machine()
    return plan


def _wrap(moment: str, path: str, armed: Armed) -> None:
    module_name, _, name = path.rpartition(".")
    try:
        owner: Any = importlib.import_module(module_name)
    except ModuleNotFoundError:  # module.Class.method
        module_name, _, class_name = module_name.rpartition(".")
        owner = getattr(importlib.import_module(module_name), class_name)
    real = getattr(owner, name)

    @functools.wraps(real)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        if moment == "before":
            armed(f"before:{path}")
        result = real(*arguments, **options)
        if moment == "after":
            armed(f"after:{path}")
        return result

    setattr(owner, name, wrapped)


def shift_clock(file: Path) -> None:
    """The calendar of this process is ahead by the seconds in `file`, read anew each time; durations stay real."""
    from ml_backend import tables

    class Shifted(dates.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            try:
                ahead_s = float(file.read_text() or 0)
            except (OSError, ValueError):
                ahead_s = 0.0
            return dates.datetime.now(tz) + dates.timedelta(seconds=ahead_s)

    tables.datetime = Shifted  # type: ignore[misc]  # what `tables.now` asks


def quicken() -> None:
    """Leases and intervals short enough to wait for."""
    from ml_backend.jobs import leases, relay

    _defaults(leases.Timing, lease_s=3.0, beat_s=0.5, backoff_s=0.05, report_s=0.0, exit_grace_s=2.0)
    _defaults(relay.RelayTiming, poll_s=0.05, housekeep_s=0.3, missing_s=1.0, seen_s=1.0, schedule_s=1.0)


def _defaults(kind: type, **values: float) -> None:
    names = list(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    old = list(kind.__init__.__defaults__ or ())
    for name, value in values.items():
        old[names.index(name)] = value
    kind.__init__.__defaults__ = tuple(old)  # type: ignore[misc]


_STAYING: list[bool] = []


def stay_on_this_machine() -> None:
    """Every connection to an address beyond this machine is an error of this process from now on."""
    if not _STAYING:
        _STAYING.append(True)
        sys.addaudithook(_refuse_outside)


class WentOutside(AssertionError):
    """A connection off this machine was tried."""


def _refuse_outside(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = str(arguments[1][0])
        if not (host.startswith("127.") or host in ("::1", "localhost", "", "0.0.0.0")):
            raise WentOutside(f"a test tried to connect to {host}")


if __name__ == "__main__":
    prepare()
    from ml_backend.commands.command_line import main

    sys.exit(main(sys.argv[1:]))
