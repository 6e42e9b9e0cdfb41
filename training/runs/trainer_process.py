"""Workspace -> the trainer's result: start its process, write its progress to the database, stop it when asked.

The trainer inherits the workspace's lock, so that the lock lasts as long as the trainer even if this process is killed.
A trainer without its job stops at its next step.
"""

from __future__ import annotations

import math
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import quantities, settings, tables
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, KaanError, PermanentError, RetryableError
from ml_backend.models import kinds
from ml_backend.models.kinds import Kind
from ml_backend.tables import runs
from training.runs import estimates
from training.runs.workspace import Workspace, own_pid

ROOT = Path(__file__).parents[2]
_KILL_COUNTS = tuple(
    Path(name) for name in ("/proc/vmstat", "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
)
_LOOK_S = 0.5
_BEAT_S = 60.0
_STOP_S = 120.0  # for the last checkpoint, after being asked to stop
_MOST_POINTS, _MOST_FIGURES = 200, 8  # of the curve kept in the row
_NO_FIGURES = ("step", "steps", "eta_s", "at", "rows")
_ERROR = re.compile(r"(\[rank\d+\]: *)?[\w.]+(Error|Exception)\b")
_BRANCHES: dict[str, type[KaanError]] = {
    "retryable": RetryableError, "permanent": PermanentError, "configuration": ConfigurationError,
}  # fmt: skip


def train(
    context: Context, run_id: int, workspace: Workspace, *, lock: int, report: Callable[[float, str], None]
) -> dict[str, Any]:
    """The trainer's `result.json`; its failures are raised as the original errors."""
    kind = kinds.of(context.db.row(runs, run_id).kind)
    workspace.allow()
    (workspace.folder / "result.json").unlink(missing_ok=True)
    log, killed_before = workspace.folder / "trainer.log", _killed_for_memory()
    began_at = log.stat().st_size if log.is_file() else 0
    with log.open("ab") as out:
        trainer = subprocess.Popen(
            _command(context, kind, workspace),
            cwd=ROOT,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            pass_fds=(lock,),
            env=settings.environment_with(kind.settings_prefix, context.settings),
        )
        try:
            _follow(context, run_id, workspace, trainer, report)
        finally:
            if trainer.poll() is None:
                trainer.terminate()
                trainer.wait()
    result = workspace.result()
    if result is None and context.db.row(runs, run_id).cancel_asked:
        return {"state": "stopped"}  # it did not stop by itself in time
    if result is None and _was_killed(trainer.returncode, log, began_at) and _killed_for_memory() > killed_before:
        raise estimates.too_large(workspace, "The system killed the trainer because memory ran out.")
    if result is None:
        raise RetryableError(
            "trainer-died",
            f"The trainer ended without a result (exit code {trainer.returncode}).",
            f"It goes on from its last checkpoint. The end of its log: {_last_line(log)}",
        )
    if result["state"] == "failed":
        raise _BRANCHES[result["branch"]](result["code"], result["sentence"], result["next"])
    return result


def _was_killed(code: int | None, log: Path, began_at: int) -> bool:
    """Whether signal 9 ended the trainer, its shell, or one of several processes of the launcher."""
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return True
    with log.open("rb") as file:
        file.seek(began_at)
        output = file.read()
    return b"SIGKILL" in output or re.search(rb"exitcode *: *-9\b", output) is not None


def _killed_for_memory() -> int:
    """How many processes the kernel has killed for memory, on this machine, else in this control group."""
    counts = []
    for path in _KILL_COUNTS:
        try:
            words = path.read_text(encoding="ascii").split()
            counts.append(int(words[words.index("oom_kill") + 1]))
        except (OSError, ValueError, IndexError):
            continue
    return sum(counts)


def _command(context: Context, kind: Kind, workspace: Workspace) -> list[str]:
    plan = workspace.plan()
    python = kind.interpreter(context.settings, plan)
    module, processes = (
        ["-m", plan.get("trainer", kind.trainer), str(workspace.folder), str(own_pid())],
        plan["arguments"].get("processes", 1),
    )
    if processes == 1:
        return [*python, *module]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return [*python, *launcher, *module]


def _follow(
    context: Context, run_id: int, workspace: Workspace, trainer: subprocess.Popen[bytes], report: Callable[..., None]
) -> None:
    reported, deadline, beat = 0, None, time.monotonic()
    while True:
        ended = trainer.poll() is not None
        lines = list(workspace.progress())
        if len(lines) > reported:
            reported = len(lines)
            _update_progress(context, run_id, lines, report)
        if ended:
            return
        if time.monotonic() - beat > _BEAT_S:  # between two lines of a large model: the run is alive
            beat = time.monotonic()
            with context.db.transaction() as connection:
                connection.execute(sa.update(runs).where(runs.c.id == run_id).values(updated_at=tables.now()))
        if deadline is None and context.db.row(runs, run_id).cancel_asked:
            workspace.ask_to_stop()
            deadline = time.monotonic() + _STOP_S
        if deadline is not None and time.monotonic() > deadline:
            return
        time.sleep(_LOOK_S)


def _update_progress(context: Context, run_id: int, lines: list[dict[str, Any]], report: Callable[..., None]) -> None:
    """Update the row's progress: the latest figures, and a thinned curve."""
    steps = [line for line in lines if line.get("step") is not None]
    last = steps[-1] if steps else {}
    validations = [line for line in lines if line["phase"] == "validation"]
    training = [line for line in steps if line["phase"] == "training"]
    progress = {
        "phase": lines[-1]["phase"], "step": last.get("step"), "steps": last.get("steps"),
        "loss": next((line["loss"] for line in reversed(steps) if "loss" in line), None),
        "wer": validations[-1].get("wer") if validations else None,
        "old_wer": validations[-1].get("old_wer") if validations else None,
        "said": validations[-1].get("said") if validations else None,
        "eta_s": next((line["eta_s"] for line in reversed(steps) if "eta_s" in line), None),
        "curve": curve(training, validations),
    }  # fmt: skip
    with context.db.transaction() as connection:
        connection.execute(
            sa.update(runs).where(runs.c.id == run_id).values(progress=progress, updated_at=tables.now())
        )
    report((last.get("step") or 0) / max(1, last.get("steps") or 1), sentence(progress))


def curve(training: list[dict[str, Any]], validations: list[dict[str, Any]]) -> dict[str, list[list[float]]]:
    """The course of a run for its row, so that it is seen from any machine: [step, value] of each figure, thinned.

    `loss` and `learning_rate` are of training, all others of validation, under the trainer's names; `validation_loss`.
    """
    found: dict[str, dict[int, float]] = {}
    for lines, prefix in ((training, ""), (validations, "validation_")):
        for line in lines:
            for name, value in line.items():
                wanted = isinstance(value, int | float) and math.isfinite(value) and name not in _NO_FIGURES
                if wanted and (not prefix or line.get("step") is not None):
                    known = f"{prefix}{name}" if name == "loss" else name
                    found.setdefault(known, {})[int(line["step"])] = value
    return {name: _thinned(sorted(points.items())) for name, points in list(found.items())[:_MOST_FIGURES]}


def _thinned(points: list[tuple[int, float]]) -> list[list[float]]:
    """At most `_MOST_POINTS`, evenly spaced, with the first and the last."""
    if len(points) > _MOST_POINTS:
        last = len(points) - 1
        points = [points[round(place * last / (_MOST_POINTS - 1))] for place in range(_MOST_POINTS)]
    return [list(point) for point in points]


def sentence(progress: dict[str, Any]) -> str:
    """`step 40 of 150, loss 1.21, WER 31.5 %, 2 min left`."""
    parts = [f"step {progress['step']} of {progress['steps']}" if progress.get("steps") else progress["phase"]]
    if progress.get("loss") is not None:
        parts.append(f"loss {progress['loss']:.2f}")
    if progress.get("wer") is not None:
        parts.append(f"WER {100 * progress['wer']:.1f} %")
    if progress.get("said"):  # the score of another kind, in words
        parts.append(str(progress["said"]))
    if progress.get("eta_s"):
        left = progress["eta_s"]
        parts.append(f"{left / 60:.0f} min left" if left > 90 else f"{left:.0f} s left")
    return ", ".join(parts)


def _last_line(log: Path) -> str:
    """The log's last error line: the launcher of several processes ends its log with a frame of its own."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    telling = [line for line in lines if any(letter.isalnum() for letter in line)]
    errors = [line for line in telling if _ERROR.match(line)]
    return quantities.shortened(next(reversed(errors or telling), "it is empty."), 200)
