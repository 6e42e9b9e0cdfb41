"""Samples -> Quality: how hard a recording is to understand, from a few measurements anyone can check.

Per leg, on 20 ms frames:

    noise_dbfs    10th percentile of the frame levels: the floor between words
    speech_share  share of frames 4 dB above that floor and above -55 dBFS
    level_dbfs    mean power of those frames
    snr_db        (their power - floor power) / floor power, the frame-energy estimate of NIST's STNR tool, in -10..60
    clipping      share of samples within 2 % of full scale
    bandwidth_hz  highest 250 Hz band of the speech whose power is within 45 dB of the strongest, at most half the
                  source's rate

Each is put on 0..1 between two points (`_SCALES`; telephone bandwidth is full marks), and the leg's score is the
weighted geometric mean, so that one ruinous property is not averaged away. The recording's score is that of its worst
leg with speech. It is a rule of thumb on energies, not a perceptual measure: babble counts as speech, and a noise gate
hides noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_FRAME_S = 0.02
_ABOVE_FLOOR_DB = 4.0
_LEAST_DBFS = -55.0
_LEAST_SPEECH_S = 0.2
_FLOOR = 1e-12  # power of digital silence: -120 dBFS
_BAND_HZ = 250
_MOST_SPECTRA = 400
_SCALES = {  # name: (value for 0, value for 1, weight)
    "snr_db": (2.0, 30.0, 0.6),
    "clipping": (0.02, 0.0, 0.2),
    "level_dbfs": (-50.0, -32.0, 0.1),
    "bandwidth_hz": (1000.0, 3000.0, 0.1),
}
_LABELS = ((0.85, "excellent"), (0.6, "good"), (0.35, "fair"), (0.0, "poor"))
_WORST = 0.05  # a part never scores less, so that its neighbours still show

Leg = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Quality:
    """`score` 0..1, its `label`, and per leg the parts it was made of."""

    score: float
    label: str
    parts: dict[str, dict[str, float]]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as the recording's row keeps them."""
        return {"score": self.score, "label": self.label, "parts": self.parts}


def measure(samples: npt.NDArray[np.float32], rate_hz: int, *, source_rate_hz: int) -> Quality:
    """Quality of samples [channels, n]. A recording without speech scores 0."""
    legs = {}
    for channel, leg in enumerate(np.atleast_2d(samples)):
        legs[f"leg_{channel}"] = _parts(leg, rate_hz, source_rate_hz)
    heard = [parts["score"] for parts in legs.values() if parts["speech_share"] > 0]
    score = min(heard, default=0.0)
    return Quality(score, label_of(score), legs)


def label_of(score: float) -> str:
    """excellent, good, fair or poor."""
    return next(name for least, name in _LABELS if score >= least)


def _parts(leg: Leg, rate_hz: int, source_rate_hz: int) -> dict[str, float]:
    size = int(_FRAME_S * rate_hz)
    frames = leg[: leg.size // size * size].reshape(-1, size)
    if not len(frames):
        return _rounded({"snr_db": -10.0, "level_dbfs": -120.0, "noise_dbfs": -120.0, "bandwidth_hz": 0.0,
                         "clipping": 0.0, "speech_share": 0.0, "score": 0.0})  # fmt: skip
    powers = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / size + _FLOOR
    floor = float(np.percentile(powers, 10))
    speech = (powers > floor * 10 ** (_ABOVE_FLOOR_DB / 10)) & (powers > 10 ** (_LEAST_DBFS / 10))
    if speech.sum() * _FRAME_S < _LEAST_SPEECH_S:
        speech[:] = False
    power = float(powers[speech].mean()) if speech.any() else float(powers.mean())
    parts = {
        "snr_db": min(60.0, max(-10.0, _db(max(power - floor, _FLOOR) / floor))) if speech.any() else -10.0,
        "level_dbfs": _db(power),
        "noise_dbfs": _db(floor),
        "bandwidth_hz": min(_bandwidth_hz(frames[speech], rate_hz), source_rate_hz / 2) if speech.any() else 0.0,
        "clipping": float(np.mean(np.abs(leg) >= 0.98)),
        "speech_share": float(speech.mean()),
    }
    parts["score"] = _score(parts) if speech.any() else 0.0
    return _rounded(parts)


def _score(parts: dict[str, float]) -> float:
    total = 0.0
    for name, (worst, best, weight) in _SCALES.items():
        share = (parts[name] - worst) / (best - worst)
        total += weight * float(np.log(min(1.0, max(_WORST, share))))
    return float(np.exp(total))


def _bandwidth_hz(frames: npt.NDArray[np.float32], rate_hz: int) -> float:
    """From the mean spectrum of the loudest-enough frames; at most _MOST_SPECTRA of them are looked at."""
    some = frames[:: max(1, len(frames) // _MOST_SPECTRA)]
    spectrum = (np.abs(np.fft.rfft(some * np.hanning(some.shape[1]).astype(np.float32), axis=1)) ** 2).mean(axis=0)
    hz = np.fft.rfftfreq(some.shape[1], 1 / rate_hz)
    bands = np.array([spectrum[(hz >= low) & (hz < low + _BAND_HZ)].mean() for low in range(0, rate_hz // 2, _BAND_HZ)])
    strong = np.nonzero(bands > bands.max() * 10**-4.5)[0]
    return float((strong[-1] + 1) * _BAND_HZ) if strong.size else 0.0


def _db(power: float) -> float:
    return float(10 * np.log10(max(power, _FLOOR)))


def _rounded(parts: dict[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in parts.items()}
