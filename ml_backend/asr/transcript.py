"""The values that the engine returns, the database stores and rendering reads.

A Transcript becomes a Transcription when it is stored. Times are seconds from the start of the recording, channels
count from 0, confidences are in 0..1 (formula: `guards.confidence`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Word:
    """One word with its time and the model's probability for it."""

    start_s: float
    end_s: float
    text: str
    probability: float


@dataclass(frozen=True)
class Segment:
    """One stretch of speech on one channel. `flags` say why it is doubtful; with NO_TEXT it is empty."""

    start_s: float
    end_s: float
    text: str
    channel: int = 0
    confidence: float = 0.0
    words: tuple[Word, ...] = ()
    flags: tuple[str, ...] = ()


NO_TEXT = "no-text"  # flag of a segment that is certain speech without a text
_NEWER = ("learnt_words", "corrections", "languages")  # fields that older digests lack


@dataclass(frozen=True)
class DecodingProfile:
    """Everything besides the audio and the weights that decides the text. Part of a transcription's key.

    `learnt_words` are (language, word) for the model's prompt. `corrections` are (language, form the model writes,
    corrected form). `languages` may be spoken when `language` is not given. Empty ones do not change the digest.
    """

    language: str | None = None
    prompt: str | None = None
    hotwords: tuple[str, ...] = ()
    hotwords_revision: int = 0
    beam_size: int = 5
    learnt_words: tuple[tuple[str, str], ...] = ()
    corrections: tuple[tuple[str, str, str], ...] = ()
    languages: tuple[str, ...] = ()

    def words_for(self, language: str) -> tuple[str, ...]:
        """Hotwords and learnt words for a language."""
        return (*self.hotwords, *(word for spoken, word in self.learnt_words if spoken == language))

    def without(self, language: str, word: str) -> DecodingProfile:
        """The same profile without the learnt word and corrections of one word."""
        words = tuple(one for one in self.learnt_words if one != (language, word))
        return replace(
            self,
            learnt_words=words,
            corrections=tuple(one for one in self.corrections if (one[0], one[2]) != (language, word)),
        )

    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON form."""
        said = {k: v for k, v in asdict(self).items() if v or k not in _NEWER}
        canonical = json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Transcript:
    """The text of one recording: segments in time order; an empty tuple for silence."""

    segments: tuple[Segment, ...]
    language: str | None
    language_probability: float
    duration_s: float
    confidence: float
    model_version: str
    flags: tuple[str, ...] = field(default=())

    @property
    def text(self) -> str:
        """All segment texts in time order, joined by single spaces."""
        ordered = sorted(self.segments, key=lambda s: (s.start_s, s.channel))
        return " ".join(s.text.strip() for s in ordered if s.text.strip())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, the shape `transcribe --json` prints and the row stores."""
        return {**asdict(self), "text": self.text}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Transcript:
        """The inverse of `to_json`."""
        segments = tuple(
            Segment(
                **{
                    **{k: v for k, v in s.items() if k not in ("words", "flags")},
                    "words": tuple(Word(**w) for w in s.get("words", ())),
                    "flags": tuple(s.get("flags", ())),
                }
            )
            for s in data["segments"]
        )
        rest = {k: v for k, v in data.items() if k not in ("segments", "text", "flags")}
        return Transcript(segments=segments, flags=tuple(data.get("flags", ())), **rest)
