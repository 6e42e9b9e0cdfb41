"""Samples -> Quality: how hard a recording is to understand, from a few measurements anyone can check.

Per channel, on 20 ms frames:

    duration_s    duration
    noise_dbfs    10th percentile of the frame levels: the noise floor between words
    speech_share  share of frames 4 dB above that floor and above -55 dBFS
    level_dbfs    mean power of those frames
    snr_db        speech over noise, in -10..60: NIST's frame-energy estimate and WADA-SNR
    clipping      share of samples within 2 % of full scale
    bandwidth_hz  highest 250 Hz band of the speech whose power is within 45 dB of the strongest, at most half the
                  source's rate
    rate_use      bandwidth_hz / half the source's rate: far below 1, the audio was upsampled

Each part in `_SCALES` is mapped to 0..1 between two points (telephone bandwidth scores 1). The channel's score is the
weighted geometric mean, exp(sum of weight x ln(max(0.05, part))), so that one very bad property is not averaged away.
The share of speech says nothing about quality and is not scored. The recording's score is that of its worst channel
with speech, or 0 without speech. The score is an estimate from energies, not a perceptual measure: babble counts as
speech, and a noise gate hides noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend.audio import decoding, envelope

FRAME_S = 0.02
_ABOVE_FLOOR_DB = 4.0
_LEAST_DBFS = -55.0
_LEAST_SPEECH_S = 0.2
_NEAR_FRAMES = 20  # pauses up to this length count as speech
_PAUSE_S, _LEAST_STRETCH_S, _MARGIN_S = 0.6, 0.3, 0.15
_MOST_SPANS = 3000  # four hours of short turns
_FLOOR = 1e-12  # power of digital silence: -120 dBFS
_BAND_HZ = 250
_MOST_FRAMES = 400  # frames of which the samples are read
_FULL = 32768.0
_CLIPPED = int(0.98 * _FULL)
_BLOCK_S = 10.0
_SCALES = {  # name: (value for 0, value for 1, weight)
    "snr_db": (0.0, 30.0, 0.6),
    "clipping": (0.02, 0.0, 0.15),
    "bandwidth_hz": (1000.0, 3000.0, 0.1),
    "level_dbfs": (-50.0, -32.0, 0.08),
    "rate_use": (0.1, 0.4, 0.04),
    "duration_s": (0.3, 1.5, 0.03),
}
_LABELS = ((0.85, "excellent"), (0.6, "good"), (0.35, "fair"), (0.0, "poor"))
_WORST = 0.05  # the least that a part scores, so that the other parts still count

Block = npt.NDArray[np.int16]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """`score` 0..1, its `label`, and the parts of the score per channel."""

    score: float
    label: str
    parts: dict[str, dict[str, float]]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as the recording's row stores them."""
        return {"score": self.score, "label": self.label, "parts": self.parts}


@dataclass(frozen=True)
class Measured:
    """The quality, and per 20 ms frame whether there is speech and the mean power of the louder channel."""

    quality: Quality
    speech: npt.NDArray[np.bool_]
    powers: Numbers
    channels: tuple[npt.NDArray[np.bool_], ...] = ()
    levels: tuple[str, ...] = ()  # per channel, as `envelope` writes them

    def spans(self) -> list[list[float]]:
        """[start_s, end_s, channel] of the stretches with speech, in time order."""
        found = [[*span, channel] for channel, each in enumerate(self.channels) for span in _stretches(each)]
        return sorted(found)[:_MOST_SPANS]


