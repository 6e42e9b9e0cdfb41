"""`python -m training.trainers.parler FOLDER [JOB_PID]`: the trainer, run by the interpreter of .venv-parler.

`--check` prints the environment's versions, or why it cannot train, without a workspace.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ml_backend.errors import KaanError, PermanentError
from training.runs.workspace import Workspace
from training.trainers import outcome


def main(folder: Path, job: int = 0) -> int:
    workspace = Workspace(folder)
    return outcome.run(workspace, lambda: _trained(workspace, job), too_large=_too_large)


def check() -> int:
    """The versions, after everything that training needs was imported."""
    from training.trainers.parler import parler_library

    try:
        parler_library.library()
        from training.trainers.parler import parler_training
    except KaanError as error:
        print(json.dumps(outcome.failure(error)))
        return 1
    print(json.dumps({"state": "done", "versions": parler_library.require(), "trainer": parler_training.__name__}))
    return 0


def _trained(workspace: Workspace, job: int) -> dict[str, object]:
    from training.trainers.parler import parler_library

    parler_library.library()  # says what is missing before anything else is imported
    from training.trainers.parler import parler_training

    return parler_training.train(workspace, report=lambda line: print(line, flush=True), job=job)


def _too_large(_: Workspace) -> PermanentError:
    from training.trainers.parler import parler_speech

    return parler_speech.too_large()


if __name__ == "__main__":
    sys.exit(check() if sys.argv[1:] == ["--check"] else main(Path(sys.argv[1]), *map(int, sys.argv[2:3])))
