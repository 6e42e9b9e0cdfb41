"""How a trainer's process ends: every failure becomes `result.json` with a code, a sentence and a next step.

For every kind of trainer and every environment, so it needs no training library.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path

from ml_backend import quantities
from ml_backend.errors import KaanError, PermanentError, RetryableError
from training.runs.workspace import Workspace
from training.trainers import checkpoints

_FIRST_TO_GO = "700"  # of 1000, the kernel's out-of-memory score: a run can be resumed, a call cannot
_NO_MEMORY = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "unable to allocate",
    "alloc_failed", "memoryallocation", "bad_alloc", "bad alloc", "failed to allocate",
)  # fmt: skip
_NO_SPACE_BYTES = 1_000_000  # some libraries report a full disk only as a short file


def run(
    workspace: Workspace,
    train: Callable[[], dict[str, object]],
    *,
    too_large: Callable[[Workspace], PermanentError],
) -> int:
    """Train and write the result; the process's exit code. `train` returns nothing where another process has it."""
    first_to_go()
    try:
        result = train()
    except KaanError as error:
        return _failed(workspace, error)
    except MemoryError:
        return _failed(workspace, too_large(workspace))
    except Exception as error:  # libraries report full disk and memory by many kinds of errors
        found = of_machine(workspace, error, too_large=too_large)
        if found is None:
            raise
        return _failed(workspace, found)
    if result:
        workspace.write_result(result)
    return 0


def of_machine(
    workspace: Workspace, error: Exception, *, too_large: Callable[[Workspace], PermanentError]
) -> KaanError | None:
    """Our error for no disk space, no memory, or a lost GPU; None for any other error."""
    said = str(error).lower()
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "no space left" in said or shutil.disk_usage(workspace.folder).free < _NO_SPACE_BYTES:
        checkpoints.newest(workspace.checkpoints)  # deletes incomplete checkpoints
        return RetryableError(
            "disk-full", "No space is left to train.", "Free some: it goes on from its last whole checkpoint."
        )
    if getattr(error, "errno", None) == errno.ENOMEM or any(words in said for words in _NO_MEMORY):
        return too_large(workspace)
    if isinstance(error, RuntimeError) and any(name in said for name in ("cuda error", "cuda driver", "cudnn", "nccl")):
        return RetryableError(
            "gpu-lost", f"The GPU failed while training ({quantities.shortened(said.splitlines()[0], 80)}).",
            "It goes on from its last whole checkpoint; look at nvidia-smi.",
        )  # fmt: skip
    return None


def first_to_go() -> None:
    """Let the kernel kill this process before one that serves calls, when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)


def failure(error: KaanError) -> dict[str, object]:
    """A failure as a trainer's result says it; the job raises the same error from it."""
    branch = "permanent" if isinstance(error, PermanentError) else "configuration"
    if isinstance(error, RetryableError):
        branch = "retryable"
    said = {"code": error.code, "sentence": error.sentence, "next": error.next_step}
    return {"state": "failed", "branch": branch, **said}


def _failed(workspace: Workspace, error: KaanError) -> int:
    traceback.print_exc()
    workspace.write_result(failure(error))
    return 1
