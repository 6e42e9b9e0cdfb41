# ruff: noqa: SIM905 (word lists are read more easily as words)
"""Recordings of people whose words are known without a list: the file names of prompts are their own texts.

Numbers, letters and the spelling alphabet are named after what is said in them, and so are some hundred words and
phrases. The callers come with transcriptions in their own package.
"""

from __future__ import annotations

import re
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.real import parts

RATE_HZ = 16000
Samples = npt.NDArray[np.float32]
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth"
).split()
_DAYS = "sunday monday tuesday wednesday thursday friday saturday".split()
_MONTHS = ("january february march april may june july august september october november december").split()
_ALPHABET = (
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo "
    "sierra tango uniform victor whiskey x-ray yankee zulu"
).split()
_NAMED = (
    "activated added call-forwarding call-waiting calling cancelled dictate/pause dictate/paused dictate/playback "
    "dictate/record dictate/playback_mode dictate/record_mode dictate/truncating_audio digits/billion digits/dollars "
    "digits/hundred digits/million digits/minus digits/pound digits/star digits/thousand digits/today digits/tomorrow "
    "digits/yesterday disabled do-not-disturb enabled extension goodbye hello hello-world hours is-in-use is-set-to "
    "letters/asterisk letters/dash letters/dollar letters/dot letters/equals letters/plus letters/slash letters/space "
    "location lowercase minutes number one-moment-please please-try-again removed seconds speed-dial telephone-number "
    "time to-call-this-number to-extension to-listen-to-it uppercase you-entered your"
).split()


@dataclass(frozen=True)
class SpokenPrompt:
    """One recording at 16 kHz and what is said in it."""

    name: str
    text: str
    samples: Samples


def english() -> list[SpokenPrompt]:
    """Every English prompt whose name is its text, in a fixed order."""
    folder = parts.voice("en")
    return [SpokenPrompt(name, text, read(folder / f"{name}.wav")) for name, text in sorted(_texts().items())]


def callers() -> list[SpokenPrompt]:
    """People who read sentences and playing cards."""
    found = []
    for folder, file in (("librivox", "transcription"), ("cards", "cards.transcription")):
        for line in (parts.callers() / folder / file).read_text().splitlines():
            if match := re.fullmatch(r"<s>\s*(.*?)\s*</s>\s*\((.*)\)", line.strip()):
                path = parts.callers() / folder / f"{match[2]}.wav"
                found.append(SpokenPrompt(match[2], match[1], read(path)))
    return found


def spoken(language: str, *, least_s: float, most: int) -> Iterator[SpokenPrompt]:
    """Prompts of a language, without texts: long enough to detect the language."""
    count = 0
    for path in sorted(parts.voice(language).glob("*.wav")):
        samples = read(path)
        if samples.size >= least_s * RATE_HZ and count < most:
            count += 1
            yield SpokenPrompt(path.stem, "", samples)


def without_speech() -> list[tuple[str, Samples]]:
    """Hold music, tones, noise and silence, all without speech."""
    random = np.random.default_rng(0)
    found: list[tuple[str, Samples]] = []
    for path in sorted(parts.music().glob("*.wav")):
        samples = read(path)
        for place in range(5):
            start = int((0.05 + 0.18 * place) * samples.size)
            found.append((f"{path.stem} {place}", samples[start : start + 12 * RATE_HZ]))
    seconds = np.arange(10 * RATE_HZ) / RATE_HZ
    for one, other in ((350, 440), (440, 480), (480, 620), (697, 1209), (941, 1477), (425, 425), (1004, 1004)):
        tone = 0.15 * (np.sin(2 * np.pi * one * seconds) + np.sin(2 * np.pi * other * seconds))
        found.append((f"tone {one} {other}", (tone * (seconds % 1 < 0.6)).astype(np.float32)))
    for level in (0.001, 0.01, 0.05, 0.2):
        found.append((f"noise {level}", (random.standard_normal(seconds.size) * level).astype(np.float32)))
        brown = np.cumsum(random.standard_normal(seconds.size))
        brown -= np.convolve(brown, np.ones(2001) / 2001, "same")
        found.append((f"rumble {level}", (brown / np.abs(brown).max() * level).astype(np.float32)))
    for path in sorted((parts.voice("en") / "silence").glob("*.wav"))[:6]:
        found.append((f"silence {path.stem}", read(path)))
    return found


def read(path: Path) -> Samples:
    """A WAV of 8 or 16 kHz as 16 kHz samples."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
        if file.getframerate() == RATE_HZ:
            return samples
    if not samples.size:
        return samples
    spectrum = np.fft.rfft(samples)
    wider = np.zeros(samples.size + 1, np.complex128)
    wider[: spectrum.size] = 2 * spectrum
    return np.fft.irfft(wider, 2 * samples.size).astype(np.float32)


def trimmed(samples: Samples) -> Samples:
    """Without what lies 40 dB below the loudest 10 ms before and behind."""
    step = RATE_HZ // 100
    frames = samples[: samples.size // step * step].reshape(-1, step)
    level = 10 * np.log10(np.mean(np.square(frames), axis=1) + 1e-12)
    loud = np.flatnonzero(level > level.max() - 40)
    return samples[loud[0] * step : (loud[-1] + 1) * step]


def _texts() -> dict[str, str]:
    texts = {name: name.rpartition("/")[2].replace("-", " ").replace("_", " ") for name in _NAMED}
    texts |= {f"digits/{number}": word for number, word in enumerate(_ONES)}
    texts |= {f"digits/{10 * number}": word for number, word in enumerate(TENS, 2)}
    texts |= {f"digits/h-{number}": word for number, word in enumerate(ORDINALS, 1)}
    texts |= {f"digits/h-{10 * n}": f"{word[:-1]}ieth" for n, word in enumerate(TENS, 2)}
    texts |= {f"digits/day-{number}": word for number, word in enumerate(_DAYS)}
    texts |= {f"digits/mon-{number}": word for number, word in enumerate(_MONTHS)}
    texts |= {f"phonetic/{word[0]}_p": word.replace("-", " ") for word in _ALPHABET}
    return texts
