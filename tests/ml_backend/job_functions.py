"""Jobs for tests: they leave a line in a file for every start and end, and fail, hang or die as they are told.

The file is named by the row's own data folder, so nothing is shared between tests. KINDS is what a worker under test
is given instead of the product's table.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from ml_backend import tables
from ml_backend.context import Context, JobContext, PooledItem
from ml_backend.errors import ConfigurationError, PermanentError, RetryableError
from ml_backend.jobs.job_kinds import JobKind

HERE = "tests.ml_backend.job_functions"


def diary(context: Context) -> list[str]:
    """Everything that happened, in order: `start NAME ATTEMPT`, `end NAME ATTEMPT`."""
    path = context.settings.data_dir / "diary"
    return path.read_text().splitlines() if path.exists() else []


def note(context: Context, line: str) -> None:
    """One line, appended whole."""
    with (context.settings.data_dir / "diary").open("a") as file:
        file.write(line + "\n")


def work(context: JobContext, n: int = 0, seconds: float = 0.0) -> None:
    note(context, f"start {n} {context.attempt}")
    time.sleep(seconds)
    note(context, f"end {n} {context.attempt}")


def until_told(context: JobContext, n: int = 0) -> None:
    """Hangs at its first attempt until the file `go` appears; later attempts finish at once."""
    note(context, f"start {n} {context.attempt}")
    while context.attempt == 1 and not (context.settings.data_dir / "go").exists():
        time.sleep(0.02)
    note(context, f"end {n} {context.attempt}")


def die(context: JobContext, n: int = 0) -> None:
    """Kills its own process, as the kernel does when memory is out."""
    note(context, f"start {n} {context.attempt}")
    os.kill(os.getpid(), signal.SIGKILL)


def fail(context: JobContext, branch: str) -> None:
    note(context, f"start {branch} {context.attempt}")
    if branch == "retryable":
        raise RetryableError("busy", "The other side is busy.", "Wait.", after_s=0.01)
    if branch == "permanent":
        raise PermanentError("not-audio", "This is not audio.", "Look at the file.")
    if branch == "configuration":
        raise ConfigurationError("no-token", "No token is set.", "Set LABEL_STUDIO_API_KEY.")
    if branch == "row gone":
        context.db.row(tables.recordings, 4711)
    if branch == "exit":
        sys.exit("told to end")
    raise ValueError("number 0000 12345678 in the text of an exception")


def fail_then_work(context: JobContext) -> None:
    if context.attempt == 1:
        raise RetryableError("busy", "The other side is busy.", "Wait.", after_s=0)


def hang(context: JobContext) -> None:
    """Hangs in C code."""
    note(context, "hanging")
    ctypes.CDLL(None).sleep(120)


def hang_with_interpreter(context: JobContext) -> None:
    """Hangs in C code without letting any other Python thread run."""
    note(context, "hanging")
    ctypes.PyDLL(None).sleep(120)


def pooled(context: JobContext, items: list[PooledItem]) -> None:
    """Member arguments say what happens: `mood` is fine, die, fail or forget."""
    note(context, "pool " + " ".join(str(item.job_id) for item in items))
    for item in items:
        mood = item.arguments.get("mood", "fine")
        if mood == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if mood == "fail":
            item.failed(PermanentError("not-audio", "This is not audio.", "Look at the file."))
        if mood == "raise":
            raise RuntimeError("the whole call fails")
        if mood == "fine":
            note(context, f"end {item.job_id} {item.attempt}")
            item.done()


def kept(context: JobContext, n: int = 0) -> None:
    """Loads something once per process."""
    loaded = context.keep("model", lambda: note(context, "loaded") or os.getpid())
    note(context, f"with {loaded == os.getpid()}")


def touch(path: str) -> None:
    """What a hostile message would call."""
    Path(path).touch()


def _kind(name: str, queue: str = "sync", *, time_limit_s: float = 60, max_attempts: int = 3) -> JobKind:
    return JobKind(name, f"{HERE}.{name}", queue, time_limit_s, max_attempts=max_attempts)


WORK, UNTIL_TOLD, DIE, FAIL = _kind("work"), _kind("until_told"), _kind("die"), _kind("fail")
FAIL_THEN_WORK = _kind("fail_then_work")
HANG = _kind("hang", time_limit_s=0.5, max_attempts=1)
HANG_WITH_INTERPRETER = _kind("hang_with_interpreter", time_limit_s=0.5, max_attempts=1)
KEPT = _kind("kept", "transcribe")
POOLED = JobKind("pooled", f"{HERE}.pooled", "transcribe", 60, max_attempts=3, pooled=True)
SLOW = JobKind("slow", f"{HERE}.until_told", "transcribe", 60)
GONE = JobKind("gone", f"{HERE}.no_such_function", "sync", 60)

KINDS = {
    kind.name: kind
    for kind in (
        WORK, UNTIL_TOLD, DIE, FAIL, FAIL_THEN_WORK, HANG, HANG_WITH_INTERPRETER, KEPT, POOLED, SLOW, GONE,
    )
}  # fmt: skip