def _stretches(speech: npt.NDArray[np.bool_]) -> list[list[float]]:
    """Stretches of frames with speech; short pauses are included, stretches as short as a click are not."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], speech.astype(np.int8), [0]))))
    joined: list[list[int]] = []
    for begin, end in edges.reshape(-1, 2).tolist():
        if joined and (begin - joined[-1][1]) * FRAME_S < _PAUSE_S:
            joined[-1][1] = end
        else:
            joined.append([begin, end])
    length_s = len(speech) * FRAME_S
    return [
        [round(max(begin * FRAME_S - _MARGIN_S, 0.0), 2), round(min(end * FRAME_S + _MARGIN_S, length_s), 2)]
        for begin, end in joined
        if (end - begin) * FRAME_S >= _LEAST_STRETCH_S
    ]


class _Channel:
    """The measurements of one channel, added block by block."""

    def __init__(self) -> None:
        self.powers: list[Numbers] = []
        self.samples = self.clipped = 0

    def add(self, block: Block, size: int) -> None:
        frames = block[: block.size // size * size].reshape(-1, size).astype(np.float32)
        self.powers.append(np.einsum("ij,ij->i", frames, frames).astype(np.float64) / (size * _FULL**2) + _FLOOR)
        self.samples += block.size
        self.clipped += int(np.count_nonzero(block >= _CLIPPED) + np.count_nonzero(block <= -_CLIPPED))


def measure(samples: npt.NDArray[np.float32], rate_hz: int, *, source_rate_hz: int) -> Quality:
    """Quality of samples [channels, n] in memory. A recording without speech scores 0."""
    channels = np.clip(np.atleast_2d(samples) * _FULL, -_FULL, _FULL - 1).round().astype(np.int16)
    size = int(FRAME_S * rate_hz)
    whole = channels[:, : channels.shape[1] // size * size].reshape(len(channels), -1, size)
    gathered = [_Channel() for _ in channels]
    for channel, each in enumerate(gathered):
        each.add(channels[channel, :], size)
    return _measured(gathered, rate_hz, source_rate_hz, lambda channel, chosen: whole[channel, chosen]).quality


def measure_wav(path: Path, *, source_rate_hz: int) -> Measured:
    """`measure` for a WAV as `decoding.decode` writes it, a few seconds in memory at a time."""
    gathered: list[_Channel] = []
    size = int(FRAME_S * decoding.RATE_HZ)
    for block in decoding.blocks(path, block_s=_BLOCK_S):
        gathered = gathered or [_Channel() for _ in block]
        for channel, each in enumerate(gathered):
            each.add(block[channel, :], size)
    with decoding.frames(path, size=size) as frames:
        return _measured(gathered, decoding.RATE_HZ, source_rate_hz, lambda channel, chosen: frames[chosen, :, channel])


def label_of(score: float) -> str:
    """excellent, good, fair or poor."""
    return next(name for least, name in _LABELS if score >= least)


def _measured(
    gathered: list[_Channel],
    rate_hz: int,
    source_rate_hz: int,
    frames: Callable[[int, npt.NDArray[np.intp]], Block],
) -> Measured:
    parts: dict[str, dict[str, float]] = {}
    speech: npt.NDArray[np.bool_] = np.zeros(0, bool)
    loudest: Numbers = np.zeros(0)
    channels, drawn = [], []
    for channel, each in enumerate(gathered):
        powers = np.concatenate(each.powers) if each.powers else np.zeros(0)
        mine = _speech(powers)
        parts[f"leg_{channel}"] = _parts(each, powers, mine, rate_hz, source_rate_hz, partial(frames, channel))
        channels.append(mine)
        drawn.append(_drawn(powers))
        speech = mine if not channel else speech | mine
        loudest = powers if not channel else np.maximum(loudest, powers)
    scores = [found["score"] for found in parts.values() if found["speech_share"] > 0]
    score = min(scores, default=0.0)
    return Measured(Quality(score, label_of(score), parts), speech, loudest, tuple(channels), tuple(drawn))


def _drawn(powers: Numbers) -> str:
    """The loudest frame of each of PARTS equal stretches of a channel, as letters: its waveform for people."""
    if not powers.size:
        return ""
    starts = np.unique(np.linspace(0, len(powers), envelope.PARTS, endpoint=False).astype(np.intp))
    return envelope.levels(np.maximum.reduceat(powers, starts).tolist())


def _speech(powers: Numbers) -> npt.NDArray[np.bool_]:
    """Which frames hold speech."""
    if not powers.size:
        return np.zeros(0, bool)
    floor = float(np.percentile(powers, 10))
    speech: npt.NDArray[np.bool_] = powers > max(floor * 10 ** (_ABOVE_FLOOR_DB / 10), 10 ** (_LEAST_DBFS / 10))
    return speech if speech.sum() * FRAME_S >= _LEAST_SPEECH_S else np.zeros_like(speech)


def _parts(
    each: _Channel,
    powers: Numbers,
    speech: npt.NDArray[np.bool_],
    rate_hz: int,
    source_rate_hz: int,
    frames: Callable[[npt.NDArray[np.intp]], Block],
) -> dict[str, float]:
    spoken = bool(speech.any())
    floor = float(np.percentile(powers, 10)) if powers.size else _FLOOR
    power = float(powers[speech if spoken else slice(None)].mean()) if powers.size else _FLOOR
    found = {
        "duration_s": each.samples / rate_hz,
        "snr_db": LEAST_DB,
        "level_dbfs": _db(power),
        "noise_dbfs": _db(floor),
        "bandwidth_hz": 0.0,
        "rate_use": 0.0,
        "clipping": each.clipped / max(1, each.samples),
        "speech_share": float(speech.mean()) if spoken else 0.0,
        "score": 0.0,
    }
    if spoken:
        near = np.convolve(speech, np.ones(2 * _NEAR_FRAMES + 1), "same") > 0
        around = frames(_some(near & (powers > 10 * _FLOOR))).astype(np.float32)
        found["snr_db"] = estimate_db(power, floor, around)
        found["bandwidth_hz"] = min(_bandwidth_hz(frames(_some(speech)), rate_hz), source_rate_hz / 2)
        found["rate_use"] = found["bandwidth_hz"] / (source_rate_hz / 2)
        found["score"] = _score(found)
    return {name: round(float(value), 4) for name, value in found.items()}


def _some(chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """At most _MOST_FRAMES of the chosen frames, spread evenly."""
    numbers = np.nonzero(chosen)[0]
    return numbers[:: -(-len(numbers) // _MOST_FRAMES) or 1]


def _score(parts: dict[str, float]) -> float:
    total = 0.0
    for name, (worst, best, weight) in _SCALES.items():
        share = (parts[name] - worst) / (best - worst)
        total += weight * float(np.log(min(1.0, max(_WORST, share))))
    return float(np.exp(total))


def _bandwidth_hz(frames: Block, rate_hz: int) -> float:
    """Bandwidth by the mean spectrum of some frames with speech."""
    windowed = frames.astype(np.float32) * np.hanning(frames.shape[1]).astype(np.float32)
    spectrum = (np.abs(np.fft.rfft(windowed, axis=1)) ** 2).mean(axis=0)
    hz = np.fft.rfftfreq(frames.shape[1], 1 / rate_hz)
    bands = np.array([spectrum[(hz >= low) & (hz < low + _BAND_HZ)].mean() for low in range(0, rate_hz // 2, _BAND_HZ)])
    strong = np.nonzero(bands > bands.max() * 10**-4.5)[0]
    return float((strong[-1] + 1) * _BAND_HZ) if strong.size else 0.0


def _db(power: float) -> float:
    return float(10 * np.log10(max(power, _FLOOR)))


LEAST_DB, MOST_DB = -10.0, 60.0
_WADA_BELOW_DB, _ENERGY_ABOVE_DB = 12.0, 17.0
_WADA_DB = np.arange(-10.0, 22.0, 2.0)
_WADA = (
    0.4120, 0.4146, 0.4197, 0.4281, 0.4415, 0.4612, 0.4881, 0.5229,
    0.5651, 0.6136, 0.6670, 0.7236, 0.7823, 0.8412, 0.8993, 0.9552,
)  # fmt: skip
_SMALLEST = 0.5  # of a 16-bit step: the value used for a sample of 0


def estimate_db(speech_power: float, floor_power: float, samples: npt.NDArray[np.float32]) -> float:
    """The signal-to-noise ratio, -10..60 dB. `samples` hold speech with its short pauses, in 16-bit steps."""
    energy_db = 10 * float(np.log10(max(speech_power - floor_power, 1e-12) / max(floor_power, 1e-12)))
    share = (energy_db - _WADA_BELOW_DB) / (_ENERGY_ABOVE_DB - _WADA_BELOW_DB)
    if share >= 1 or not samples.size:
        return min(MOST_DB, max(LEAST_DB, energy_db))
    share = max(0.0, share)
    return min(MOST_DB, max(LEAST_DB, share * energy_db + (1 - share) * _wada_db(samples)))


def _wada_db(samples: npt.NDArray[np.float32]) -> float:
    amplitudes = np.maximum(np.abs(samples), np.float32(_SMALLEST))
    statistic = np.log(amplitudes.mean(dtype=np.float64)) - np.log(amplitudes).mean(dtype=np.float64)
    return float(np.interp(statistic, _WADA, _WADA_DB))
