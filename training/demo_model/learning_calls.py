"""Seed -> the calls of `make learn`: new goods and callers with accents that are not in the bundled model's training
data, and usual calls among them, to show that the model does not forget.

They ship as recordings because the machine that trains on them may have no speech synthesiser. No sentence and no
caller occurs twice, so that any part drawn for testing is disjoint from the training data.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import soundfile

from training.demo_model import corpus, new_domain, voices
from training.demo_model.voices import SyntheticVoice
from training.runs.bases import LEARNING_FOLDER
from training.trainers.asr import telephone
from training.trainers.asr.features import Array

LINE_RATE_HZ = 8000
FIRST_CALL_AT = datetime(2026, 2, 2, 4, 30, tzinfo=UTC)
CALLS = {"new": 92, "hi": 36, "mr": 36, "en": 8}
SEED = 20261130
PHRASES = 5
GOODS = ("lantern", "bicycle", "umbrella", "telescope", "helmet", "kettle")  # few: minutes of training are enough
PAUSE_S = (0.6, 1.1)
COMPRESSION = 0.98  # libsndfile's scale for Opus: about 11 kbit/s, as mobile networks have it


@dataclass(frozen=True)
class CallPlan:
    """The plan of one call: speaker and text."""

    language: str
    new: bool
    voice: SyntheticVoice
    sentences: tuple[str, ...]


def render(folder: Path = LEARNING_FOLDER, *, seed: int = SEED) -> list[dict[str, object]]:
    """Writes every call and the index; the same seed and espeak-ng give the same speech."""
    voices.require_espeak()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.ogg"):
        old.unlink()
    rows = []
    for number, call in enumerate(script(seed)):
        sid = _call_sid(number)
        wave, phrases = _recorded(call, np.random.default_rng([seed, number]))
        soundfile.write(
            folder / f"{sid}.ogg", wave, LINE_RATE_HZ, format="OGG", subtype="OPUS", compression_level=COMPRESSION
        )
        rows.append(
            {
                "file": f"{sid}.ogg", "call_sid": sid, "language": call.language, "new": call.new,
                "text": " ".join(str(phrase["text"]) for phrase in phrases), "phrases": phrases,
                "duration_s": round(wave.size / LINE_RATE_HZ, 3), "voice": call.voice.name,
                "started_at_utc": f"{FIRST_CALL_AT + timedelta(minutes=23 * number):%Y-%m-%dT%H:%M:%SZ}",
            }
        )  # fmt: skip
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / "calls.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return rows


def _call_sid(number: int) -> str:
    """A made-up id without digits that could be a phone number, because such names do not count as call ids."""
    tries = (f"learning call 1 {number}" + " again" * again for again in itertools.count())
    sids = (hashlib.sha256(text.encode()).hexdigest()[:32] for text in tries)
    return next(sid for sid in sids if not re.search(r"\d{10}", sid))


def script(seed: int) -> list[CallPlan]:
    """The calls in order of arrival, new and usual ones mixed."""
    rng = random.Random(seed)
    said: set[str] = set()
    calls = [
        *_of_the_new_domain(CALLS["new"], rng, said),
        *(call for language in corpus.MIX for call in _usual(language, CALLS[language], rng, said, seed)),
    ]
    rng.shuffle(calls)
    return calls


def _of_the_new_domain(count: int, rng: random.Random, said: set[str]) -> Iterator[CallPlan]:
    variants = (*voices.TRAINING, *voices.HELD_OUT)
    speakers = rng.sample([(accent, variant) for accent in new_domain.ACCENTS for variant in variants], count)
    for accent, variant in speakers:
        yield CallPlan("en", True, _voice(accent, variant, rng), _sentences(new_domain.sentences(rng, GOODS), said))


def _usual(language: str, count: int, rng: random.Random, said: set[str], seed: int) -> Iterator[CallPlan]:
    drawn = [one.text for one in corpus.held_out_sentences(seed, 2500) if one.language == language]
    rng.shuffle(drawn)
    sentences = iter(drawn)
    for variant in rng.sample(voices.TRAINING, count):
        accent = rng.choice(voices.ACCENTS[language][:3])
        yield CallPlan(language, False, _voice(accent, variant, rng), _sentences(sentences, said))


def _voice(accent: str, variant: str, rng: random.Random) -> SyntheticVoice:
    return SyntheticVoice(f"{accent}+{variant}" if variant else accent, rng.randint(135, 185), rng.randint(25, 75))


def _sentences(drawn: Iterator[str], said: set[str]) -> tuple[str, ...]:
    found: list[str] = []
    while len(found) < PHRASES:
        text = next(drawn)
        if (key := corpus.sentence_key(text)) not in said:
            said.add(key)
            found.append(text)
    return tuple(found)


def _recorded(call: CallPlan, rng: np.random.Generator) -> tuple[Array, list[dict[str, object]]]:
    """(samples at 8 kHz, the times of each phrase)."""
    at, pieces = round(0.5 * voices.RATE_HZ), []
    for text in call.sentences:
        wave = voices.speak(text, call.voice)
        pieces.append((at, wave, text))
        at += wave.size + round(rng.uniform(*PAUSE_S) * voices.RATE_HZ)
    whole = np.zeros(at, dtype=np.float32)
    for begin, wave, _ in pieces:
        whole[begin : begin + wave.size] += wave
    kind, snr_db = (str(rng.choice(new_domain.NOISES)), rng.uniform(*new_domain.SNR_DB)) if call.new else ("line", 24.0)
    noisy = telephone.mixed(whole, telephone.noise(kind, at, rng), snr_db)
    return telephone.to_8k(noisy, rng), _phrases(pieces)


def _phrases(pieces: Sequence[tuple[int, Array, str]]) -> list[dict[str, object]]:
    rate = voices.RATE_HZ
    return [
        {"start_s": round(begin / rate, 3), "end_s": round((begin + wave.size) / rate, 3), "text": text}
        for begin, wave, text in pieces
    ]
