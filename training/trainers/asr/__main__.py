"""`python -m training.trainers.asr FOLDER`: the trainer in a process of its own, or in one of several.

A process of its own, so that a worker never loads a training library, memory goes back when it ends, and another
trainer may live in another environment.
"""

from __future__ import annotations

import errno
import sys
import traceback
from pathlib import Path

from ml_backend.errors import KaanError, PermanentError, RetryableError
from training.workspace import Workspace


def main(folder: Path, job: int = 0) -> int:
    workspace = Workspace(folder)
    try:
        result = _trained(workspace, job)
    except KaanError as error:
        return _failed(workspace, error)
    except MemoryError:
        return _failed(workspace, _too_large())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _failed(workspace, RetryableError("disk-full", "No space is left to train.", "Free some space."))
    except RuntimeError as error:
        if "out of memory" not in str(error).lower():
            raise
        return _failed(workspace, _too_large())
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


def _too_large() -> PermanentError:
    return PermanentError(
        "training-out-of-memory",
        "The training did not fit into memory.",
        "Lower batch_s and raise accumulation, use LoRA or gradient checkpointing, or a smaller base.",
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:3])))
