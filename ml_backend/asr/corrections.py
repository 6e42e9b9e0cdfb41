"""Transcript -> the same with what people always correct corrected.

A model that hears `some sara` wherever callers say `Samsara` makes the same mistake in every call. Once people have
approved the correction it is made here, right after decoding: words keep their times, marks around a word stay, and a
form is only found as whole words. No model has to be asked again, so it costs nothing and takes effect at once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from ml_backend.asr.transcript import Segment, Transcript, Word

Correction = tuple[str, str, str]  # (language, heard, meant)
MOST_WORDS = 3  # of a heard form


def apply(transcript: Transcript, corrections: Sequence[Correction]) -> Transcript:
    """Corrections of the transcript's own language, the longest form first; nothing is corrected twice."""
    forms = {fold(heard): meant for language, heard, meant in corrections if language == transcript.language}
    if not forms:
        return transcript
    return replace(transcript, segments=tuple(_segment(segment, forms) for segment in transcript.segments))


def apply_to_text(text: str, corrections: Sequence[Correction], language: str | None) -> str:
    """The same for a text without times."""
    forms = {fold(heard): meant for spoken, heard, meant in corrections if spoken == language}
    pieces = [Word(0.0, 0.0, token, 1.0) for token in text.split()]
    return " ".join(word.text for word in _corrected(pieces, forms)) if forms else text


def fold(text: str) -> str:
    """A form as it is compared: one shape per letter, no case, no marks at the edges of words. Vowel signs stay."""
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
    """The words meant, in the time of those heard, between the marks that stood around those."""
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
    """One word as it is compared. Words come again and again."""
    return _core(unicodedata.normalize("NFC", word))[1].casefold()


def _core(word: str) -> tuple[str, str, str]:
    """(marks before, the word, marks after)."""
    first, last = 0, len(word)
    while first < last and _is_mark(word[first]):
        first += 1
    while last > first and _is_mark(word[last - 1]):
        last -= 1
    return word[:first], word[first:last], word[last:]


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS" or character in "\u200b\ufeff"
