"""The values that sampling passes on, and every reason why a piece is left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

from ml_backend.calls import sample_use

MIN_S, MAX_S = 0.2, 30.0  # a model transcribes windows of up to 30 seconds

REASONS = MappingProxyType(
    {
        "no-text": "There is speech without a text.",
        "unclear": "A part of the text is marked as not understood.",
        "script": "The text is not in the script the project writes this language in.",
        "language-unknown": "No annotator chose the language, the project has none, and detection is uncertain.",
        "no-anchor": "The words at the ends of the piece do not match words whose time is known.",
        "too-short": f"The piece is shorter than {MIN_S} seconds.",
        "too-long": f"The piece is longer than {MAX_S:.0f} seconds and cannot be cut at a pause.",
        "rejected": "The call was rejected by the person who listened.",
        "redraft-asked": "The person who listened asked for a draft in another language.",
        "skipped": "All annotators skipped the task.",
        "low-agreement": "Two people wrote very different texts, and no reviewer has decided.",
        "overlap": "Two regions with words overlap on one channel: each contains both voices.",
        "gold": "The task has a known answer: it measures people.",
        **sample_use.REASONS,
    }
)


@dataclass(frozen=True)
class DraftWord:
    """A word of a draft with its time from the start of the task's audio."""

    start_s: float
    end_s: float
    text: str
    channel: int = 0


@dataclass(frozen=True)
class SamplePiece:
    """A span of a task's audio on one channel with its text; `reason`: a code if it may not be used."""

    start_s: float
    end_s: float
    channel: int
    text: str
    reason: str = ""

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s

    def but(self, reason: str) -> SamplePiece:
        """The same piece, left out for `reason` unless it already has one."""
        return self if self.reason else replace(self, reason=reason)


@dataclass(frozen=True)
class Audio:
    """A task's audio: its length, its channels, and words with times, in time order."""

    length_s: float
    channels: int = 1
    words: tuple[DraftWord, ...] = ()
