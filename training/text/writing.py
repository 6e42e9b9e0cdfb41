"""Text -> the same text, written one way: `strict` and `indic`. Pure.

The stock Whisper normaliser removes every combining mark, which turns "किताब" into "कतब" and hides half of a Hindi
model's errors. Here no mark is removed: vowel signs, nukta, candrabindu, anusvara, visarga and virama all stay, so a
wrong one is an error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

ZWJ, VIRAMA = "\u200d", "\u094d"

SPOKEN_SIGNS = "%&@+=°"  # spoken, so each is a word; so are currency signs

_EYELASH = f"\u0930{VIRAMA}{ZWJ}"  # Marathi: दुसर्‍या is also typed दुसऱ्या, and दर्या is another word
_GROUPED = re.compile(r"(?<![\d,])\d{1,3}(?:,\d{2,3})*,\d{3}(?![\d,]\d)")  # 1,25,000 and 125,000
_VULGAR = re.compile(r"(\d*)\s*([¼½¾])")
_VULGAR_VALUES = {"¼": "25", "½": "5", "¾": "75"}
_DIGIT = re.compile(r"\d")
_POINT = re.compile(r"\.(?<=\d.)(?=\d)")  # matches the point first: a look-behind at every character is slow
_APOSTROPHE = re.compile(r"['’‘ʼ`´](?<=\S.)(?=\S)")
_KEPT_POINT = "\ue000"  # a point between digits while punctuation is removed
_NEXT_TEXT = "\ue001"  # between texts that are processed at once


def strict(text: str) -> str:
    """As written, in Unicode's composed form: case and punctuation count, the amount of white space does not.

    Invisible characters (byte order marks, zero-width spaces, direction marks) are removed; joiners stay, because they
    change what is shown.
    """
    kept = "".join(_shown(character) for character in text) if not text.isascii() else text
    return " ".join(unicodedata.normalize("NFC", kept).split())


def indic(text: str) -> str:
    """Words only: no case, no punctuation (nor danda), no joiners; one encoding for text that looks the same.

    1,25,000 is 125000 and 3.5 stays one word. Spoken signs (%, ₹) are words.
    """
    return " ".join(_words_only(text.replace(_NEXT_TEXT, " ")).split())


def indic_words(texts: Sequence[str]) -> list[list[str]]:
    """The words of each text after `indic`: batching many short texts halves the cost."""
    joined = f" {_NEXT_TEXT} ".join(text.replace(_NEXT_TEXT, " ") for text in texts)
    return [text.split() for text in _words_only(joined).split(_NEXT_TEXT)] if texts else []


@lru_cache(maxsize=8192)
def ascii_digits(word: str) -> str:
    """Digits of every script as 0..9."""
    if word.isascii():
        return word
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in word)


def vulgar_fractions(text: str) -> str:
    """3½ -> 3.5, before punctuation is removed."""
    if text.isascii():
        return text
    return _VULGAR.sub(lambda found: f"{found[1] or '0'}.{_VULGAR_VALUES[found[2]]}", text)


def _words_only(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).replace(_EYELASH, f"\u0931{VIRAMA}")
    text = text.replace(_KEPT_POINT, " ")  # a private-use character, no letter
    if _DIGIT.search(text):
        text = _GROUPED.sub(lambda found: found[0].replace(",", ""), text)
        text = _POINT.sub(_KEPT_POINT, text)
    text = _APOSTROPHE.sub("", text.casefold())
    text = text.translate(_WORD_PARTS)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)  # marks may be adjacent after removals
    return text


@lru_cache(maxsize=8192)
def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\u200c\u200d" or category not in ("Cf", "Cc", "Co", "Cs"):
        return character
    return " " if category == "Cc" else ""


class _WordParts(dict[int, str]):
    """Code point -> its replacement for `str.translate`; computed once for each."""

    def __missing__(self, code: int) -> str:
        part = self[code] = _word_part(chr(code))
        return part


def _word_part(character: str) -> str:
    """A character's form in words; "" joins its neighbours, " " separates them."""
    if character == _KEPT_POINT:
        return "."
    if character == _NEXT_TEXT:
        return character
    category = unicodedata.category(character)
    if "\ufe00" <= character <= "\ufe0f" or character == "\u20e3" or category == "Cf":
        return ""  # emoji variation selectors, joiners, direction marks
    if category[0] in "LMN":
        return character
    if character in SPOKEN_SIGNS or category == "Sc":
        return f" {character} "
    return " "


_WORD_PARTS = _WordParts()
