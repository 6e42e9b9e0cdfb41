"""A vector per letter -> a vector per frame. It stands between the two halves of the network, in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_backend.tts.mel import Array

_LONGEST = 400.0  # frames of one letter: six seconds; a broken model must not ask for hours
_LOG_SCALE = 3.0


def whole_frames(expected: Array, *, tempo: float = 1.0) -> npt.NDArray[np.int64]:
    """Expected frames of every letter -> whole ones with the same sum, give or take half a frame."""
    ends = np.cumsum(np.clip(expected / tempo, 0.0, _LONGEST))
    return np.diff(np.round(ends), prepend=0.0).astype(np.int64)


def repeated(vectors: Array, frames: npt.NDArray[np.int64]) -> Array:
    """[letters, width] -> [frames, width]."""
    return np.repeat(vectors, frames, axis=0)


def places(frames: npt.NDArray[np.int64]) -> Array:
    """[frames, 2]: how far into its letter each frame is (-1..1), and how long that letter is."""
    if not frames.sum():
        return np.zeros((0, 2), dtype=np.float32)
    firsts = np.repeat(np.cumsum(frames) - frames, frames)
    lengths = np.repeat(frames, frames)
    within = (np.arange(len(firsts)) - firsts + 0.5) / lengths
    return np.stack([2 * within - 1, np.log(lengths) / _LOG_SCALE], axis=1).astype(np.float32)
