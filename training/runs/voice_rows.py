"""The rows of a voice's training run, in the workspace: recordings with text, voice and emotion.

The audio stands in one file of 16-bit samples, as for the other kinds; the plan's `sample_rate_hz` is its rate.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from training.runs.workspace import NEW, Workspace, write_text

_NEUTRAL = "neutral"


@dataclass(frozen=True)
class VoiceRow:
    """One recording: `samples` audio samples from `first` on. `part` is new or replay, `split` train or validation."""

    id: str
    text: str
    language: str
    voice: str
    emotion: str = _NEUTRAL
    first: int = 0
    samples: int = 0
    split: str = "train"
    part: str = NEW


def write(workspace: Workspace, rows: Iterable[tuple[VoiceRow, npt.NDArray[np.float32]]]) -> list[VoiceRow]:
    """Write the audio, one recording at a time, and the list of rows last."""
    kept, at = [], 0
    with (workspace.folder / "audio.i16").open("wb") as out:
        for row, wave in rows:
            samples = np.clip(np.round(wave * 32767.0), -32768, 32767).astype("<i2")
            out.write(samples.tobytes())
            kept.append(VoiceRow(**{**asdict(row), "first": at, "samples": int(samples.size)}))
            at += samples.size
        out.flush()
        os.fsync(out.fileno())
    lines = "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in kept)
    write_text(workspace.folder / "rows.jsonl", lines)
    return kept


def read(workspace: Workspace) -> list[VoiceRow]:
    path = workspace.folder / "rows.jsonl"
    if not path.is_file():
        return []
    return [VoiceRow(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
