"""Clean log-mel -> log-mel as on a real line: tempo, vocal tract, level, tilt, noise.

All changes are made on log-mel frames, where adding noise adds powers and a longer vocal tract shifts bands. That takes
a few milliseconds per window, so every window is new in every epoch; on waveforms it would take ten times as long.
"""

from dataclasses import dataclass

import numpy as np

from training.trainers.asr.features import FRAMES_PER_S, Array

LOG10_FLOOR = -10.0
_LN10 = np.float32(np.log(10.0))


@dataclass(frozen=True)
class Strength:
    """How strong the changes are. `noise_share` of the windows get noise, at `snr_db` uniformly."""

    tempo: float = 0.12
    vocal_tract: float = 0.12
    tilt: float = 0.5
    level: tuple[float, float] = (-2.2, 0.5)
    noise_share: float = 0.8
    snr_db: tuple[float, float] = (2.0, 35.0)
    masks: int = 2


def power(normalised: Array) -> Array:
    """Whisper's normalised log-mel -> log10 of the power."""
    return np.asarray(np.asarray(normalised, dtype=np.float32) * 4.0 - 4.0)


def normalised(log_power: Array) -> Array:
    log_power = np.maximum(log_power, LOG10_FLOOR)
    return np.asarray((np.maximum(log_power, log_power.max() - 8.0) + 4.0) / 4.0, dtype=np.float32)


def warped(log_power: Array, tempo: float, bands: Array) -> Array:
    """`tempo` times as fast, with moved bands; linear interpolation along both axes."""
    frames = max(4, round(len(log_power) / tempo))
    at = np.linspace(0, len(log_power) - 1, frames, dtype=np.float32)
    low = at.astype(np.int64)
    high = np.minimum(low + 1, len(log_power) - 1)
    mix = (at - low)[:, None]
    stretched = log_power[low] * (1 - mix) + log_power[high] * mix
    low_band = bands.astype(np.int64)
    high_band = np.minimum(low_band + 1, len(bands) - 1)
    band_mix = (bands - low_band)[None, :].astype(np.float32)
    return np.asarray(stretched[:, low_band] * (1 - band_mix) + stretched[:, high_band] * band_mix)


def moved_bands(factor: float, count: int = 80) -> Array:
    """For each band, its source band when all formants move by `factor`."""
    mel = np.linspace(0.0, 45.245640471924965, count + 2)[1:-1]
    hz = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27)) / factor
    back = np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1e-3) / 1000) / np.log(6.4))
    return np.asarray(np.clip(np.interp(back, mel, np.arange(count)), 0, count - 1))


def with_noise(log_power: Array, noise: Array, snr_db: float) -> Array:
    """Adds the powers; the ratio is over the louder half of the frames, as in `telephone.mixed`."""
    loudness = (10.0**log_power).sum(1)
    speech = float(np.sort(loudness)[loudness.size // 2 :].mean())
    loudness_of_noise = float((10.0**noise).sum(1).mean())
    shift = np.float32(np.log10(max(speech, 1e-9) / max(loudness_of_noise, 1e-9)) - snr_db / 10)
    return np.asarray(np.logaddexp(log_power * _LN10, (noise + shift) * _LN10) / _LN10)


def tilted(log_power: Array, rng: np.random.Generator, amount: float) -> Array:
    """Adds a smooth random frequency response: a slope and one bend over the bands."""
    axis = np.linspace(-1, 1, log_power.shape[1], dtype=np.float32)
    curve = rng.uniform(-amount, amount) * axis + rng.uniform(-amount, amount) / 2 * np.cos(
        np.pi * axis * rng.uniform(0.5, 2)
    )
    return np.asarray(log_power + curve.astype(np.float32))


def masked(mel: Array, rng: np.random.Generator, count: int) -> Array:
    """SpecAugment: `count` stripes of at most 10 bands and of at most 0.16 s, set to the window's mean."""
    mean, bands = mel.mean(), mel.shape[1]
    for _ in range(count):
        width, frames = int(rng.integers(0, 11)), int(rng.integers(0, round(0.16 * FRAMES_PER_S) + 1))
        band, start = int(rng.integers(0, bands - width)), int(rng.integers(0, max(1, len(mel) - frames)))
        mel[:, band : band + width] = mean
        mel[start : start + frames] = mean
    return mel
