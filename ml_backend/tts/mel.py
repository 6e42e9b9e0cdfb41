"""Samples <-> log-mel frames, in numpy. The trainer and the engine use this one formula, so they cannot drift apart.

A frame is `fft` samples under a Hann window, one every `hop`; frame i is centred on sample i * hop. Bands are triangles
on the mel scale of O'Shaughnessy, m = 2595 log10(1 + f / 700), each of unit sum. Values are natural logarithms of
amplitudes, floored.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class MelScale:
    rate_hz: int = 16000
    fft: int = 1024
    hop: int = 256
    bands: int = 80
    low_hz: float = 40.0
    high_hz: float = 7600.0
    floor: float = 1e-5

    @property
    def frame_s(self) -> float:
        return self.hop / self.rate_hz

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def log_mel(samples: Array, scale: MelScale) -> Array:
    """[samples] -> [frames, bands]."""
    magnitude = np.abs(spectrum(samples, scale))
    return np.asarray(np.log(np.maximum(magnitude @ bank(scale).T, scale.floor)), dtype=np.float32)


def spectrum(samples: Array, scale: MelScale) -> npt.NDArray[np.complex64]:
    """Short-time Fourier transform: [samples] -> [frames, fft / 2 + 1]."""
    edge = scale.fft // 2
    padded = np.pad(np.asarray(samples, dtype=np.float32), (edge, edge))
    frames = np.lib.stride_tricks.sliding_window_view(padded, scale.fft)[:: scale.hop]
    return np.asarray(np.fft.rfft(frames * _window(scale.fft), axis=1), dtype=np.complex64)


def samples_of(spectra: npt.NDArray[np.complex64], scale: MelScale) -> Array:
    """The inverse of `spectrum`: least squares over the overlaps (Griffin and Lim, 1984, equation 6)."""
    frames = np.fft.irfft(spectra, scale.fft, axis=1).astype(np.float32) * _window(scale.fft)
    out = _overlapped(frames, scale.hop) / _weights(len(frames), scale)
    edge = scale.fft // 2
    return np.asarray(out[edge : edge + (len(frames) - 1) * scale.hop + 1], dtype=np.float32)


@lru_cache(maxsize=8)
def bank(scale: MelScale) -> Array:
    """[bands, fft / 2 + 1]: what each band takes of each frequency."""
    points = _hertz(np.linspace(_mel(scale.low_hz), _mel(scale.high_hz), scale.bands + 2))
    bins = np.fft.rfftfreq(scale.fft, 1 / scale.rate_hz)
    rising = (bins - points[:-2, None]) / np.diff(points)[:-1, None]
    falling = (points[2:, None] - bins) / np.diff(points)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    nearest = np.abs(bins - points[1:-1, None]).argmin(axis=1)
    thin = triangles.sum(axis=1) < 1e-3  # a band between two bins takes the nearest
    triangles[thin, nearest[thin]] = 1.0
    return np.asarray(triangles / triangles.sum(axis=1, keepdims=True), dtype=np.float32)


@lru_cache(maxsize=8)
def inverse_bank(scale: MelScale) -> Array:
    """[fft / 2 + 1, bands]: the least-squares spectrum of mel bands."""
    return np.asarray(np.linalg.pinv(bank(scale).astype(np.float64)), dtype=np.float32)


def _overlapped(frames: Array, hop: int) -> Array:
    """Sum frames at their places: pieces of one hop are added as whole rows."""
    count, size = frames.shape
    pieces = size // hop
    out = np.zeros((count + pieces - 1, hop), dtype=np.float32)
    for piece in range(pieces):
        out[piece : piece + count] += frames[:, piece * hop : (piece + 1) * hop]
    return out.reshape(-1)


def _weights(count: int, scale: MelScale) -> Array:
    squared = np.broadcast_to(_window(scale.fft) ** 2, (count, scale.fft))
    return np.maximum(_overlapped(np.asarray(squared, dtype=np.float32), scale.hop), 1e-3)


@lru_cache(maxsize=8)
def _window(size: int) -> Array:
    return np.asarray(np.hanning(size + 1)[:-1], dtype=np.float32)


def _mel(hertz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hertz / 700.0))


def _hertz(mel: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0), dtype=np.float64)
