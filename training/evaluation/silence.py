"""Clips without speech, generated the same every time. Every word that a model writes for them is invented.

Digital silence and line hiss must stay empty. Mains hum, the ringing tone and hold music are harder: a candidate may
not write more for them than the champion.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml_backend.audio import decoding
from ml_backend.models import registry

RATE_HZ = decoding.RATE_HZ
Samples = npt.NDArray[np.float32]
QUIET, SOUND = "quiet", "sound"


@dataclass(frozen=True)
class SoundClip:
    """[1, n] samples at 16 kHz. For the kind `quiet`, no text is permitted, whatever the champion writes."""

    name: str
    kind: str
    samples: Samples


def clips() -> Iterator[SoundClip]:
    """Every clip once."""
    draw = np.random.default_rng(11)
    at = np.arange(8 * RATE_HZ) / RATE_HZ
    yield SoundClip("silence", QUIET, np.zeros((1, 5 * RATE_HZ), np.float32))
    for level_db in (-60, -45):
        yield SoundClip(f"line hiss at {level_db} dB", QUIET, _row(draw.normal(0, 10 ** (level_db / 20), at.size)))
    yield SoundClip("mains hum", SOUND, _row(0.05 * np.sin(2 * np.pi * 50 * at) + draw.normal(0, 0.002, at.size)))
    ringing = (at % 3.0 < 0.4) | ((at % 3.0 >= 0.6) & (at % 3.0 < 1.0))
    yield SoundClip("ringing tone", SOUND, _row(0.2 * ringing * np.sin(2 * np.pi * 400 * at)))
    yield SoundClip("hold music", SOUND, _row(_melody(at)))
    for name, kind in (("silence", QUIET), ("hold-music", SOUND)):
        yield SoundClip(f"recorded {name.replace('-', ' ')}", kind, _recorded(f"{name}.wav"))


def _row(wave: npt.NDArray[np.float64]) -> Samples:
    return wave.astype(np.float32)[None]


def _melody(at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A slow walk over a chord, each note with its octave and fifth, dying away."""
    notes = np.array([262.0, 330.0, 392.0, 523.0, 392.0, 330.0])[(at / 0.5).astype(int) % 6]
    fall: npt.NDArray[np.float64] = np.exp(-3 * (at % 0.5))
    tones = sum(np.sin(2 * np.pi * notes * many * at) / many for many in (1.0, 1.5, 2.0))
    melody: npt.NDArray[np.float64] = 0.1 * fall * tones
    return melody


def _recorded(name: str) -> Samples:
    """The first channel of a bundled call without speech."""
    with tempfile.TemporaryDirectory(prefix="kaan-silence-") as folder:
        wav = Path(folder) / "audio.wav"
        decoding.decode(registry.BUNDLED.parent / "calls" / name, wav)
        return decoding.read_wav(wav)[0][:1]
