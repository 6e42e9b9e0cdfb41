"""Transcript -> Transcript with the approved corrections applied.

A model that writes `some sara` for `Samsara` makes the same mistake in every call. An approved correction is applied
right after decoding: words keep their times and their punctuation, and only whole words match. No model runs again, so
a correction takes effect at once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from ml_backend.asr.transcript import Segment, Transcript, Word

Correction = tuple[str, str, str]  # (language, form the model writes, corrected form)
MOST_WORDS = 3  # in the form that the model writes


def apply(transcript: Transcript, corrections: Sequence[Correction]) -> Transcript:
    """Apply the corrections of the transcript's language, longest form first; no word is corrected twice."""
    forms = {fold(written): meant for language, written, meant in corrections if language == transcript.language}
    if not forms:
        return transcript
    return replace(transcript, segments=tuple(_segment(segment, forms) for segment in transcript.segments))


def apply_to_text(text: str, corrections: Sequence[Correction], language: str | None) -> str:
    """`apply` for a text without times."""
    forms = {fold(written): meant for spoken, written, meant in corrections if spoken == language}
    pieces = [Word(0.0, 0.0, token, 1.0) for token in text.split()]
    return " ".join(word.text for word in _corrected(pieces, forms)) if forms else text


def fold(text: str) -> str:
    """A form normalised for comparison: NFC, case folded, no punctuation at word edges. Vowel signs stay."""
    return " ".join(key for key in map(_key, text.split()) if key)


def _segment(segment: Segment, forms: dict[str, str]) -> Segment:
    tokens = segment.text.split()
    if not segment.words:
        pieces = [Word(0.0, 0.0, token, 1.0) for token in tokens]
        text = " ".join(word.text for word in _corrected(pieces, forms))
        return replace(segment, text=text) if text != " ".join(tokens) else segment
    if [word.text for word in segment.words] != tokens:  # a language written without spaces: leave it alone
        return segment
    words = tuple(_corrected(segment.words, forms))
    if words == segment.words:
        return segment
    return replace(segment, words=words, text=" ".join(word.text for word in words))


def _corrected(words: Sequence[Word], forms: dict[str, str]) -> list[Word]:
    made: list[Word] = []
    at = 0
    while at < len(words):
        for size in range(min(MOST_WORDS, len(words) - at), 0, -1):
            some = words[at : at + size]
            meant = forms.get(" ".join(fold(word.text) for word in some))
            if meant is not None:
                made += _in_place_of(some, meant)
                at += size
                break
        else:
            made.append(words[at])
            at += 1
    return made


def _in_place_of(some: Sequence[Word], meant: str) -> list[Word]:
    """The corrected words, with the time span and the surrounding punctuation of the words they replace."""
    before, after = _core(some[0].text)[0], _core(some[-1].text)[2]
    texts = meant.split()
    texts[0] = before + texts[0]
    texts[-1] += after
    start_s, end_s = some[0].start_s, some[-1].end_s
    step_s = (end_s - start_s) / len(texts)
    probability = min(word.probability for word in some)
    return [
        Word(round(start_s + step_s * index, 3), round(start_s + step_s * (index + 1), 3), text, probability)
        for index, text in enumerate(texts)
    ]


@lru_cache(maxsize=50_000)
def _key(word: str) -> str:
    """One word normalised for comparison; cached because words repeat."""
    return _core(unicodedata.normalize("NFC", word))[1].casefold()


def _core(word: str) -> tuple[str, str, str]:
    """(punctuation before, the word, punctuation after)."""
    first, last = 0, len(word)
    while first < last and _is_mark(word[first]):
        first += 1
    while last > first and _is_mark(word[last - 1]):
        last -= 1
    return word[:first], word[first:last], word[last:]


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS" or character in "\u200b\ufeff"
