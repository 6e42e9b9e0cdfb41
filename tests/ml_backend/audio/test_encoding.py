"""Every form of a sound is what its name says, as long as the sound was, and sounds the same."""

from __future__ import annotations

from io import BytesIO

import av
import numpy as np
import pytest

from ml_backend.audio import encoding

RATES_HZ = (8_000, 16_000, 22_050, 24_000, 44_100, 96_000)
OPUS_HZ = 48_000  # that every file of Opus is read at
NEXT = {("mp3", 96_000): 48_000}  # every other form takes the rate as it is


def tone(rate_hz: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)).astype(np.float32)


def pitch(samples: np.ndarray, rate_hz: int) -> float:
    """The loudest frequency."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate_hz / len(samples))


@pytest.mark.parametrize("given_hz", RATES_HZ)
@pytest.mark.parametrize("form", [name for name in encoding.FORMATS if name != "pcm"])
def test_a_file_has_the_length_and_the_pitch_of_its_sound_at_any_rate(form: str, given_hz: int) -> None:
    with av.open(BytesIO(encoding.encoded(tone(given_hz), given_hz, form))) as file:
        rate_hz = file.streams.audio[0].rate
        frames = [frame.to_ndarray()[0].astype(np.float64) for frame in file.decode(audio=0)]
    samples = np.concatenate(frames)
    assert rate_hz == (OPUS_HZ if form == "opus" else NEXT.get((form, given_hz), given_hz))
    assert abs(len(samples) / rate_hz - 1) < 0.2, "codecs add a frame or two"
    assert abs(pitch(samples, rate_hz) - 440) < 5


@pytest.mark.parametrize("given_hz", RATES_HZ)
def test_raw_samples_are_16_bit_at_24_khz_whatever_the_voice_has(given_hz: int) -> None:
    samples = np.frombuffer(encoding.encoded(tone(given_hz), given_hz, "pcm"), "<i2")
    assert abs(len(samples) - 24_000) < 50
    assert abs(pitch(samples, 24_000) - 440) < 5


def test_what_is_too_loud_is_limited_and_does_not_wrap() -> None:
    raw = encoding.encoded(np.full(2400, 3.0, np.float32), encoding.PCM_RATE_HZ, "pcm")
    assert np.frombuffer(raw, "<i2").min() > 30_000
