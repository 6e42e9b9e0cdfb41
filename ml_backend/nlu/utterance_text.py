"""Offsets in an utterance: code points for us, UTF-16 units for a browser, whole characters for people. Pure.

Everything here keeps the text's length, so that an offset found by the model is an offset in the text as it was given.
A character that a person sees may be several code points: स्त्री is six, a family emoji seven. A span never cuts one.
"""

from __future__ import annotations

import re
import unicodedata

_JOINERS = "\u200c\u200d"  # of Indic conjuncts and of emoji
_VIRAMAS = "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d"
_TAGS = "a|abbr|b|blockquote|body|br|code|div|em|font|h[1-6]|head|hr|html|i|img|li|ol|p|pre|s|script|small|span|strong"
_MARKUP = re.compile(
    rf"<!--.{{0,2000}}?-->|</?(?:{_TAGS}|style|su[bp]|table|t[dhr]|tbody|u|ul)(?:\s[^<>]{{0,500}})?/?>"
    r"|&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[A-Za-z]{2,8});",
    re.IGNORECASE | re.DOTALL,
)
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: no encoder can write it
_EDGES = " \t\n\r\u00a0.,;:!?।॥…\"'“”‘’()[]{}<>«»|"


def readable(text: str) -> str:
    """The text as a model reads it, of the same length: markup and invisible characters are spaces."""
    if text.isprintable() and "<" not in text and "&" not in text:
        return text  # nearly every utterance
    text = _MARKUP.sub(lambda found: " " * len(found.group()), text)
    return _SURROGATE.sub("\ufffd", _UNSEEN.sub(" ", text))


def whole_span(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without spaces and punctuation at its edges, and with the whole of its first and last character.

    Returns an empty span (start, start) if nothing is left.
    """
    start, end = max(0, start), min(len(text), end)
    while start < end and text[start] in _EDGES:
        start += 1
    while end > start and text[end - 1] in _EDGES:
        end -= 1
    if start >= end:
        return start, start
    while start > 0 and _continues(text, start):
        start -= 1
    while end < len(text) and _continues(text, end):
        end += 1
    return start, end


def utf16_offset(text: str, offset: int) -> int:
    """An offset in code points -> the same place in UTF-16 units, as JavaScript and Label Studio's browser count."""
    return offset + sum(letter > "\uffff" for letter in text[:offset])


def code_point_offset(text: str, units: int) -> int:
    """An offset in UTF-16 units -> code points. One inside a surrogate pair is that of its character."""
    at = 0
    for number, letter in enumerate(text):
        at += 2 if letter > "\uffff" else 1
        if at > units:
            return number
    return len(text)


def _continues(text: str, at: int) -> bool:
    """Whether the code point at this place belongs to the character before it."""
    letter, before = text[at], text[at - 1]
    if letter.isascii() and before != "\u200d":
        return False  # nearly every end of a span
    if unicodedata.category(letter).startswith("M") or letter in _JOINERS or "\U0001f3fb" <= letter <= "\U0001f3ff":
        return True  # a sign, a joiner, a skin tone
    if before == "\u200d" or (before in _VIRAMAS and unicodedata.category(letter) == "Lo"):
        return True
    return _is_flag(letter) and _is_flag(before) and _flags_before(text, at) % 2 == 1


def _is_flag(letter: str) -> bool:
    """A regional indicator: two of them are one flag."""
    return "\U0001f1e6" <= letter <= "\U0001f1ff"


def _flags_before(text: str, at: int) -> int:
    count = 0
    while count < at and _is_flag(text[at - 1 - count]):
        count += 1
    return count
