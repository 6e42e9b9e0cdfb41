"""Aligned words of a window -> TimedPhraseWords, with times that agree with voice activity.

After a pause, alignment by attention places a word's end well and its start badly: it gives the pause to the next
token. If that token is the first word of the next stretch, the word begins seconds early and may fall into the stretch
before. Voice activity is more exact about where speech begins. So a word that ends inside a stretch belongs to that
stretch. A word that ends where a stretch begins goes to the side where it covers enough speech for its length. A first
word does not begin long before its stretch and lasts at most twice the median word (the limit in faster-whisper).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ml_backend.asr.transcript import Word
from ml_backend.asr.windows import SpeechPhrase, Window

_INSIDE_S = 0.15
_EARLY_S = 0.1  # attention is early, and voice activity late, by about this much
_BEFORE_SPEECH_S = 0.2  # soft first sounds lie before the place where speech is found
_AFTER_SPEECH_S = 0.3
_SHORTEST_S, _LONGEST_S = 0.05, 0.6  # a first word may always last _LONGEST_S, however short the others are
_S_PER_LETTER = 0.07  # when a window has too few words to measure it
_CERTAIN = 0.5  # mean voice activity of speech that should have words
_UNTRANSCRIBED_S, _UNTRANSCRIBED_PHRASE_S = (
    1.5,
    0.8,
)  # shorter pieces without words are breath, laughter, or loosely placed words


@dataclass(frozen=True)
class TimedPhraseWords:
    """A phrase and its words, still in seconds from the start of the window."""

    phrase: SpeechPhrase
    words: tuple[Word, ...]


def by_phrase(words: Sequence[Word], window: Window) -> list[TimedPhraseWords]:
    """Assign every word, in order, to the phrase in which it was said."""
    phrases = window.phrases()
    pace = _s_per_letter(words)
    durations = [word.end_s - word.start_s for word in words if word.end_s > word.start_s]
    longest_s = max(_LONGEST_S, 2 * statistics.median(durations)) if durations else _LONGEST_S
    groups: list[list[Word]] = [[] for _ in phrases]
    place = 0
    for word in words:
        place = max(place, _place(word, phrases, pace))
        groups[place].append(word)
    return [
        TimedPhraseWords(phrase, _fitted(group, phrase, longest_s))
        for phrase, group in zip(phrases, groups, strict=True)
        if group
    ]


def _place(word: Word, phrases: Sequence[SpeechPhrase], pace: float) -> int:
    touched = [number for number, phrase in enumerate(phrases) if phrase.start_s < word.end_s > word.start_s]
    touched = [number for number in touched if word.start_s < phrases[number].end_s]
    if len(touched) < 2:
        middle_s = (word.start_s + word.end_s) / 2
        return sum(phrase.end_s <= middle_s for phrase in phrases[:-1])
    if word.end_s - phrases[touched[-1]].first_s > _INSIDE_S:
        return touched[-1]
    wanted_s = min(max(len(word.text.strip()) * pace, 0.1), 0.8)

    def misfit(number: int) -> float:
        phrase = phrases[number]
        begins_s, ends_s = phrase.first_s - _EARLY_S, phrase.last_s - _EARLY_S
        covered_s = min(word.end_s, ends_s) - max(word.start_s, begins_s)
        return abs(math.log(max(covered_s, 0.02) / wanted_s))

    return min(touched, key=lambda number: (misfit(number), -number))


def _fitted(words: list[Word], phrase: SpeechPhrase, longest_s: float) -> tuple[Word, ...]:
    def inside(seconds: float) -> float:
        return min(max(seconds, phrase.start_s), phrase.end_s)

    fitted = [replace(word, start_s=inside(word.start_s), end_s=inside(word.end_s)) for word in words]
    first = fitted[0]
    floor_s = min(phrase.first_s - _BEFORE_SPEECH_S, first.end_s - _SHORTEST_S)
    start_s = max(first.start_s, floor_s, first.end_s - longest_s)
    fitted[0] = replace(first, start_s=min(start_s, first.end_s))
    last = fitted[-1]
    ceiling_s = max(phrase.last_s + _AFTER_SPEECH_S, last.start_s + _SHORTEST_S)
    fitted[-1] = replace(last, end_s=min(last.end_s, ceiling_s))
    return tuple(fitted)


def _s_per_letter(words: Sequence[Word]) -> float:
    paces = [
        (word.end_s - word.start_s) / len(word.text.strip())
        for word in words
        if word.end_s > word.start_s and word.text.strip()
    ]
    return statistics.median(paces) if len(paces) > 2 else _S_PER_LETTER


def untranscribed(spoken: Sequence[TimedPhraseWords], window: Window) -> list[tuple[SpeechPhrase, float, float]]:
    """Stretches of certain speech that no word covers, in seconds from the start of the window."""
    words = {one.phrase: one.words for one in spoken}
    found = []
    for phrase in window.phrases():
        if phrase.probability < _CERTAIN:
            continue
        timed = words.get(phrase, ())
        edges = [phrase.first_s, *(s for word in timed for s in (word.start_s, word.end_s)), phrase.last_s]
        least_s = _UNTRANSCRIBED_S if timed else _UNTRANSCRIBED_PHRASE_S
        found += [
            (phrase, start_s, end_s)
            for start_s, end_s in zip(edges[::2], edges[1::2], strict=True)
            if end_s - start_s >= least_s
        ]
    return found
