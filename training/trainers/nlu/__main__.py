"""`python -m training.trainers.nlu FOLDER [JOB_PID]`: the trainer of parsers in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from ml_backend.errors import PermanentError
from training.runs.workspace import Workspace
from training.trainers import outcome


def main(folder: Path, job: int = 0) -> int:
    workspace = Workspace(folder)
    return outcome.run(workspace, lambda: _trained(workspace, job), too_large=_too_large)


def _trained(workspace: Workspace, job: int) -> dict[str, object]:
    from training.trainers.nlu import intent_training

    return intent_training.train(workspace, report=lambda line: print(line, flush=True), job=job)


def _too_large(workspace: Workspace) -> PermanentError:
    return PermanentError(
        "training-out-of-memory", "The training did not fit into memory.",
        "Try --option frozen=embeddings, a smaller batch_rows or max_tokens, or a smaller encoder.",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:3])))
