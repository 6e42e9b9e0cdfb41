"""Words -> the same words with every number in digits: ढाई हज़ार, twenty-five hundred and 2,500 are all 2500. Pure.

A number phrase becomes one word with its exact value. Spoken fractions: सवा (a quarter more), साढ़े (a half more), पौने
(a quarter less), डेढ़, ढाई, सव्वा, साडे, पावणे, दीड, अडीच. Three or more single digits become one string of digits, like a
telephone or order number; two stay separate, because "दो तीन दिन" is not 23 days. Leading zeros are kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from training.text import number_words as words
from training.text.number_lexicon import NumberWord, Vocabulary, vocabulary, word_of
from training.text.numerals import cardinal, tidy
from training.text.writing import ascii_digits

DIGITS_IN_A_ROW = 3
_CENTURIES = (Decimal(18), Decimal(19), Decimal(20))

_GLUED = re.compile(r"(\d+(?:\.\d+)?)([^\d.].*)")  # 500रुपये, 5kg
_GLUED_SIGN = re.compile(r"(rs|रु|inr)(\d+(?:\.\d+)?)")


def in_digits(text: str, language: str | None) -> str:
    """`text` (words separated by single spaces, the output of `indic`) with its numbers in ASCII digits."""
    if not text:
        return text
    known = vocabulary(language, version=1)
    parts = [part for word in text.split() for part in _parts(ascii_digits(word))]
    sequence = [word_of(part, known.language, version=1) for part in parts]
    if not known.doubtful.isdisjoint(parts):
        sequence = [_in_context(parts, place, word, known) for place, word in enumerate(sequence)]
    said: list[str] = []
    place = 0
    while place < len(sequence):
        found, place_after = _number(sequence, place)
        said.append(sequence[place].text if found is None else found)
        place = place_after
    return " ".join(_signs(said, known.language or ("hi" if not text.isascii() else "en")))


def _parts(word: str) -> Sequence[str]:
    glued = _GLUED.fullmatch(word) or _GLUED_SIGN.fullmatch(word)
    return (glued[1], glued[2]) if glued else (word,)


def _in_context(parts: Sequence[str], place: int, word: NumberWord, known: Vocabulary) -> NumberWord:
    """`do` and `teen` are numbers beside words that occur only with numbers: do sau, saadhe teen."""
    if parts[place] not in known.doubtful:
        return word
    before = parts[place - 1] if place else ""
    after = parts[place + 1] if place + 1 < len(parts) else ""
    counted = after in known.hundreds or (after in known.scales and after != "k")
    return word_of(parts[place], "hi", version=1) if before in known.shifts or counted else word


def _number(sequence: Sequence[NumberWord], place: int) -> tuple[str | None, int]:
    """(the number at `place` in digits, or None; the place after it, or after one word)."""
    in_a_row = _digit_by_digit(sequence, place) or _year(sequence, place)
    if in_a_row:
        return in_a_row
    value, at = cardinal(sequence, place, version=1)
    if at == place:
        return None, place + 1
    return tidy(sequence[place].digits if at == place + 1 and sequence[place].digits else f"{value:f}"), at


def _year(sequence: Sequence[NumberWord], place: int) -> tuple[str, int] | None:
    """nineteen ninety nine, twenty twenty six: two halves, in English only."""
    first, rest = sequence[place], sequence[place + 1 : place + 3]
    if not rest or not first.english or first.value not in _CENTURIES or not rest[0].english:
        return None
    year, after = rest[0].value or Decimal(0), place + 2
    if year < 10 or rest[0].digits:
        return None
    if year >= 20 and year % 10 == 0 and len(rest) > 1 and rest[1].english and 1 <= (rest[1].value or 0) <= 9:
        year, after = year + (rest[1].value or 0), place + 3
    following = sequence[after] if after < len(sequence) else None
    if following is not None and (following.hundred or following.scale is not None):
        return None  # twenty, fifty thousand
    return f"{first.value}{year}", after


def _digit_by_digit(sequence: Sequence[NumberWord], place: int) -> tuple[str, int] | None:
    """Three or more single digits in a row; `double nine` counts as two."""
    said: list[tuple[str, int]] = []  # digits, and the place after them
    at = place
    while at < len(sequence):
        times = words.DOUBLES.get(sequence[at].key, 1)
        following = at + 1 if times > 1 else at
        if following >= len(sequence) or not sequence[following].one_digit:
            break
        at = following + 1
        said.append((sequence[following].one_digit * times, at))
    if said and at < len(sequence) and (sequence[at].hundred or sequence[at].scale or sequence[at].point):
        said.pop()  # the last one begins another number
    digits = "".join(part for part, _ in said)
    return (digits, said[-1][1]) if len(digits) >= DIGITS_IN_A_ROW else None


def _signs(said: Sequence[str], tongue: str) -> list[str]:
    """₹ 500, Rs 500 and 500 Rs become 500 rupees; 50 % becomes 50 percent."""
    out: list[str] = []
    place = 0
    while place < len(said):
        here, after = said[place], said[place + 1] if place + 1 < len(said) else ""
        if here in words.RUPEE_SIGNS and after[:1].isdigit():
            out += [after, words.CURRENCY[tongue]]
            place += 2
        elif here in words.RUPEE_SIGNS and out and out[-1][:1].isdigit():
            out.append(words.CURRENCY[tongue])
            place += 1
        else:
            out.append(words.PERCENT[tongue] if here == "%" and out and out[-1][:1].isdigit() else here)
            place += 1
    return out
