"""Sentence + Voice -> 16 kHz mono waveform, spoken by espeak-ng."""

import io
import shutil
import subprocess

import numpy as np
import soundfile
from scipy.signal import resample_poly

from ml_backend.errors import ConfigurationError
from training.demo_model.voices import Voice
from training.trainers.asr.features import Array

RATE_HZ = 16000
_SILENCE = 1e-3


def speak(text: str, voice: Voice) -> Array:
    """float32, peak 0.5, leading and trailing silence cut off."""
    command = [
        "espeak-ng",
        "--stdout",
        "-v",
        voice.name,
        "-s",
        str(voice.speed_wpm),
        "-p",
        str(voice.pitch),
        "--",
        text,
    ]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    # A streamed WAV header states no length: soundfile reads what is there.
    samples, rate_hz = soundfile.read(io.BytesIO(_with_length(done.stdout)), dtype="float32")
    wave = resample_poly(samples, RATE_HZ, rate_hz).astype(np.float32)
    loud = np.flatnonzero(np.abs(wave) > _SILENCE * max(1e-6, np.abs(wave).max()) * 10)
    if loud.size == 0:
        raise ValueError(f"espeak-ng made no sound for {text!r} as {voice.name}")
    wave = wave[loud[0] : loud[-1] + 1]
    return np.asarray(0.5 * wave / np.abs(wave).max(), dtype=np.float32)


def require_espeak() -> None:
    if shutil.which("espeak-ng") is None:
        raise ConfigurationError(
            "espeak-missing",
            "The program espeak-ng is not installed.",
            "Install it, for instance: apt-get install espeak-ng.",
        )


def _with_length(raw: bytes) -> bytes:
    """espeak-ng writes 0x7ffff000-like sizes into the header when it streams; put the real ones in."""
    size = len(raw)
    return raw[:4] + (size - 8).to_bytes(4, "little") + raw[8:40] + (size - 44).to_bytes(4, "little") + raw[44:]
