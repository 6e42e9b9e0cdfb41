"""Sounds for tests: speech by espeak-ng, hold music, tones, noise; and files in the formats telephony uses."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

RATE_HZ = 16000
RECORDED = Path(__file__).parent / "fixtures" / "speech"
Samples = npt.NDArray[np.float32]


def speech(text: str) -> Samples:
    """A synthetic voice saying `text`: telephone band, 16 kHz, the same samples on every machine.

    Another build of a synthesiser says it otherwise, so what tests rest on was recorded once:
    `python -m tests.sounds "some words"` records more.
    """
    import av

    path = _recorded(text)
    assert path.is_file(), f"Not recorded yet. Record it with: python -m tests.sounds {text!r}"
    with av.open(str(path)) as file:
        blocks = [frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)]
    return np.concatenate(blocks).astype(np.float32) / 32768


def record(text: str, *, voice: str = "en-us") -> Path:
    """Let espeak-ng say `text` and keep it among the fixtures, as FLAC of 16 bits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", str(path), text], check=True)
        with wave.open(str(path)) as stream:
            rate_hz = stream.getframerate()
            raw = np.frombuffer(stream.readframes(stream.getnframes()), "<i2").astype(np.float32) / 32768
    times = np.arange(int(raw.size * RATE_HZ / rate_hz)) * rate_hz / RATE_HZ
    spoken = telephone(np.interp(times, np.arange(raw.size), raw))
    RECORDED.mkdir(parents=True, exist_ok=True)
    return encode(_recorded(text), spoken, container="flac", codec="flac", rate_hz=RATE_HZ)


def _recorded(text: str) -> Path:
    words = re.sub(r"[^a-z]+", "-", text.lower()).strip("-")
    return RECORDED / f"{words[:60]}.flac"


def silence(duration_s: float) -> Samples:
    return np.zeros(int(duration_s * RATE_HZ), np.float32)


def tone(duration_s: float, *, hz: float = 440.0, rate_hz: int = RATE_HZ) -> Samples:
    return (0.4 * np.sin(2 * np.pi * hz * np.arange(int(duration_s * rate_hz)) / rate_hz)).astype(np.float32)


def noise(duration_s: float, *, level: float = 0.05, seed: int = 0) -> Samples:
    return (np.random.default_rng(seed).standard_normal(int(duration_s * RATE_HZ)) * level).astype(np.float32)


def music(duration_s: float, *, seed: int) -> Samples:
    """Hold music: a melody with vibrato over chords, with a beat."""
    random = np.random.default_rng(seed)
    mixed = np.zeros(int(duration_s * RATE_HZ))
    beat_s, begin = 60 / random.integers(70, 130), 0.0
    while begin < duration_s - 2 * beat_s:
        lasts_s = beat_s * random.choice([0.5, 1, 2])
        chords = ((random.choice([0, 2, 4, 5, 7, 9, 11, 12]), 1.0), (0, 0.2), (4, 0.2), (7, 0.2))
        for step, loud in chords:
            place, count = int(begin * RATE_HZ), int(lasts_s * RATE_HZ)
            count = min(count, mixed.size - place)
            t = np.arange(count) / RATE_HZ
            phase = 2 * np.pi * np.cumsum(261.6 * 2 ** (step / 12) * (1 + 0.01 * np.sin(2 * np.pi * 5.5 * t))) / RATE_HZ
            envelope = np.minimum(1, t / 0.02) * np.exp(-t / lasts_s)
            mixed[place : place + count] += loud * envelope * sum(np.sin(h * phase) / h for h in range(1, 8))
        begin += lasts_s
    return telephone(mixed)


def telephone(samples: npt.NDArray[np.floating]) -> Samples:
    """300 to 3400 Hz, at a usual level."""
    spectrum = np.fft.rfft(samples)
    hz = np.fft.rfftfreq(samples.size, 1 / RATE_HZ)
    spectrum[(hz < 300) | (hz > 3400)] = 0
    band = np.fft.irfft(spectrum, samples.size)
    return (0.4 * band / max(1e-9, float(np.abs(band).max()))).astype(np.float32)


def write_wav(path: Path, samples: Samples, *, rate_hz: int = RATE_HZ) -> Path:
    """PCM16; samples [n] or [channels, n]."""
    legs = np.atleast_2d(samples)
    with wave.open(str(path), "wb") as stream:
        stream.setnchannels(legs.shape[0])
        stream.setsampwidth(2)
        stream.setframerate(rate_hz)
        stream.writeframes((np.clip(legs.T, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def encode(path: Path, samples: Samples, *, container: str, codec: str, rate_hz: int) -> Path:
    """Write [n] or [channels, n] in another format, through FFmpeg."""
    import av

    legs = np.atleast_2d(samples).astype(np.float32)
    layout = "mono" if legs.shape[0] == 1 else "stereo"
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate_hz, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(legs), format="fltp", layout=layout)
        frame.sample_rate = rate_hz
        context = stream.codec_context
        context.open()
        resampler = av.AudioResampler(
            format=context.format, layout=context.layout, rate=rate_hz, frame_size=context.frame_size or None
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            for packet in stream.encode(part):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    return path


if __name__ == "__main__":
    for words in sys.argv[1:]:
        print(record(words))
