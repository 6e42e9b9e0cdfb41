"""Text -> Speech: a voice's two ONNX halves, with the length regulator and the vocoder in numpy. No training library.

Every sentence is spoken by itself, so the first is ready before the last is begun, and memory does not grow with the
text. One thread: another gains nothing on matrices of this size and takes a core from the calls.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ml_backend import quantities
from ml_backend.errors import InvalidInput, PermanentError
from ml_backend.models import manifest
from ml_backend.tts import griffin_lim, length_regulator, speech_text, voice_needs
from ml_backend.tts.mel import Array
from ml_backend.tts.voice_needs import VoiceNeeds

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BUNDLED = Path(__file__).parents[1] / "bundled" / "tts"
TEXT_FILE, DECODER_FILE = "text.onnx", "decoder.onnx"
LONGEST_TEXT = 2000  # characters: two minutes of speech
_LONGEST_SENTENCE = 180
_PAUSE_S = 0.25  # between sentences
_FADE_S = 0.005
_SHOWN = 12  # unknown letters, or known names, in a message
_SLOWEST, _FASTEST = 0.5, 2.0


@dataclass(frozen=True)
class Speech:
    """Mono samples, -1..1."""

    samples: Array
    rate_hz: int
    text: str
    language: str
    voice: str
    emotion: str
    model_version: str

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz

    def to_wav(self) -> bytes:
        """A WAV file of 16-bit samples."""
        out = BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(self.rate_hz)
            file.writeframes(np.round(np.clip(self.samples, -1, 1) * 32767).astype("<i2").tobytes())
        return out.getvalue()


@dataclass(frozen=True)
class SpeechLine:
    """One text to say. Without a voice or an emotion: the first that the version has."""

    text: str
    language: str
    voice: str | None = None
    emotion: str | None = None
    tempo: float = 1.0


@dataclass(frozen=True)
class _Asked:
    sentences: tuple[str, ...]
    normal: str
    language: str
    voice: str
    emotion: str


class Speaker:
    """A loaded version of a voice. Thread-safe; may be used after a fork."""

    answers_live = True  # quick enough for somebody who is on the phone

    def __init__(self, text: InferenceSession, decoder: InferenceSession, needs: VoiceNeeds, version: str) -> None:
        self.needs = needs
        self.model_version = version
        self._text, self._decoder = text, decoder
        self._ids = {letter: place for place, letter in enumerate(needs.alphabet)}

    @classmethod
    def load(cls, folder: Path) -> Speaker:
        """Verify the folder file by file, then load it."""
        described = manifest.verify(folder)
        if described.kind != "tts":
            raise manifest.wrong_kind(described.model_version, described.kind, "tts")
        needs = voice_needs.of_manifest(described.needs, folder=folder.name)
        sessions = [_session(folder / name) for name in (TEXT_FILE, DECODER_FILE)]
        return cls(sessions[0], sessions[1], needs, described.model_version)

    def speak(
        self, text: str, *, language: str, voice: str | None = None, emotion: str | None = None, tempo: float = 1.0
    ) -> Speech:
        """Say a text. Without a voice or an emotion: the first that the version has."""
        asked = self._asked(text, language, voice, emotion, tempo)
        pause = np.zeros(round(_PAUSE_S * self.needs.scale.rate_hz), dtype=np.float32)
        parts: list[Array] = []
        for samples in self._spoken(asked, tempo):
            parts += [pause, samples] if parts else [samples]
        return Speech(
            np.concatenate(parts), self.needs.scale.rate_hz, asked.normal, asked.language, asked.voice, asked.emotion,
            self.model_version,
        )  # fmt: skip

    def warm(self) -> None:
        """Say something of its own letters: the first sentence of a caller then finds everything in memory."""
        needs = self.needs
        word = "".join([letter for letter in needs.alphabet if letter.isalpha()][:8])
        asked = _Asked((word,), word, needs.languages[0], needs.voices[0], needs.emotions[0])
        for _ in self._spoken(asked, 1.0):
            pass

    def speak_each(self, lines: Sequence[SpeechLine]) -> Iterator[Speech | PermanentError]:
        """One after the other. What cannot be said costs the others nothing: its error comes in its place."""
        for line in lines:
            try:
                yield self.speak(
                    line.text, language=line.language, voice=line.voice, emotion=line.emotion, tempo=line.tempo
                )
            except InvalidInput as error:
                yield error

    def stream(
        self, text: str, *, language: str, voice: str | None = None, emotion: str | None = None, tempo: float = 1.0
    ) -> Iterator[Array]:
        """The same, sentence by sentence as each is ready. Refuses a text before the first sample."""
        return self._spoken(self._asked(text, language, voice, emotion, tempo), tempo)

    def frames(
        self, text: str, *, language: str, voice: str | None = None, emotion: str | None = None, tempo: float = 1.0
    ) -> list[Array]:
        """The log-mel frames of each sentence, before the vocoder."""
        asked = self._asked(text, language, voice, emotion, tempo)
        return [self._frames(sentence, asked, tempo) for sentence in asked.sentences]

    def _spoken(self, asked: _Asked, tempo: float) -> Iterator[Array]:
        scale = self.needs.scale
        for sentence in asked.sentences:
            samples = griffin_lim.limited(griffin_lim.samples_of(self._frames(sentence, asked, tempo), scale))
            yield griffin_lim.faded(samples, round(_FADE_S * scale.rate_hz))

    def _frames(self, sentence: str, asked: _Asked, tempo: float) -> Array:
        needs = self.needs
        letters = np.array([[self._ids[letter] for letter in speech_text.framed(sentence)]], dtype=np.int64)
        vectors, log_frames = self._text.run(
            None,
            {
                "letters": letters,
                "language": np.array([needs.languages.index(asked.language)], dtype=np.int64),
                "voice": np.array([needs.voices.index(asked.voice)], dtype=np.int64),
                "emotion": np.array([needs.emotions.index(asked.emotion)], dtype=np.int64),
            },
        )
        frames = length_regulator.whole_frames(np.exp(log_frames[0]), tempo=tempo)
        if not frames.sum():
            return np.zeros((0, needs.scale.bands), dtype=np.float32)
        repeated = length_regulator.repeated(vectors[0], frames)
        (mels,) = self._decoder.run(None, {"vectors": repeated[None], "places": length_regulator.places(frames)[None]})
        return np.asarray(mels[0], dtype=np.float32)

    def _asked(self, text: str, language: str, voice: str | None, emotion: str | None, tempo: float) -> _Asked:
        needs = self.needs
        if len(text) > LONGEST_TEXT:
            raise InvalidInput(
                "speech-text-too-long", f"The text has {len(text)} characters; a voice says at most {LONGEST_TEXT}.",
                "Send it in parts.",
            )  # fmt: skip
        if not _SLOWEST <= tempo <= _FASTEST:
            raise InvalidInput(
                "speech-tempo", f"The tempo {tempo:g} is not between {_SLOWEST:g} and {_FASTEST:g}.", "1 is the usual."
            )
        normal = speech_text.normalised(text)
        if not speech_text.says_something(normal):
            raise InvalidInput("speech-text-empty", "The text has nothing to say in it.", "Send at least one word.")
        normal = speech_text.sayable(normal, self._ids)
        self._require_letters(normal)
        return _Asked(
            tuple(speech_text.sentences(normal, longest=_LONGEST_SENTENCE)),
            normal,
            _one_of(needs.languages, language, "speech-language-unknown", f"{self.model_version} does not speak"),
            _one_of(needs.voices, voice, "speech-voice-unknown", f"{self.model_version} has no voice"),
            _one_of(needs.emotions, emotion, "speech-emotion-unknown", f"{self.model_version} has no emotion"),
        )

    def _require_letters(self, normal: str) -> None:
        unknown = sorted(set(normal) - self._ids.keys())
        if not unknown:
            return
        shown = " ".join(unknown[:_SHOWN]) + (f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else "")
        digits = any(letter.isdigit() for letter in unknown)
        raise InvalidInput(
            "speech-letters-unknown",
            f"{self.model_version} has not learnt to say: {shown}.",
            "Write numbers as words." if digits else "Leave them out, or train the voice on texts that have them.",
        )


def _one_of(known: Sequence[str], name: str | None, code: str, sentence: str) -> str:
    if name is None:
        return known[0]
    if name in known:
        return name
    names = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
    raise InvalidInput(code, f"{sentence} {quantities.shortened(name, 40)!r}.", f"It knows: {names}.")


def _session(path: Path) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library has a class of its own for each of its failures
        raise PermanentError(
            "speech-model-broken", f"{path.name} cannot be loaded ({quantities.shortened(str(error), 80)}).",
            "Convert the version again from its weights.",
        ) from error  # fmt: skip
