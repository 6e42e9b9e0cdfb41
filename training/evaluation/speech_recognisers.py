"""The sound of a sentence -> what recognisers make of it: the champion, and a second one where two languages mix.

Of a sentence such as `मेरा order कब आएगा` one recogniser alone judges its own taste in spellings: it may write order as
ऑर्डर, and every voice is charged for it. So TTS_SECOND_RECOGNISER transcribes these sentences too, of the voice and of
the recording alike, and the transcript with fewer errors counts. Everything else (script, language, words left out or
said twice) is judged on the champion's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_backend import languages
from ml_backend.asr.engine import Transcriber
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile
from ml_backend.context import Context
from ml_backend.errors import KaanError
from ml_backend.jobs import device_turns
from ml_backend.models import kinds, registry
from ml_backend.tts.mel import Array
from training.scoring import speech_scores


@dataclass(frozen=True)
class Recognised:
    """`language` is the one that the champion detects when none is given; `second` is None where one recogniser is
    enough."""

    text: str
    language: str | None
    second: str | None = None


NOTHING = Recognised("", None)


class SpeechRecognisers:
    """Loaded once for an evaluation. `spoken`: the languages of its sentences."""

    def __init__(self, context: Context, spoken: Sequence[str]) -> None:
        self._context, self._loaded = context, dict[str, Transcriber]()
        every = {*map(languages.transcribed_as, spoken), *context.settings.spoken}
        self._languages = tuple(sorted(every if len(every) > 1 else {*every, *languages.USUAL}))
        self.second = second_of(context)

    @property
    def names(self) -> list[str]:
        return sorted(self._loaded)

    def recognise(self, text: str, language: str, waves: Sequence[Array | None]) -> list[Recognised]:
        """Of waves that should say this text; where there is none, or the recogniser fails, nothing is recognised."""
        spoken_as = languages.transcribed_as(language)
        champion = self._champion(spoken_as)
        there = [wave for wave in waves if wave is not None]
        given = _texts(champion, there, DecodingProfile(language=spoken_as))
        free = champion.transcribe(_requests(there, DecodingProfile(languages=self._languages, beam_size=1)))
        detected = [None if isinstance(one, KaanError) else one.language for one in free]
        seconds: list[str] | list[None] = [None] * len(there)
        if self.second and speech_scores.mixes_languages(text, language):
            seconds = _texts(self._second(self.second), there, DecodingProfile(language=spoken_as))
        found = iter([Recognised(*one) for one in zip(given, detected, seconds, strict=True)])
        return [NOTHING if wave is None else next(found) for wave in waves]

    def _champion(self, language: str) -> Transcriber:
        version = registry.champion(self._context, kinds.ASR, language=language)
        return self._loaded_once(version.version, lambda: registry.verified(self._context, version))

    def _second(self, name: str) -> Transcriber:
        return self._loaded_once(name, lambda: second_place(self._context))

    def _loaded_once(self, name: str, place: Callable[[], str]) -> Transcriber:
        if name not in self._loaded:
            self._loaded[name] = Transcriber.load(
                place(), settings=self._context.settings, model_version=name,
                before_batch=device_turns.of(self._context).give_way,
            )  # fmt: skip
        return self._loaded[name]


def second_of(context: Context) -> str:
    """The name of the second recogniser; empty for none. Raises KaanError where the setting names neither a folder nor
    a version of speech recognition."""
    named = context.settings.tts_second_recogniser
    if not named or Path(named).is_dir():
        return Path(named).name
    return _version(context, named).version


def second_place(context: Context) -> str:
    named = context.settings.tts_second_recogniser
    return named if Path(named).is_dir() else registry.verified(context, _version(context, named))


def _version(context: Context, named: str) -> registry.Version:
    version = registry.find(context, named, kind=kinds.ASR)
    kinds.require(version, kinds.ASR)
    return version


def _texts(transcriber: Transcriber, waves: Sequence[Array], profile: DecodingProfile) -> list[str]:
    found = transcriber.transcribe(_requests(waves, profile))
    return ["" if isinstance(one, KaanError) else one.text for one in found]


def _requests(waves: Sequence[Array], profile: DecodingProfile) -> list[Request]:
    return [Request(np.asarray(wave, dtype=np.float32)[None], profile) for wave in waves]
