"""The folder of one training run: the files between the job and the trainer's process.

The job writes `plan.json`, `rows.jsonl` and `audio.i16`, then starts the trainer. The trainer writes checkpoints, its
progress, the trained weights and at the end `result.json`. Both may be killed at any moment, so files are written
atomically, and a lock shows whether a trainer is alive. This module needs no training library, so another kind of
trainer, in its own environment, can use the same folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ml_backend.errors import RetryableError

RATE_HZ = 16000
NEW, REPLAY = "new", "replay"
_LOCK_WAIT_S = 30.0  # a trainer without its job stops at its next step


@dataclass(frozen=True)
class Row:
    """One utterance: the text of `samples` audio samples from `first` on. `part` is new or replay."""

    id: str
    text: str
    language: str
    first: int
    samples: int
    split: str = "train"
    part: str = NEW
    speaker: str = ""

    @property
    def duration_s(self) -> float:
        return self.samples / RATE_HZ


@dataclass(frozen=True)
class Workspace:
    folder: Path

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def weights(self) -> Path:
        """The result as safetensors, with everything needed for further training."""
        return self.folder / "weights"

    @property
    def model(self) -> Path:
        """The result in its served form."""
        return self.folder / "model"

    # --- written by the job

    def write_plan(self, plan: dict[str, Any]) -> None:
        write_json(self.folder / "plan.json", plan)

    def plan(self) -> dict[str, Any]:
        return dict(read_json(self.folder / "plan.json") or {})

    def write_rows(self, rows: Iterable[tuple[Row, npt.NDArray[np.float32]]]) -> list[Row]:
        """Write audio into one file of 16-bit samples, one utterance at a time; the list of rows is written last."""
        kept, at = [], 0
        with (self.folder / "audio.i16").open("wb") as out:
            for row, wave in rows:
                samples = np.clip(np.round(wave * 32767.0), -32768, 32767).astype("<i2")
                out.write(samples.tobytes())
                kept.append(Row(**{**asdict(row), "first": at, "samples": int(samples.size)}))
                at += samples.size
            out.flush()
            os.fsync(out.fileno())
        write_text(self.folder / "rows.jsonl", "".join(json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in kept))
        return kept

    def rows(self) -> list[Row]:
        """The list of rows; empty before it is written."""
        path = self.folder / "rows.jsonl"
        if not path.is_file():
            return []
        return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]

    def audio(self) -> npt.NDArray[np.int16]:
        path = self.folder / "audio.i16"
        if path.stat().st_size == 0:
            return np.zeros(0, dtype="<i2")
        return np.memmap(path, dtype="<i2", mode="r")

    def ask_to_stop(self) -> None:
        (self.folder / "stop").touch()

    def allow(self) -> None:
        (self.folder / "stop").unlink(missing_ok=True)

    @property
    def stop_asked(self) -> bool:
        return (self.folder / "stop").exists()

    # --- written by the trainer

    def say(self, **progress: Any) -> None:
        """Append one line of progress."""
        with (self.folder / "progress.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps(progress) + "\n")

    def progress(self) -> Iterator[dict[str, Any]]:
        """All lines so far, without the truncated last line of a killed trainer."""
        path = self.folder / "progress.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                yield json.loads(line)
            except ValueError:
                continue

    def write_result(self, result: dict[str, Any]) -> None:
        write_json(self.folder / "result.json", result)

    def write_learnt(self, learnt: dict[str, Any]) -> None:
        """Write the training's outcome, when its weights are complete and before they are converted."""
        write_json(self.folder / "learnt.json", learnt)

    def learnt(self) -> dict[str, Any] | None:
        """The training's outcome; None until the weights are complete. Later steps can then be repeated."""
        return read_json(self.folder / "learnt.json") if self.weights.is_dir() else None

    @property
    def begun(self) -> bool:
        """Whether a later attempt can continue from here."""
        return self.weights.is_dir() or any(self.checkpoints.glob("checkpoint-*/seal.json"))

    def result(self) -> dict[str, Any] | None:
        return read_json(self.folder / "result.json")

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Lock the folder for one trainer; yields the file descriptor that the child must inherit. The lock lasts while
        any process has it open, so no second trainer joins one that outlives its job."""
        deadline = time.monotonic() + _LOCK_WAIT_S
        with (self.folder / "lock").open("w") as file:
            while not _taken(file):
                if time.monotonic() > deadline:
                    raise RetryableError(
                        "training-runs-already", "Another process trains in this run's folder.", "Wait for it to end."
                    )
                time.sleep(0.1)
            yield file.fileno()


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def own_pid() -> int:
    return os.getpid()


def orphaned(job: int) -> bool:
    """Whether the job that started this trainer has ended."""
    if os.getppid() == job:
        return False
    try:  # a launcher is between the job and several trainers
        os.kill(job, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return os.getppid() == 1


def write_json(path: Path, value: dict[str, Any]) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write atomically, and durably after a power cut."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
