"""WAV of any length -> Transcript, span by span, with a few minutes of samples in memory.

Spans end in pauses. Elsewhere the text equals that of the whole file transcribed at once: the voice-activity model
keeps its state from span to span, and the first span with speech decides the language. (A model that packs several
sentences into one window starts a new window at each span.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile, Segment, Transcript, Word
from ml_backend.asr.windows import Probabilities, VoiceTracker
from ml_backend.audio import decoding
from ml_backend.errors import KaanError

AT_ONCE_S = 300.0  # longer audio is transcribed in spans


class Transcribes(Protocol):
    """A Transcriber, or what stands before one."""

    def transcribe(self, requests: Sequence[Request]) -> list[Transcript | KaanError]:
        """One answer per request, in order."""


class SpanTranscriber:
    """Transcribes the spans of one recording in order; keeps the voice-activity state and the language."""

    def __init__(self, transcriber: Transcribes, wav: Path, profile: DecodingProfile, *, key: str = "") -> None:
        self.transcripts: list[tuple[float, Transcript]] = []
        self._transcriber, self._wav, self._profile, self._key = transcriber, wav, profile, key
        self._voices: list[VoiceTracker] = []

    def transcribe(self, start_s: float, end_s: float) -> Transcript | KaanError:
        """Transcribe from `start_s` to `end_s`; times count from `start_s`."""
        samples, speech = self._read(start_s, end_s)
        profile = self._profile
        if profile.language is None:
            profile = replace(
                profile, language=next((one.language for _, one in self.transcripts if one.segments), None)
            )
        [answer] = self._transcriber.transcribe([Request(samples, profile, key=self._key, speech=speech)])
        if isinstance(answer, Transcript):
            self.transcripts.append((start_s, answer))
        return answer

    def skip(self, start_s: float, end_s: float, known: Transcript) -> None:
        """Take the transcript of a span that was transcribed before."""
        self._read(start_s, end_s)
        self.transcripts.append((start_s, known))

    def _read(self, start_s: float, end_s: float) -> tuple[npt.NDArray[np.float32], tuple[Probabilities, ...]]:
        samples, _ = decoding.read_wav(self._wav, start_s=start_s, end_s=end_s)
        self._voices = self._voices or [VoiceTracker() for _ in samples]
        speech = [voice.probabilities(samples[channel, :]) for channel, voice in enumerate(self._voices)]
        return samples, tuple(speech)


def transcribe_long(
    transcriber: Transcribes, wav: Path, profile: DecodingProfile, *, spans: Sequence[tuple[float, float]]
) -> Transcript | KaanError:
    """Transcribe a WAV as `decoding.decode` writes it. `spans`, in seconds, cover its whole length without gaps."""
    span_transcriber = SpanTranscriber(transcriber, wav, profile)
    for start_s, end_s in spans:
        answer = span_transcriber.transcribe(start_s, end_s)
        if isinstance(answer, KaanError):
            return answer
    return merged(span_transcriber.transcripts)


def merged(transcripts: Sequence[tuple[float, Transcript]]) -> Transcript:
    """Join (start in seconds, Transcript) of spans into one; times count from the start of the recording."""
    segments = [_moved(segment, start_s) for start_s, one in transcripts for segment in one.segments]
    segments.sort(key=lambda segment: (segment.start_s, segment.channel))
    weight = sum(segment.end_s - segment.start_s for segment in segments)
    total = sum(segment.confidence * (segment.end_s - segment.start_s) for segment in segments)
    first = next((one for _, one in transcripts if one.segments), transcripts[0][1])
    last_start_s, last = transcripts[-1]
    return Transcript(
        segments=tuple(segments),
        language=first.language,
        language_probability=first.language_probability,
        duration_s=round(last_start_s + last.duration_s, 3),
        confidence=round(total / weight, 4) if weight else 0.0,
        model_version=first.model_version,
        flags=tuple(sorted({flag for _, one in transcripts for flag in one.flags})),
    )


def _moved(segment: Segment, by_s: float) -> Segment:
    words = tuple(
        Word(round(word.start_s + by_s, 2), round(word.end_s + by_s, 2), word.text, word.probability)
        for word in segment.words
    )
    return replace(segment, start_s=round(segment.start_s + by_s, 2), end_s=round(segment.end_s + by_s, 2), words=words)
