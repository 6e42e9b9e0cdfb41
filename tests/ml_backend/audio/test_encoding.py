"""Every form of a sound is what its name says, as long as the sound was, and sounds the same."""

from __future__ import annotations

from io import BytesIO

import av
import numpy as np
import pytest

from ml_backend.audio import encoding

RATE_HZ = 16_000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)


def pitch(samples: np.ndarray, rate_hz: int) -> float:
    """The loudest frequency."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate_hz / len(samples))


@pytest.mark.parametrize("form", [name for name in encoding.FORMATS if name != "pcm"])
def test_a_file_has_the_length_and_the_pitch_of_its_sound(form: str) -> None:
    with av.open(BytesIO(encoding.encoded(TONE, RATE_HZ, form))) as file:
        rate_hz = file.streams.audio[0].rate
        frames = [frame.to_ndarray()[0].astype(np.float64) for frame in file.decode(audio=0)]
    samples = np.concatenate(frames)
    assert abs(len(samples) / rate_hz - 1) < 0.15
    assert abs(pitch(samples, rate_hz) - 440) < 5


def test_raw_samples_are_16_bit_at_24_khz_whatever_the_voice_has() -> None:
    samples = np.frombuffer(encoding.encoded(TONE, RATE_HZ, "pcm"), "<i2")
    assert abs(len(samples) - 24_000) < 50
    assert abs(pitch(samples, 24_000) - 440) < 5


def test_what_is_too_loud_is_limited_and_does_not_wrap() -> None:
    raw = encoding.encoded(np.full(2400, 3.0, np.float32), encoding.PCM_RATE_HZ, "pcm")
    assert np.frombuffer(raw, "<i2").min() > 30_000
