"""Transcripts of a growing audio -> text that is never taken back.

The local-agreement policy (Macháček, Dabre, Bojar 2023, after Liu et al. 2020): a word is stable when two transcripts
in a row agree on it and on all words before it. What was stable stays, also where a later transcript would have another
word there; words after it are then found by their times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ml_backend.asr.transcript import Transcript, Word
from ml_backend.asr.window_decoding import UNSPACED

HOLD_S = 1.0
"""Words that end less than this before the end of the audio stay unstable: a model that has not read how a sentence
goes on completes it, often twice in the same way. Word errors of the bundled model on 76 bundled calls, some with words
that it does not know: 37 in 100 for whole turns, 38 with 1 s, 40 with 0.8 s, 45 with 0.3 s."""
_EDIT_S = 0.3  # of difference in time that weighs as much as one word that differs
_MARKS = "\"'“”¿([{-.,。，!！?？:：)]}、।"


class StableText:
    """The stable words of one turn. Times are seconds from the start of the turn."""

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.unstable: list[Word] = []  # of the latest transcript, after the stable ones
        self._joint = " "

    @property
    def text(self) -> str:
        """What was given out so far."""
        return self._joint.join(word.text for word in self.words)

    @property
    def unstable_text(self) -> str:
        """What may still change."""
        return self._joint.join(word.text for word in self.unstable)

    def grown(self, transcript: Transcript, *, from_s: float, until_s: float) -> str:
        """Read a transcript of the audio from `from_s` on; returns the text that became stable, to append.

        Words that end after `until_s` stay unstable: the turn may be cut there.
        """
        self._joint = "" if transcript.language in UNSPACED else " "
        tail = self._tail(words_of(transcript, from_s=from_s), from_s)
        settled = next((place for place, word in enumerate(tail) if word.end_s > until_s), len(tail))
        agreed = min(_common(self.unstable, tail), settled)
        self.unstable = tail[agreed:]
        return self._appended(tail[:agreed])

    def ended(self, transcript: Transcript, *, from_s: float) -> str:
        """Read the last transcript, all of which is final; returns the rest of the text, to append."""
        self._joint = "" if transcript.language in UNSPACED else " "
        tail = self._tail(words_of(transcript, from_s=from_s), from_s)
        self.unstable = []
        return self._appended(tail)

    def _appended(self, words: list[Word]) -> str:
        before = self._joint if self.words and words else ""
        self.words += words
        return before + self._joint.join(word.text for word in words)

    def _tail(self, words: list[Word], from_s: float) -> list[Word]:
        """The words after the stable ones, where the transcript has them."""
        here = [word for word in self.words if (word.start_s + word.end_s) / 2 > from_s]
        if _common(here, words) == len(here):
            return words[len(here) :]
        return words[_place_of(here, words) :]


def words_of(transcript: Transcript, *, from_s: float) -> list[Word]:
    """The words in order, their times moved by `from_s`; a segment without word times shares its time out."""
    found: list[Word] = []
    for segment in sorted(transcript.segments, key=lambda segment: segment.start_s):
        parts = segment.text.split()
        each_s = (segment.end_s - segment.start_s) / max(1, len(parts))
        shared = (
            Word(segment.start_s + number * each_s, segment.start_s + (number + 1) * each_s, part, 0.0)
            for number, part in enumerate(parts)
        )
        found += [
            replace(word, start_s=word.start_s + from_s, end_s=word.end_s + from_s, text=word.text.strip())
            for word in segment.words or shared
        ]
    return [word for word in found if word.text]


def _place_of(stable: Sequence[Word], words: Sequence[Word]) -> int:
    """How many of the words cover the stable ones: least differing words, and an end at the same time."""
    row = list(range(len(words) + 1))  # of the edit distance between the stable words and the first n words
    for number, left in enumerate(stable, 1):
        before, row[0] = row[0], number
        for place, right in enumerate(words, 1):
            changed = before + (_plain(left) != _plain(right))
            before, row[place] = row[place], min(changed, row[place - 1] + 1, row[place] + 1)
    ends_s = [stable[0].start_s, *(word.end_s for word in words)]
    return min(range(len(row)), key=lambda place: row[place] + abs(ends_s[place] - stable[-1].end_s) / _EDIT_S)


def _common(one: Sequence[Word], other: Sequence[Word]) -> int:
    """The length of the common beginning; capitals and punctuation do not count."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if _plain(left) != _plain(right):
            break
        count += 1
    return count


def _plain(word: Word) -> str:
    return word.text.strip(_MARKS).casefold() or word.text
