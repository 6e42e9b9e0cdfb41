"""Workspace -> RowFeatures: the log-mel frames of every row, computed once and stored in half precision.

One core computes about a hundred clips a second: enough for training on a CPU, too slow for a GPU. With the frames on
disk an epoch only reads them. The file is written atomically; without it frames are computed on demand.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from training.runs.workspace import Row, Workspace, read_json, write_json
from training.trainers.asr import telephone
from training.trainers.asr.features import FRAMES_PER_S, SAMPLE_RATE_HZ, Array, log_mel

DIRECT, TELEPHONE = 0, 1
_HOP = SAMPLE_RATE_HZ // FRAMES_PER_S


@dataclass(frozen=True)
class RowFeatures:
    """`mel(number)` returns (frames, mels) of a row as recorded, or as over a telephone line."""

    rows: list[Row]
    audio: Array
    mels: int
    seed: int = 0
    _cache: Array | None = field(default=None, repr=False)
    _starts: Array | None = field(default=None, repr=False)

    def wave(self, number: int) -> Array:
        row = self.rows[number]
        return np.asarray(self.audio[row.first : row.first + row.samples], dtype=np.float32) / np.float32(32767.0)

    def mel(self, number: int, line: int = DIRECT) -> Array:
        if self._cache is None or self._starts is None or line == TELEPHONE:
            return _mel(self, number, line)
        start = int(self._starts[number])
        return np.asarray(self._cache[start : start + frames_of(self.rows[number])], dtype=np.float32)


def frames_of(row: Row) -> int:
    return max(1, row.samples // _HOP)


def open_rows(
    workspace: Workspace, *, mels: int, seed: int, cached: bool, report: Callable[[str], None] = lambda line: None
) -> RowFeatures:
    rows, audio = workspace.rows(), workspace.audio()
    plain = RowFeatures(rows, audio, mels, seed)
    if not cached or not rows:
        return plain
    starts = np.concatenate([[0], np.cumsum([frames_of(row) for row in rows])])
    path, mark = workspace.folder / "features.f16", workspace.folder / "features.json"
    described = {"rows": len(rows), "mels": mels, "frames": int(starts[-1])}
    if read_json(mark) != described or not path.is_file() or path.stat().st_size != described["frames"] * mels * 2:
        report(f"features: {len(rows)} rows, {described['frames'] * mels * 2 / 1e6:.0f} MB")
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        with partial.open("wb") as out:
            for number in range(len(rows)):
                out.write(plain.mel(number).astype(np.float16).tobytes())
        partial.replace(path)
        write_json(mark, described)
    cache = np.memmap(path, dtype=np.float16, mode="r", shape=(described["frames"], mels))
    return RowFeatures(rows, audio, mels, seed, cache, starts)


def _mel(row_features: RowFeatures, number: int, line: int) -> Array:
    wave = row_features.wave(number)
    if line == TELEPHONE:
        wave = telephone.narrowband(wave, np.random.default_rng([row_features.seed, number]))
    frames = frames_of(row_features.rows[number])
    mel = log_mel(wave, row_features.mels)[:frames]
    return np.asarray(np.pad(mel, ((0, frames - len(mel)), (0, 0)), mode="edge"), dtype=np.float32)
