"""A version's folder -> a voice that speaks: the engine that its manifest names.

Whoever lets something be said takes a `Voice`; which engine speaks is decided here only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from ml_backend.errors import PermanentError
from ml_backend.models import kinds, manifest
from ml_backend.settings import Settings
from ml_backend.tts import parler_voice
from ml_backend.tts.parler_voice import ParlerVoice
from ml_backend.tts.speaking import Speaker, Speech, SpeechLine


class VoiceNames(Protocol):
    """What a caller may choose from; the first of each is what the version takes by itself."""

    @property
    def languages(self) -> tuple[str, ...]: ...
    @property
    def voices(self) -> tuple[str, ...]: ...
    @property
    def emotions(self) -> tuple[str, ...]: ...


class Voice(Protocol):
    """A version that speaks. `answers_live`: quick enough for somebody who is on the phone."""

    answers_live: bool
    model_version: str

    @property
    def needs(self) -> VoiceNames: ...

    def speak(
        self, text: str, *, language: str, voice: str | None = None, emotion: str | None = None, tempo: float = 1.0
    ) -> Speech: ...

    def warm(self) -> None: ...

    def speak_each(self, lines: Sequence[SpeechLine]) -> Iterator[Speech | PermanentError]: ...


def load(settings: Settings, folder: Path) -> Voice:
    """Raises PermanentError for what is no voice, ConfigurationError where its environment is missing."""
    described = manifest.read(folder)
    if described.kind == kinds.TTS and described.needs.get("engine") == parler_voice.ENGINE:
        return ParlerVoice.load(settings, folder)
    return Speaker.load(folder)
