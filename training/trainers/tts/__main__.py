"""`python -m training.trainers.tts FOLDER [JOB_PID]`: the trainer of a voice, in a process of its own."""

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
    from training.trainers.tts import voice_tuning

    return voice_tuning.train(workspace, job=job)


def _too_large(workspace: Workspace) -> PermanentError:
    return PermanentError(
        "training-too-large", "The training of the voice did not fit into memory.", "Lower batch_clips, e.g. to 4."
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:3])))
