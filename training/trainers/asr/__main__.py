"""`python -m training.trainers.asr FOLDER`: the trainer in a separate process, or in one of several.

A separate process keeps training libraries out of the worker, frees its memory when it ends, and lets another trainer
use another environment.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import sys
import traceback
from pathlib import Path

from ml_backend import quantities
from ml_backend.errors import KaanError, PermanentError, RetryableError
from training.runs import estimates
from training.runs.workspace import Workspace
from training.trainers.asr import artefacts

_FIRST_TO_GO = "700"  # of 1000, the kernel's out-of-memory score: a run can be resumed, a call cannot
_NO_MEMORY = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "unable to allocate",
    "alloc_failed", "memoryallocation", "bad_alloc", "bad alloc", "failed to allocate",
)  # fmt: skip
_NO_SPACE_BYTES = 1_000_000  # some libraries report a full disk only as a short file


def main(folder: Path, job: int = 0) -> int:
    workspace = Workspace(folder)
    _first_to_go()
    try:
        result = _trained(workspace, job)
    except KaanError as error:
        return _failed(workspace, error)
    except MemoryError:
        return _failed(workspace, _too_large(workspace))
    except Exception as error:  # libraries report full disk and memory by many kinds of errors
        found = _of_machine(workspace, error)
        if found is None:
            raise
        return _failed(workspace, found)
    if result:  # one of several processes has it
        workspace.write_result(result)
    return 0


def _trained(workspace: Workspace, job: int) -> dict[str, object]:
    from training.trainers.asr import fine_tuning

    return fine_tuning.train(workspace, report=lambda line: print(line, flush=True), job=job)


def _failed(workspace: Workspace, error: KaanError) -> int:
    traceback.print_exc()
    branch = "permanent" if isinstance(error, PermanentError) else "configuration"
    if isinstance(error, RetryableError):
        branch = "retryable"
    workspace.write_result(
        {"state": "failed", "branch": branch, "code": error.code, "sentence": error.sentence, "next": error.next_step}
    )
    return 1


def _of_machine(workspace: Workspace, error: Exception) -> KaanError | None:
    """Our error for no disk space, no memory, or a lost GPU; None for any other error."""
    said = str(error).lower()
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "no space left" in said or shutil.disk_usage(workspace.folder).free < _NO_SPACE_BYTES:
        artefacts.newest(workspace.checkpoints)  # deletes incomplete checkpoints
        return RetryableError(
            "disk-full", "No space is left to train.", "Free some: it goes on from its last whole checkpoint."
        )
    if getattr(error, "errno", None) == errno.ENOMEM or any(words in said for words in _NO_MEMORY):
        return _too_large(workspace)
    if isinstance(error, RuntimeError) and any(name in said for name in ("cuda error", "cuda driver", "cudnn", "nccl")):
        return RetryableError(
            "gpu-lost", f"The GPU failed while training ({quantities.shortened(said.splitlines()[0], 80)}).",
            "It goes on from its last whole checkpoint; look at nvidia-smi.",
        )  # fmt: skip
    return None


def _too_large(workspace: Workspace) -> PermanentError:
    return estimates.too_large(workspace, "The training did not fit into memory.")


def _first_to_go() -> None:
    """Let the kernel kill this process before one that serves calls, when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:3])))
