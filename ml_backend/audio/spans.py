"""Speech frames -> spans: a long call in pieces that a person can work on, cut in pauses.

Greedy from the start: each cut is in the middle of the longest pause on all channels, in the second half of what fits;
without a pause, in the quietest 0.2 s. The last two spans share a short remainder. Pure.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from ml_backend.audio.quality import FRAME_S

_LEAST_PAUSE_FRAMES = 10
_QUIET_FRAMES = 10
_LEAST_SPAN_FRAMES = 50
_GRID_FRAMES = 8  # 160 ms: whole steps of the voice-activity model, so that a span gets the text of the whole call


def spans(
    speech: npt.NDArray[np.bool_], powers: npt.NDArray[np.float64], *, duration_s: float, most_s: float
) -> list[tuple[float, float]]:
    """(start, end) in seconds; they cover the whole duration without gaps, none longer than `most_s`.

    `speech` and `powers` are per frame, over all channels (`quality.Measured`).
    """
    edges, start = [0.0], 0
    most = max(_LEAST_SPAN_FRAMES, int(most_s / FRAME_S))
    total = int(np.ceil(duration_s / FRAME_S))
    while total - start > most:
        left = total - start
        low, high = most // 2, most
        if left <= 1.5 * most:
            low, high = max(left - most + _GRID_FRAMES, left // 4), min(most, left - left // 4)
        start += low + _cut(speech[start + low : start + high], powers[start + low : start + high])
        start -= start % _GRID_FRAMES
        edges.append(round(start * FRAME_S, 3))
    edges.append(round(duration_s, 3))
    return list(itertools.pairwise(edges))


def evenly(duration_s: float, *, most_s: float) -> list[tuple[float, float]]:
    """Spans of equal length, for a call whose pauses are not known."""
    count = max(1, int(np.ceil(duration_s / most_s)))
    grid_s = _GRID_FRAMES * FRAME_S
    edges = [round(duration_s * number / count // grid_s * grid_s, 3) for number in range(count)]
    edges.append(round(duration_s, 3))
    return list(itertools.pairwise(edges))


def _cut(speech: npt.NDArray[np.bool_], powers: npt.NDArray[np.float64]) -> int:
    """The frame at which to cut."""
    if not len(speech):
        return 0
    quiet = np.concatenate(([False], ~speech, [False]))
    changes = np.flatnonzero(quiet[1:] != quiet[:-1])
    begins, ends = changes[::2], changes[1::2]
    if len(begins) and (ends - begins).max() >= _LEAST_PAUSE_FRAMES:
        longest = int(np.argmax(ends - begins))
        return int((begins[longest] + ends[longest]) // 2)
    if len(powers) < _QUIET_FRAMES:
        return len(powers) // 2
    return int(np.argmin(np.convolve(powers, np.ones(_QUIET_FRAMES), "valid"))) + _QUIET_FRAMES // 2
