"""Waveform -> the same waveform over a telephone line; and the noises of lines and rooms.

8 kHz, about 300 to 3400 Hz, companded or compressed by a codec, like Exotel's recordings.
"""

import io

import numpy as np
import soundfile
from scipy.signal import butter, resample_poly, sosfilt

from training.trainers.asr.features import MELS, SAMPLE_RATE_HZ, Array, log_mel

RATE_HZ = 16000
NOISES = ("white", "pink", "brown", "street", "hum", "crackle", "line", "babble", "music")


def narrowband(wave: Array, rng: np.random.Generator, codec: str | None = None) -> Array:
    """16 kHz -> 8 kHz line with a random band edge and codec -> 16 kHz."""
    coded = encoded(to_8k(wave, rng), codec or str(rng.choice(["pcm", "mulaw", "mulaw", "mp3"])))
    return np.asarray(resample_poly(coded, 2, 1), dtype=np.float32)


def to_8k(wave: Array, rng: np.random.Generator) -> Array:
    low, high = rng.uniform(150, 350), rng.uniform(3100, 3700)
    narrow = resample_poly(wave, 1, 2)
    band = butter(3, [low, high], "bandpass", fs=RATE_HZ // 2, output="sos")
    return np.asarray(sosfilt(band, narrow), dtype=np.float32)


def encoded(wave_8k: Array, codec: str) -> Array:
    if codec == "mulaw":
        return _mulaw(wave_8k)
    if codec == "mp3":
        return _mp3(wave_8k)
    return wave_8k


def noise(kind: str, length: int, rng: np.random.Generator) -> Array:
    """Unit-power noise at 16 kHz. `babble` is slowly modulated noise; other code makes it from speech."""
    white = rng.standard_normal(length)
    if kind == "white":
        wave = white
    elif kind in ("pink", "brown", "street", "line"):
        wave = _coloured(white, {"pink": 0.5, "brown": 1.0, "street": 0.8, "line": 0.35}[kind])
    elif kind == "hum":
        wave = _hum(length, rng) + 0.1 * white
    elif kind == "crackle":
        wave = 0.15 * white + np.where(rng.random(length) < 0.0008, rng.standard_normal(length) * 8, 0)
    elif kind == "music":
        wave = _music(length, rng)
    elif kind == "babble":
        wave = _coloured(white, 0.7)
    else:
        raise ValueError(f"unknown noise {kind!r}; known: {', '.join(NOISES)}")
    if kind in ("street", "babble"):
        wave = wave * (1 + 0.6 * _slow(length, 0.5 if kind == "street" else 4.0, rng))
    return np.asarray(wave / max(1e-9, float(np.sqrt(np.mean(wave**2)))), dtype=np.float32)


def mixed(wave: Array, noise_wave: Array, snr_db: float) -> Array:
    """Adds unit-power noise at `snr_db` below the speech, whose power is that of its louder half."""
    squares = wave.astype(np.float64) ** 2
    power = float(np.mean(np.sort(squares)[squares.size // 2 :])) if squares.any() else 1e-4
    return np.asarray(wave + noise_wave[: wave.size] * np.sqrt(power / 10 ** (snr_db / 10)), dtype=np.float32)


def _coloured(white: Array, exponent: float) -> Array:
    spectrum = np.fft.rfft(white)
    bins = np.maximum(np.arange(spectrum.size), white.size * 40 / RATE_HZ)
    return np.asarray(np.fft.irfft(spectrum / bins**exponent, white.size))


def _slow(length: int, rate_hz: float, rng: np.random.Generator) -> Array:
    points = rng.standard_normal(max(2, int(length / RATE_HZ * rate_hz) + 2)).clip(-1.5, 1.5)
    return np.asarray(np.interp(np.linspace(0, points.size - 1, length), np.arange(points.size), points))


def _hum(length: int, rng: np.random.Generator) -> Array:
    t = np.arange(length) / RATE_HZ
    wave = np.zeros(length)
    for k in (1, 2, 3, 4, 6, 7, 8, 10):
        wave += rng.uniform(0.2, 1) / k * np.sin(2 * np.pi * 50 * k * t + rng.uniform(0, 6))
    return wave


def _music(length: int, rng: np.random.Generator) -> Array:
    """Decaying three-note chords that change every 0.4 s, similar to hold music."""
    t = np.arange(int(0.4 * RATE_HZ)) / RATE_HZ
    wave = np.zeros(length + t.size)
    for start in range(0, length, t.size):
        root = 220 * 2 ** (rng.integers(0, 15) / 12)
        for step in (0, 4, 7):
            tone = sum(np.sin(2 * np.pi * root * 2 ** (step / 12) * k * t) / k**1.5 for k in (1, 2, 3, 4))
            wave[start : start + t.size] += tone * np.exp(-2.5 * t)
    return wave[:length]


def _mulaw(wave: Array) -> Array:
    mu, clipped = 255.0, np.clip(wave, -1, 1)
    code = np.sign(clipped) * np.log1p(mu * np.abs(clipped)) / np.log1p(mu)
    code = np.round(code * 127) / 127
    return np.asarray(np.sign(code) * np.expm1(np.abs(code) * np.log1p(mu)) / mu, dtype=np.float32)


def _mp3(wave_8k: Array) -> Array:
    buffer = io.BytesIO()
    soundfile.write(buffer, wave_8k, RATE_HZ // 2, format="MP3")
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32")
    return np.pad(decoded, (0, max(0, wave_8k.size - decoded.size)))[: wave_8k.size]


LEVEL = 0.1


def bank(
    rng: np.random.Generator, *, seconds: int = 24, mels: int = MELS, more: dict[str, Array] | None = None
) -> list[tuple[str, Array]]:
    """(kind, frames) twice per kind: direct, then telephone. `more`: waves of unit power by kind."""
    waves = {kind: noise(kind, seconds * SAMPLE_RATE_HZ, rng) for kind in NOISES}
    waves.update(more or {})
    found = []
    for kind, wave in waves.items():
        for coded in (LEVEL * wave, narrowband(LEVEL * wave, rng, "mulaw")):
            found.append((kind, log_mel(coded, mels).astype(np.float16)))
    return found
