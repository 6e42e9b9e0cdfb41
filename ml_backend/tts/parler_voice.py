"""A Parler-TTS version that serves: asked like `Speaker`, answered by a process in `.venv-parler`.

A start costs seconds, with the published model tens of them, so many sentences are said in one. What the version cannot
say is refused here, before a process is started, and costs the other sentences nothing.
"""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend import quantities
from ml_backend.errors import InvalidInput, KaanError, PermanentError
from ml_backend.models import manifest
from ml_backend.settings import Settings
from ml_backend.tts import parler_environment
from ml_backend.tts.speaking import Speech, SpeechLine

ENGINE = "parler_tts"  # in a manifest's needs
LONGEST_TEXT = 600  # characters of one call of the model: half a minute, which is what it was trained on
AT_ONCE = 25  # sentences of one start: so much is lost when the machine fails
_START_S, _LINE_S = 300.0, 300.0  # of waiting
_SHOWN = 12


@dataclass(frozen=True)
class ParlerNeeds:
    """What its manifest says that a caller may choose from."""

    languages: tuple[str, ...]
    voices: tuple[str, ...]
    emotions: tuple[str, ...]


class ParlerVoice:
    """A version's folder and names; nothing is loaded in this process."""

    answers_live = False

    def __init__(self, settings: Settings, folder: Path, needs: ParlerNeeds, version: str) -> None:
        self.needs, self.model_version = needs, version
        self._settings, self._folder = settings, folder

    @classmethod
    def load(cls, settings: Settings, folder: Path) -> ParlerVoice:
        """ConfigurationError `parler-environment` where that environment is missing. Its process verifies the files."""
        described = manifest.read(folder)
        parler_environment.python(settings)
        needs = described.needs
        names: tuple[Any, ...] = (described.languages, needs.get("voices"), needs.get("emotions") or ["neutral"])
        if not all(isinstance(each, list | tuple) and each for each in names):
            raise PermanentError(
                "speech-manifest", f"The manifest of {folder.name} does not name languages and voices.",
                "Fetch or export the model version again; do not edit its files by hand.",
            )  # fmt: skip
        return cls(settings, folder, ParlerNeeds(*(tuple(map(str, each)) for each in names)), described.model_version)

    def speak(
        self, text: str, *, language: str, voice: str | None = None, emotion: str | None = None, tempo: float = 1.0
    ) -> Speech:
        """Say one text, in a start of its own."""
        found = next(self.speak_each([SpeechLine(text, language, voice, emotion, tempo)]))
        if isinstance(found, KaanError):
            raise found
        return found

    def warm(self) -> None:
        """Nothing: its process is started for each rendering, and it answers no call."""

    def speak_each(self, lines: Sequence[SpeechLine]) -> Iterator[Speech | PermanentError]:
        """Each in its turn, a few in one start of the process; an error in the place of what it cannot say."""
        checked = [self._checked(line) for line in lines]
        made = self._made([one for one in checked if isinstance(one, SpeechLine)])
        for one in checked:
            yield next(made) if isinstance(one, SpeechLine) else one

    def _made(self, lines: Sequence[SpeechLine]) -> Iterator[Speech | PermanentError]:
        for at in range(0, len(lines), AT_ONCE):
            some = lines[at : at + AT_ONCE]
            with tempfile.TemporaryDirectory(prefix="kaan-parler-") as folder:
                answers = parler_environment.speak(
                    self._settings, self._folder,
                    [
                        {"text": line.text, "language": line.language, "voice": line.voice, "emotion": line.emotion,
                         "out": f"{folder}/{number}.wav"}
                        for number, line in enumerate(some)
                    ],
                    timeout_s=_START_S + _LINE_S * len(some),
                )  # fmt: skip
                for line, answer in zip(some, answers, strict=True):
                    yield self._speech(line, answer)

    def _speech(self, line: SpeechLine, answer: dict[str, Any]) -> Speech | PermanentError:
        if failed := answer.get("failed"):
            error = parler_environment.error_of(failed)
            if isinstance(error, PermanentError):
                return error
            raise error
        with wave.open(answer["out"]) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.float32)
            rate_hz = file.getframerate()
        return Speech(
            samples / np.float32(32767), rate_hz, line.text, line.language, str(line.voice), str(line.emotion),
            self.model_version,
        )  # fmt: skip

    def _checked(self, line: SpeechLine) -> SpeechLine | InvalidInput:
        """The line with the names that the version would use, or what is wrong with it."""
        if not any(letter.isalnum() for letter in line.text):
            return InvalidInput("speech-text-empty", "The text has nothing to say in it.", "Send at least one word.")
        if len(line.text) > LONGEST_TEXT:
            sentence = f"The text has {len(line.text)} characters; this voice says at most {LONGEST_TEXT}."
            return InvalidInput("speech-text-too-long", sentence, "Send it in parts.")
        if line.tempo != 1:
            sentence = f"{self.model_version} speaks at its own tempo only."
            return InvalidInput("speech-tempo", sentence, "Leave the tempo at 1.")
        needs = self.needs
        for name, known, code, said in (
            (line.language, needs.languages, "speech-language-unknown", "does not speak"),
            (line.voice, needs.voices, "speech-voice-unknown", "has no voice"),
            (line.emotion, needs.emotions, "speech-emotion-unknown", "has no emotion"),
        ):
            if name is not None and name not in known:
                names = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
                sentence = f"{self.model_version} {said} {quantities.shortened(name, 40)!r}."
                return InvalidInput(code, sentence, f"It knows: {names}.")
        return SpeechLine(line.text, line.language, line.voice or needs.voices[0], line.emotion or needs.emotions[0])
