"""Spoken texts in the object store: each is spoken once per version, and kept where the IVR and people find it.

TTS_PROMPTS names what the IVR reads, `voice-audio/ivr/` by default: `{language}/{hash}.wav`. Beside it, what a version
says lies in `voice-audio/ivr-versions/{version}/{language}/{name}.wav` with the text in a `.txt`, so that the scan of
the bucket pairs them and people rate them. `{name}` is of text, voice, language and emotion: see `name_of`.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context
from ml_backend.errors import PermanentError
from ml_backend.settings import Settings
from ml_backend.tables import voice_clips
from ml_backend.tts.speaking import SpeechLine
from ml_backend.tts.voice_loading import Voice

ENGINE = "kaan"  # of clips that this project's own engine spoke
WAV = "audio/wav"
_NAME_CHARS = 32


@dataclass(frozen=True)
class PromptPlaces:
    """`live` is the IVR's folder, `versions` the one beside it; both end in a slash."""

    bucket: str
    live: str
    versions: str

    @classmethod
    def of(cls, settings: Settings) -> PromptPlaces:
        bucket, _, live = settings.tts_prompts.partition("/")
        return cls(bucket, live, f"{live.rstrip('/')}-versions/")


@dataclass(frozen=True)
class Saying:
    """A text with the voice and emotion of the version that is to say it."""

    text: str
    language: str
    voice: str
    emotion: str
    version: str
    tempo: float = 1.0

    @property
    def name(self) -> str:
        return name_of(self.text, self.voice, self.language, emotion=self.emotion, tempo=self.tempo)

    def key(self, places: PromptPlaces) -> str:
        """Where this version's sound of it lies."""
        return f"{places.versions}{self.version}/{self.language}/{self.name}.wav"


def name_of(text: str, voice: str, language: str, *, emotion: str = "", tempo: float = 1.0) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of the JSON list [text, voice, language, emotion]; the tempo is
    a fifth element where it is not 1. The text counts as it was given, letter by letter."""
    said: list[Any] = [text, voice, language, emotion, *([] if tempo == 1 else [tempo])]
    return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode()).hexdigest()[:_NAME_CHARS]


def saying(
    speaker: Voice, text: str, language: str, *, voice: str | None = None, emotion: str | None = None,
    tempo: float = 1.0,
) -> Saying:  # fmt: skip
    """With the names that the version would use: without a voice or an emotion, its first."""
    needs = speaker.needs
    return Saying(text, language, voice or needs.voices[0], emotion or needs.emotions[0], speaker.model_version, tempo)


def spoken(context: Context, speaker: Voice, asked: Saying) -> tuple[str, bool]:
    """(key of the sound, whether it was spoken now). A text that the version has said is not spoken again."""
    found = next(spoken_each(context, speaker, [asked]))
    if isinstance(found, PermanentError):
        raise found
    return found


def spoken_each(
    context: Context, speaker: Voice, asked: Sequence[Saying]
) -> Iterator[tuple[str, bool] | PermanentError]:
    """`spoken` for many, so that a voice that starts slowly starts once; an error in the place of what it cannot say.

    Safe to interrupt and to repeat: each sound appears whole or not at all, and its row is written again.
    """
    places = PromptPlaces.of(context.settings)
    keys = [one.key(places) for one in asked]
    missing = {key for key in keys if context.store.stat(places.bucket, key) is None}
    first = {key: one for key, one in zip(reversed(keys), reversed(asked), strict=True) if key in missing}
    wanted = [first[key] for key in dict.fromkeys(keys) if key in missing]
    made = speaker.speak_each([SpeechLine(one.text, one.language, one.voice, one.emotion, one.tempo) for one in wanted])
    failed: dict[str, PermanentError] = {}
    for key, one in zip(keys, asked, strict=True):
        new = key in missing
        if new:
            missing.discard(key)
            speech = next(made)
            if isinstance(speech, PermanentError):
                failed[key] = speech
            else:
                context.store.ensure_bucket(places.bucket)
                context.store.put_bytes(places.bucket, f"{key.removesuffix('.wav')}.txt", one.text.encode())
                context.store.put_bytes(places.bucket, key, speech.to_wav(), content_type=WAV)
        if key in failed:
            yield failed[key]
            continue
        note_clip(context, one, key)
        yield key, new


def offer(context: Context, asked: Saying, key: str) -> str:
    """Give the IVR a sound that it does not have yet; returns the key it reads. What it has stays: `prompts switch`
    changes that."""
    places = PromptPlaces.of(context.settings)
    live = f"{places.live}{asked.language}/{asked.name}.wav"
    if context.store.stat(places.bucket, live) is None:
        context.store.put_bytes(places.bucket, f"{live.removesuffix('.wav')}.txt", asked.text.encode())
        with tempfile.TemporaryDirectory(prefix="kaan-prompt-") as folder:
            sound = Path(folder) / "prompt.wav"
            context.store.fetch(places.bucket, key, sound)
            context.store.put_file(places.bucket, live, sound, content_type=WAV)
        note_clip(context, asked, live)
    return live


def note_clip(context: Context, asked: Saying, key: str) -> None:
    """Say who speaks in a clip, before a scan finds it: opinions of people then count for the version."""
    values = {
        "bucket": PromptPlaces.of(context.settings).bucket, "key": key, "text": asked.text,
        "language": asked.language, "voice": asked.voice, "emotion": asked.emotion, "engine": ENGINE,
        "model_version": asked.version, "updated_at": tables.now(),
    }  # fmt: skip
    there = sa.select(voice_clips.c.id).where(voice_clips.c.bucket == values["bucket"], voice_clips.c.key == key)
    if context.db.rows(there):
        return  # nothing to write for a sentence that was said before: no turn to write is waited for
    with context.db.transaction() as connection:
        db.insert_missing(connection, voice_clips, [values])
