"""The groups of synthetic speakers. No speaker is in two groups; families (iven, iven2 ...) stay together.

Whisper and croak voices and the Scottish and Caribbean accents are left out on purpose: they are the unknown speakers
of the fine-tuning tests.
"""

import io
import random
import shutil
import subprocess
from dataclasses import dataclass

import numpy as np
import soundfile
from scipy.signal import resample_poly

from ml_backend.errors import ConfigurationError
from training.trainers.asr.features import Array

TRAINING = (
    "",
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "m7",
    "f1",
    "f2",
    "f3",
    "f4",
    "klatt",
    "klatt2",
    "klatt3",
    "klatt4",
    "Andy",
    "Annie",
    "AnxiousAndy",
    "Denis",
    "Diogo",
    "Hugo",
    "Jacky",
    "Lee",
    "Marco",
    "Mario",
    "Michael",
    "Nguyen",
    "RicishayMax",
    "RicishayMax2",
    "RicishayMax3",
    "adam",
    "anika",
    "announcer",
    "antonio",
    "benjamin",
    "boris",
    "caleb",
    "ed",
    "edward",
    "edward2",
    "gustave",
    "iven",
    "iven2",
    "iven3",
    "iven4",
    "john",
    "kaukovalta",
    "linda",
    "marcelo",
    "max",
    "michel",
    "miguel",
    "norbert",
    "pablo",
    "paul",
    "pedro",
    "quincy",
    "sandro",
    "shelby",
    "steph",
    "steph2",
    "steph3",
    "travis",
    "zac",
)
HELD_OUT = ("f5", "m8", "Alex", "Gene", "Gene2", "Henrique", "Mike", "grandma", "rob", "robert")
DEMONSTRATION = ("Alicia", "Andrea", "belinda", "david", "victor")
RESERVED_FOR_FINE_TUNING = ("croak", "whisper", "whisperf")

ACCENTS = {
    "en": ("en-us", "en-gb", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc"),
    "hi": ("hi",),
    "mr": ("mr",),
}


@dataclass(frozen=True)
class SyntheticVoice:
    """One way to speak: espeak-ng's voice with variant, speed in words per minute, pitch 0..99."""

    name: str
    speed_wpm: int
    pitch: int

    @property
    def variant(self) -> str:
        return self.name.partition("+")[2]


def draw(language: str, variants: tuple[str, ...], rng: random.Random) -> SyntheticVoice:
    accents = ACCENTS[language]
    accent = rng.choices(accents, [3] * min(3, len(accents)) + [1] * max(0, len(accents) - 3))[0]
    variant = rng.choice(variants)
    return SyntheticVoice(f"{accent}+{variant}" if variant else accent, rng.randint(130, 195), rng.randint(20, 80))


RATE_HZ = 16000
_SILENCE = 1e-3


def speak(text: str, voice: SyntheticVoice) -> Array:
    """float32, peak 0.5, without leading and trailing silence."""
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
    # A streamed WAV header states no length: soundfile reads to the end.
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
    """Correct the header's sizes: espeak-ng streams with sizes such as 0x7ffff000."""
    size = len(raw)
    return raw[:4] + (size - 8).to_bytes(4, "little") + raw[8:40] + (size - 44).to_bytes(4, "little") + raw[44:]
