"""Facts about a drafted piece -> its expected gain per minute of work, and why, in plain words. Pure.

    gain per minute = worth x words x error x usable x quality x rare x speaker x slices / minutes

`worth` is what one corrected error in this language brings (training/usefulness/error_worth.py), `error` the expected
errors per word, `usable` the chance that the task ends with a text. It is return on investment as in Haertel et al.,
"Return on Investment for Active Learning" (2008): value divided by cost, not value alone. Usefulness is
gain / (gain + typical gain): 0.5 for a typical task, and always between 0 and 1.
"""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_backend.languages import name_of
from ml_backend.usefulness.team_model import TeamModel

MOST_RARE = 0.5  # a larger share of unknown words is a sign of a wrong draft, not of a rich one
FEW_OF_SPEAKER = 3  # annotated calls of one caller, above which the caller is no news
_PUNCTUATION = string.punctuation + "।॥…“”‘’–—"
SAID_SLICE = 1.15  # a slice's weight from which the reason names it


@dataclass(frozen=True)
class WorthFacts:
    """`words` is the text of the draft, `audio_s` the length of the piece; `slices`: kind -> name, e.g. snr -> 5-10 dB.

    `speaker_tasks`: annotated tasks of the same caller; None: the caller is not known.
    """

    language: str | None
    confidence: float
    words: tuple[str, ...]
    audio_s: float
    quality: float = 1.0
    slices: Mapping[str, str] = field(default_factory=dict)
    speaker_tasks: int | None = None


@dataclass(frozen=True)
class TaskWorth:
    """`expected_error` in errors per word, `minutes` of work, `gain` in corrected errors per minute."""

    expected_error: float
    minutes: float
    gain: float
    usefulness: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        """The value of `tasks.expected`."""
        return {
            "error": round(self.expected_error, 4), "minutes": round(self.minutes, 3), "gain": round(self.gain, 4),
        }  # fmt: skip


def worth_of(model: TeamModel, facts: WorthFacts) -> TaskWorth:
    """What annotating a piece is expected to bring and to cost."""
    error = model.expected_error(facts.language, facts.confidence)
    audio_min = max(facts.audio_s, 1.0) / 60
    per_minute = min(model.minutes.with_draft(error), model.minutes.from_nothing)
    minutes = audio_min * per_minute
    rare = _rare_share(facts.words, model.known_words.get(facts.language or ""))
    weights = {kind: float(model.slices.get(kind, {}).get(name, 1.0)) for kind, name in facts.slices.items()}
    weight = (1 + rare) * _speaker_weight(facts.speaker_tasks)
    for each in weights.values():
        weight *= each
    corrected = len(facts.words) * error * model.usable_share(facts.confidence) * facts.quality
    gain = model.worth.get(facts.language or "", 1.0) * corrected * weight / minutes
    useful = round(min(0.999, gain / (gain + model.typical_gain)), 4) if gain > 0 else 0.0
    return TaskWorth(error, minutes, gain, useful, _reason(model, facts, error, minutes, rare, weights))


def word_key(word: str) -> str:
    """A word without case and punctuation, as `TeamModel.known_words` has it."""
    return word.strip(_PUNCTUATION).casefold()


def _rare_share(words: Collection[str], known: frozenset[str] | None) -> float:
    """The share of words that few calls have taught so far; 0 while nothing is known about the language."""
    if not known or not words:
        return 0.0
    return min(MOST_RARE, sum(word_key(word) not in known for word in words) / len(words))


def _speaker_weight(tasks: int | None) -> float:
    """Up to a third more for a caller of whom little is annotated."""
    return 1.0 if tasks is None else 1 + (1 / 3) / (1 + tasks)


def _reason(
    model: TeamModel, facts: WorthFacts, error: float, minutes: float, rare: float, weights: Mapping[str, float]
) -> str:
    wrong = round(len(facts.words) * error)
    parts = [f"About {wrong} of {len(facts.words)} words may be wrong; correcting takes about {_time(minutes)}"]
    if rare >= 0.1:
        parts.append(f"{100 * rare:.0f} % of its words are rare in what is annotated")
    if facts.speaker_tasks is not None and facts.speaker_tasks < FEW_OF_SPEAKER:
        parts.append(f"{'little' if facts.speaker_tasks else 'nothing'} is annotated of this caller")
    parts += [
        f"{_slice_name(kind, facts.slices[kind])} is annotated less than its share of calls"
        for kind, weight in weights.items() if weight >= SAID_SLICE
    ]  # fmt: skip
    language = facts.language or ""
    if model.worth.get(language, 1.0) >= SAID_SLICE:
        parts.append(f"an hour of {name_of(language)} brings more than an hour of other languages now")
    if not model.errors:
        parts.append("estimated from the model's confidence alone, because nothing is learnt from corrections yet")
    return "; ".join(parts) + "."


def _slice_name(kind: str, name: str) -> str:
    return f"speech at {name} above noise" if kind == "snr" else f"audio with {name}"


def _time(minutes: float) -> str:
    if minutes < 1.5:
        return f"{max(5, 5 * round(12 * minutes))} seconds"
    return f"{minutes:.0f} minutes" if minutes >= 10 else f"{minutes:.1f} minutes".replace(".0 ", " ")
