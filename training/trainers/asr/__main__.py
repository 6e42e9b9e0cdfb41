"""`python -m training.trainers.asr FOLDER`: the trainer in a separate process, or in one of several.

A separate process keeps training libraries out of the worker, frees its memory when it ends, and lets another trainer
use another environment.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ml_backend.errors import PermanentError
from training.runs import estimates
from training.runs.workspace import Workspace
from training.trainers import outcome


def main(folder: Path, job: int = 0) -> int:
    workspace = Workspace(folder)
    return outcome.run(workspace, lambda: _trained(workspace, job), too_large=_too_large)


def _trained(workspace: Workspace, job: int) -> dict[str, object]:
    from training.trainers.asr import fine_tuning

    return fine_tuning.train(workspace, report=lambda line: print(line, flush=True), job=job)


def _too_large(workspace: Workspace) -> PermanentError:
    return estimates.too_large(workspace, "The training did not fit into memory.")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:3])))
