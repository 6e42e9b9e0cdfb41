"""Public speech -> lines of a dataset of kind tts, for training only, never for validation or the test set.

The sources, their layouts and the choice by hash are those of `public_speech`. The file is stored as it was published,
at the rate it was recorded at, like our own recordings. A voice is named after its corpus and speaker, so that it is
never mixed with one of ours.
"""

from __future__ import annotations

import hashlib
import heapq
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_backend.audio import decoding
from ml_backend.context import Context
from ml_backend.errors import PermanentError
from training.datasets import public_speech, splits
from training.datasets.clip_audio import PUBLIC_PREFIX
from training.datasets.public_speech import PublicUtterance, SpeechSource
from training.text.writing import strict
from training.voices import voice_lines

LEAST_S, MOST_S = 0.5, 20.0
ENGINE = "public"
_NEUTRAL = "neutral"
_EMOTIONS = {
    "anger": "angry", "angry": "angry", "disgust": "disgusted", "fear": "fearful", "happy": "happy", "sad": "sad",
    "surprise": "surprised",
}  # fmt: skip
"""Styles of Rasa that are emotions; its others, such as ALEXA or BOOK, are neutral."""


def lines(
    context: Context, sources: list[SpeechSource], wanted: int, *, least_rate_hz: int
) -> Iterator[tuple[dict[str, Any], str]]:
    """(line, reason why it is left out, or empty) of `wanted` utterances, spread over the sources by hash."""
    keys = {_key(source, each) for source in sources for each in public_speech.utterances(source)}
    chosen = set(heapq.nsmallest(wanted, keys))
    with tempfile.TemporaryDirectory(prefix="kaan-public-") as folder:
        for source in sources:
            for utterance in public_speech.utterances(source):
                if (key := _key(source, utterance)) in chosen:
                    chosen.discard(key)  # the first of two rows with one name counts
                    yield _line(context, source, utterance, Path(folder), least_rate_hz)


def voice_of(source: SpeechSource, one: PublicUtterance) -> str:
    """`globe-s-020799`: the corpus and its speaker."""
    speaker = re.sub(r"[^a-z0-9]+", "-", one.speaker.casefold()).strip("-")
    return f"{source.layout}-{speaker or 'unknown'}"[:80]


def _line(
    context: Context, source: SpeechSource, one: PublicUtterance, folder: Path, least_rate_hz: int
) -> tuple[dict[str, Any], str]:
    text = strict(one.text)
    named = {"source": source.layout, "name": one.name}
    if not text or not one.language:
        return named, "public-no-text" if not text else "public-no-language"
    try:
        data = one.read()
        (folder / "given").write_bytes(data)
        decoded = decoding.decode(folder / "given", folder / "decoded.wav")
    except (PermanentError, OSError):
        return named, "public-unusable"
    if decoded.rate_hz < least_rate_hz:
        return named, "public-rate"
    if not LEAST_S <= decoded.duration_s <= MOST_S:
        return named, "too-long" if decoded.duration_s > MOST_S else "public-unusable"
    sha256 = hashlib.sha256(data).hexdigest()
    key = f"{PUBLIC_PREFIX}/{sha256}.{re.split('[^a-z0-9]', decoded.container.lower())[0] or 'wav'}"
    context.store.put_bytes(context.settings.audio_bucket, key, data)
    voice = voice_of(source, one)
    digest = hashlib.sha256(f"{source.layout}|{sha256}|{one.language}|{voice}|{text}".encode()).hexdigest()
    return {
        "id": digest[:32], "digest": digest, "audio_sha256": sha256,
        "bucket": context.settings.audio_bucket, "key": key, "text": text, "language": one.language, "voice": voice,
        "emotion": _EMOTIONS.get(one.style.casefold(), _NEUTRAL), "engine": ENGINE,
        "duration_s": round(decoded.duration_s, 3), "rate_hz": decoded.rate_hz, "split": splits.TRAIN,
        "source": source.layout, "family": voice_lines.family(text, one.language),
    }, ""  # fmt: skip


def _key(source: SpeechSource, one: PublicUtterance) -> str:
    return hashlib.sha256(f"{splits.SALT}|tts|{source.layout}|{one.language}|{one.name}".encode()).hexdigest()
