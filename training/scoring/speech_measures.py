"""Samples -> what can be measured of speech without listening to it. Pure numpy; the scale is this project's own.

Distances of spectra are compared between versions, on the same sentences and the same reference recordings, and never
with figures of other tools: window, bands and alignment differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.tts import mel
from ml_backend.tts.mel import Array, MelScale

SCALE = MelScale()
_CEPSTRA = 13
_PITCH_FRAME, _PITCH_HOP = 1024, 320
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 420.0
_VOICED, _NEAR_PEAK = 0.5, 0.9
_QUIET_DB, _LEAST_DBFS = 40.0, -70.0
_CLIPPED = 0.985
_LEVEL = 0.08
_NEVER = np.float32(1e9)


@dataclass(frozen=True)
class SpeechMeasures:
    """Of one recording. `pitch_hz` is the median of voiced frames, None without any; `level_dbfs` of active frames.

    flatness: geometric over arithmetic mean of the spectrum, averaged over active frames: near 0 speech, near 1 noise.
    """

    duration_s: float
    active_s: float
    pitch_hz: float | None
    level_dbfs: float
    clipped_share: float
    silent_share: float
    flatness: float


def measured(samples: Array, rate_hz: int = SCALE.rate_hz) -> SpeechMeasures:
    """Raises nothing: silence and emptiness have figures too."""
    if not len(samples):
        return SpeechMeasures(0.0, 0.0, None, _LEAST_DBFS, 0.0, 1.0, 0.0)
    magnitude = np.abs(mel.spectrum(samples, SCALE))
    power = np.maximum(_powers(samples), 1e-12)
    levels = 10 * np.log10(power)
    active = levels > max(float(np.percentile(levels, 95)) - _QUIET_DB, _LEAST_DBFS)
    edges = np.flatnonzero(active)
    span_s = float((edges[-1] - edges[0] + 1) * SCALE.hop / rate_hz) if edges.size else 0.0
    flatness = np.exp(np.log(np.maximum(magnitude, 1e-9)).mean(axis=1)) / np.maximum(magnitude.mean(axis=1), 1e-9)
    shown = active[: len(flatness)]
    return SpeechMeasures(
        duration_s=len(samples) / rate_hz,
        active_s=span_s,
        pitch_hz=pitch_hz(samples, rate_hz),
        level_dbfs=float(10 * np.log10(power[active].mean())) if edges.size else _LEAST_DBFS,
        clipped_share=float((np.abs(samples) >= _CLIPPED).mean()),
        silent_share=float(1 - active.mean()),
        flatness=float(flatness[: len(shown)][shown].mean()) if edges.size else 1.0,
    )


def pitch_hz(samples: Array, rate_hz: int = SCALE.rate_hz) -> float | None:
    """Median fundamental frequency of the voiced frames, by normalised autocorrelation."""
    if len(samples) < _PITCH_FRAME:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(samples, np.float32), _PITCH_FRAME)[::_PITCH_HOP]
    energy = (frames**2).mean(axis=1)
    frames = frames[energy > 0.05 * float(np.percentile(energy, 95))]
    if not len(frames):
        return None
    frames = frames - frames.mean(axis=1, keepdims=True)
    spectra = np.fft.rfft(frames, 2 * _PITCH_FRAME, axis=1)
    correlation = np.fft.irfft(np.abs(spectra) ** 2, axis=1)[:, :_PITCH_FRAME]
    lags = np.arange(_PITCH_FRAME)
    correlation = correlation / np.maximum(correlation[:, :1], 1e-9) * (_PITCH_FRAME / (_PITCH_FRAME - lags))
    first, last = int(rate_hz / _HIGHEST_HZ), min(int(rate_hz / _LOWEST_HZ), _PITCH_FRAME // 2 + 128)
    window = correlation[:, first:last]
    inner = (window[:, 1:-1] >= window[:, :-2]) & (window[:, 1:-1] >= window[:, 2:])
    best = window.max(axis=1)
    peaks = inner & (window[:, 1:-1] >= _NEAR_PEAK * best[:, None])  # the shortest period among near-equal ones
    voiced = (best > _VOICED) & peaks.any(axis=1)
    if not voiced.any():
        return None
    window, at = window[voiced], peaks[voiced].argmax(axis=1) + 1
    left, middle, right = (window[np.arange(len(at)), at + by] for by in (-1, 0, 1))
    between = 0.5 * (left - right) / np.minimum(left - 2 * middle + right, -1e-9)  # the top of a parabola
    return float(np.median(rate_hz / (at + first + np.clip(between, -0.5, 0.5))))


def semitones(one_hz: float | None, other_hz: float | None) -> float | None:
    return None if not one_hz or not other_hz else float(12 * np.log2(one_hz / other_hz))


def cepstra(samples: Array) -> Array:
    """[frames, 13]: the cosine transform of the log-mel frames without its level, of the active part at one level."""
    power = _powers(samples)
    edges = np.flatnonzero(power > float(np.percentile(power, 95)) * 10 ** (-_QUIET_DB / 10))
    if not edges.size or not power.any():
        return np.zeros((0, _CEPSTRA), dtype=np.float32)
    active = samples[edges[0] * SCALE.hop : (edges[-1] + 1) * SCALE.hop]
    level = np.sqrt(power[edges].mean())
    frames = mel.log_mel(np.asarray(active * (_LEVEL / level), dtype=np.float32), SCALE)
    bands = np.arange(SCALE.bands)
    basis = np.cos(np.pi * np.outer(np.arange(1, _CEPSTRA + 1), bands + 0.5) / SCALE.bands)
    return np.asarray(frames @ (basis.T * np.sqrt(2 / SCALE.bands)), dtype=np.float32)


def distance(one: Array, other: Array) -> float:
    """Mel-cepstral distance of two recordings' `cepstra` along the best path of dynamic time warping (Sakoe and Chiba
    1978, symmetric weights), per step. Zero for the same recording."""
    if not len(one) or not len(other):
        return float(_NEVER)
    squared = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * one @ other.T
    costs = np.sqrt(np.maximum(squared, 0.0))
    rows, columns = costs.shape
    skewed = np.full((rows + columns - 1, rows), _NEVER, dtype=np.float32)  # by anti-diagonal, then row
    for row in range(rows):
        skewed[row : row + columns, row] = costs[row]
    before = np.full(rows + 1, _NEVER, dtype=np.float32)
    last = np.full(rows + 1, _NEVER, dtype=np.float32)
    last[1] = 2 * skewed[0, 0]
    for cost in skewed[1:]:
        now = np.full(rows + 1, _NEVER, dtype=np.float32)
        now[1:] = np.minimum(np.minimum(last[1:], last[:-1]) + cost, before[:-1] + 2 * cost)
        before, last = last, np.minimum(now, _NEVER)
    return float(last[rows] / (rows + columns))


def _powers(samples: Array) -> Array:
    """Mean power of frames of one hop."""
    count = max(1, len(samples) // SCALE.hop)
    padded = samples if len(samples) >= SCALE.hop else np.pad(samples, (0, SCALE.hop - len(samples)))
    return np.asarray((padded[: count * SCALE.hop].reshape(count, SCALE.hop) ** 2).mean(axis=1), dtype=np.float32)
