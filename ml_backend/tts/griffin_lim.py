"""Log-mel frames -> samples: the vocoder that needs no weights.

Griffin and Lim's iteration with momentum (Perraudin, Balazs and Soendergaard, "A fast Griffin-Lim algorithm", WASPAA
2013). Phases start from a fixed seed, so the same frames always give the same samples.
"""

from __future__ import annotations

import numpy as np

from ml_backend.tts import mel
from ml_backend.tts.mel import Array, MelScale

ITERATIONS = 32
_MOMENTUM = 0.99
_SEED = 20_261_130
_TINY = 1e-8


def samples_of(frames: Array, scale: MelScale, *, iterations: int = ITERATIONS) -> Array:
    """[frames, bands] of natural log amplitudes -> [samples]."""
    if not len(frames):
        return np.zeros(0, dtype=np.float32)
    magnitude = np.maximum(np.exp(frames) @ mel.inverse_bank(scale).T, scale.floor).astype(np.float32)
    angles = np.random.default_rng(_SEED).uniform(-np.pi, np.pi, magnitude.shape).astype(np.float32)
    phases = np.exp(1j * angles).astype(np.complex64)
    before = np.zeros_like(phases)
    for _ in range(iterations):
        rebuilt = mel.spectrum(mel.samples_of(magnitude * phases, scale), scale)[: len(magnitude)]
        phases = rebuilt + np.float32(_MOMENTUM) * (rebuilt - before)
        phases /= np.maximum(np.abs(phases), _TINY)
        before = rebuilt
    return mel.samples_of(magnitude * phases, scale)


def limited(samples: Array, *, highest: float = 0.98) -> Array:
    """Turned down where it would clip, unchanged elsewhere."""
    peak = float(np.abs(samples).max(initial=0.0))
    return samples if peak <= highest else np.asarray(samples * (highest / peak), dtype=np.float32)


def faded(samples: Array, length: int) -> Array:
    """Without a click at either end."""
    if len(samples) < 2 * length:
        return samples
    out = samples.copy()
    slope = np.linspace(0, 1, length, dtype=np.float32)
    out[:length] *= slope
    out[-length:] *= slope[::-1]
    return out
