"""Words -> the same words with every number in digits: ढाई हज़ार, twenty-five hundred and 2,500 are all 2500. Pure.

A number phrase becomes one word whose value is exact. Fractions as they are said: सवा (a quarter more), साढ़े (a half
more), पौने (a quarter less), डेढ़, ढाई, सव्वा, साडे, पावणे, दीड, अडीच. Three or more digits said one by one become one
string of digits, as a telephone or order number is written; two stay apart, because "दो तीन दिन" is not 23 days. Zeros
in front of written digits are kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from training.text import number_words as words
from training.text.number_words import spelling
from training.text.writing import ascii_digits

HALF, DIGITS_IN_A_ROW = Decimal("0.5"), 3
_CENTURIES = (Decimal(18), Decimal(19), Decimal(20))

_WRITTEN = re.compile(r"\d+(?:\.\d+)?")
_GLUED = re.compile(r"(\d+(?:\.\d+)?)([^\d.].*)")  # 500रुपये, 5kg
_GLUED_SIGN = re.compile(r"(rs|रु|inr)(\d+(?:\.\d+)?)")
_VULGAR = re.compile(r"(\d*)\s*([¼½¾])")
_VULGAR_VALUES = {"¼": "25", "½": "5", "¾": "75"}
_HUNDREDS = frozenset(map(spelling, words.HUNDREDS))
_POINTS = frozenset(map(spelling, words.POINTS))
_SHIFT_PREFIXES = tuple(sorted((w for w in words.SHIFTS if not w.isascii()), key=len, reverse=True))


@dataclass(frozen=True)
class _Word:
    """One word as numbers see it. `digits`: it is written in digits, and how."""

    text: str
    key: str
    value: Decimal | None = None  # of a number below a hundred, a fraction, or digits
    digits: str = ""
    english: bool = False
    shift: Decimal | None = None
    hundred: bool = False
    scale: Decimal | None = None

    @property
    def one_digit(self) -> str:
        """0..9, when it is one digit, said or written."""
        if self.digits:
            return self.digits if len(self.digits) == 1 else ""
        whole = self.value is not None and self.value == self.value.to_integral_value()
        return str(int(self.value)) if whole and self.value is not None and 0 <= self.value <= 9 else ""


def in_digits(text: str, language: str | None) -> str:
    """`text` (words parted by single spaces, as `indic` leaves them) with its numbers in ASCII digits."""
    tongue = language if language in words.SMALL and language else ""
    if not text:
        return text
    parts = [part for word in text.split() for part in _parts(ascii_digits(word))]
    sequence = [_word(part, tongue) for part in parts]
    if tongue not in ("en", "hi") and not words.ENGLISH_TOO.isdisjoint(parts):
        sequence = [_in_context(parts, place, word) for place, word in enumerate(sequence)]
    said: list[str] = []
    place = 0
    while place < len(sequence):
        found, place_after = _number(sequence, place)
        said.append(sequence[place].text if found is None else found)
        place = place_after
    return " ".join(_signs(said, tongue or ("hi" if not text.isascii() else "en")))


def vulgar_fractions(text: str) -> str:
    """3½ -> 3.5, before punctuation is removed."""
    if text.isascii():
        return text
    return _VULGAR.sub(lambda found: f"{found[1] or '0'}.{_VULGAR_VALUES[found[2]]}", text)


def _parts(word: str) -> Sequence[str]:
    glued = _GLUED.fullmatch(word) or _GLUED_SIGN.fullmatch(word)
    return (glued[1], glued[2]) if glued else (word,)


def _in_context(parts: Sequence[str], place: int, word: _Word) -> _Word:
    """`do` and `teen` are numbers beside words that only go with numbers: do sau, saadhe teen."""
    if parts[place] not in words.ENGLISH_TOO:
        return word
    before = parts[place - 1] if place else ""
    after = parts[place + 1] if place + 1 < len(parts) else ""
    counted = after in _HUNDREDS or (after in words.SCALES and after != "k")
    return _word(parts[place], "hi") if before in words.SHIFTS or counted else word


@lru_cache(maxsize=65536)
def _word(text: str, tongue: str) -> _Word:
    key = spelling(text)
    if _WRITTEN.fullmatch(text):
        return _Word(text, key, Decimal(text), digits=text)
    if key in words.SHIFTS:
        return _Word(text, key, shift=words.SHIFTS[key])
    if key in _HUNDREDS:
        return _Word(text, key, hundred=True)
    if key in words.SCALES:
        return _Word(text, key, scale=words.SCALES[key])
    value = _value(key, tongue)
    return _Word(text, key, value, english=key in words.ENGLISH_UNITS_AND_TENS)


def _value(key: str, tongue: str) -> Decimal | None:
    """Of one word, which in Marathi may hold a whole number: साडेतीनशे is 350."""
    if key in words.SMALL[tongue]:
        return words.SMALL[tongue][key]
    if key in words.FRACTIONS:
        return words.FRACTIONS[key]
    if key == words.WHOLE_HUNDRED:
        return Decimal(100)
    if key.isascii():
        return None
    if key.endswith(("शे", "शें")):
        stem = key[: key.rindex("शे")]
        value = Decimal("1.25") if words.SHIFTS.get(stem) == Decimal("0.25") else _value(stem, tongue)
        return value * 100 if value is not None and value < 100 else None
    for prefix in _SHIFT_PREFIXES:
        if key.startswith(prefix) and (rest := _value(key[len(prefix) :], tongue)) is not None:
            return rest + words.SHIFTS[prefix] if 1 <= rest < 100 else None
    return None


def _number(sequence: Sequence[_Word], place: int) -> tuple[str | None, int]:
    """The number that begins at `place` in digits, or None; and the place after it (after one word when None)."""
    in_a_row = _digit_by_digit(sequence, place) or _year(sequence, place)
    if in_a_row:
        return in_a_row
    total, current, last_scale, at = Decimal(0), None, None, place
    while at < len(sequence):
        word = sequence[at]
        if word.scale is not None:
            if current is None and at > place and sequence[at - 1].scale is not None:
                if last_scale is None or word.scale <= last_scale:
                    break
                total, last_scale = total * word.scale, word.scale  # a lakh crore
            elif last_scale is not None and word.scale >= last_scale:
                break
            elif word.key == "k" and (current is None or not sequence[at - 1].digits):
                break  # 5k, never the letter
            else:
                total += (Decimal(1) if current is None else current) * word.scale
                current, last_scale = None, word.scale
            at += 1
        elif word.hundred:
            if current is not None and current >= 100:
                break
            if current is None and word.key.startswith("शे"):
                break
            current = Decimal(100) * (Decimal(1) if current is None else current)
            at += 1
        else:
            current_after, at_after = _below_hundred(sequence, at, current, total)
            if at_after == at:
                break
            current, at = current_after, at_after
    if at == place:
        return None, place + 1
    if at == place + 1 and sequence[place].digits:
        return _tidy(sequence[place].digits), at
    return _written(total + (current or 0)), at


def _year(sequence: Sequence[_Word], place: int) -> tuple[str, int] | None:
    """nineteen ninety nine, twenty twenty six: said in two halves, in English alone."""
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


def _below_hundred(
    sequence: Sequence[_Word], at: int, current: Decimal | None, total: Decimal
) -> tuple[Decimal | None, int]:
    """What `current` is with the word at `at`, and the place after; the same place when the word does not belong."""
    word, rest = sequence[at], sequence[at + 1 :]
    if word.shift is not None:
        if current is not None:
            return current, at
        if rest and rest[0].value is not None and 1 <= rest[0].value < 100 and rest[0].shift is None:
            return rest[0].value + word.shift, at + 2
        alone = word.shift == Decimal("0.25") or (bool(rest) and (rest[0].hundred or rest[0].scale is not None))
        return (1 + word.shift, at + 1) if alone and word.shift != HALF else (current, at)
    if word.key == "and" and rest and (current is not None or total):
        if [one.key for one in rest[:2]] == ["a", "half"] and current is not None:
            return current + HALF, at + 3
        follows = rest[0].value is not None and rest[0].value < 100 and not _makes_thousands(rest)
        after_hundred = current is not None and current >= 100 and current % 100 == 0
        if follows and (after_hundred or (current is None and total)):
            return (current or Decimal(0)) + (rest[0].value or Decimal(0)), at + 2
        return current, at
    if word.key in _POINTS and current is not None and current == current.to_integral_value():
        decimals, after = _decimals(sequence, at + 1)
        return (current + Decimal(f"0.{decimals}"), after) if decimals else (current, at)
    if word.key in ("a", "an") and current is None and not total:
        scaled = bool(rest) and not rest[0].digits and (rest[0].hundred or rest[0].scale is not None)
        return (Decimal(1), at + 1) if scaled and rest[0].key != "k" else (current, at)
    if word.value is None:
        return current, at
    if current is None:
        return (word.value, at + 1) if not total or word.value < 1000 else (current, at)
    whole = word.value == word.value.to_integral_value() and not word.digits.startswith("0")
    if current >= 100 and current % 100 == 0 and whole and word.value < 100 and not sequence[at - 1].digits:
        return current + word.value, at + 1
    tens = current % 100
    english_pair = word.english and sequence[at - 1].english and 1 <= word.value <= 9 and tens >= 20 and tens % 10 == 0
    return (current + word.value, at + 1) if english_pair else (current, at)


def _makes_thousands(rest: Sequence[_Word]) -> bool:
    return len(rest) > 1 and (rest[1].hundred or rest[1].scale is not None)


def _decimals(sequence: Sequence[_Word], at: int) -> tuple[str, int]:
    """Digits after a point: one by one, or one number as it is written."""
    said = ""
    while at < len(sequence) and sequence[at].one_digit:
        said, at = said + sequence[at].one_digit, at + 1
    if not said and at < len(sequence):
        word = sequence[at]
        if word.digits.isdigit():
            return word.digits, at + 1
        if word.value is not None and 10 <= word.value < 100 and word.value % 1 == 0:
            return str(int(word.value)), at + 1
    return said, at


def _digit_by_digit(sequence: Sequence[_Word], place: int) -> tuple[str, int] | None:
    """Three or more single digits in a row, `double nine` counting as two."""
    said: list[tuple[str, int]] = []  # digits, and the place after them
    at = place
    while at < len(sequence):
        times = words.DOUBLES.get(sequence[at].key, 1)
        following = at + 1 if times > 1 else at
        if following >= len(sequence) or not sequence[following].one_digit:
            break
        at = following + 1
        said.append((sequence[following].one_digit * times, at))
    if said and at < len(sequence) and (sequence[at].hundred or sequence[at].scale or sequence[at].key in _POINTS):
        said.pop()  # the last one begins a number of its own
    digits = "".join(part for part, _ in said)
    return (digits, said[-1][1]) if len(digits) >= DIGITS_IN_A_ROW else None


def _tidy(digits: str) -> str:
    """3.50 is 3.5; 007 stays."""
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _written(value: Decimal) -> str:
    return _tidy(f"{value:f}") if value >= 0 else f"{value:f}"


def _signs(said: Sequence[str], tongue: str) -> list[str]:
    """₹ 500, Rs 500 and 500 Rs as they are said: 500 rupees. 50 % as 50 percent."""
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
