"""One word -> what numbers see in it: a value, a hundred, a half more, a fifth. Pure.

In Marathi one word may hold a whole number: साडेतीनशे is 350. What a word is beside others (`do` before `sau`) is settled
by `in_company`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from training.text import number_words
from training.text import numeral_words as words
from training.text.numeral_words import word_key

_WRITTEN = re.compile(r"\d+(?:\.\d+)?")
_GLUED = re.compile(r"(\d+(?:\.\d+)?)([^\d.].*)")  # 500रुपये, 5kg
_GLUED_SIGN = re.compile(r"(rs|रु|inr)(\d+(?:\.\d+)?)")
_HUNDRED_ENDS = ("शे", "शें")
_SHIFT_PREFIXES = tuple(sorted((w for w in words.SHIFTS if not w.isascii()), key=len, reverse=True))


@dataclass(frozen=True, slots=True)
class NumberWord:
    """One word as numbers see it. `digits`: it is written in digits, and how."""

    text: str
    key: str
    value: Decimal | None = None  # of a small number, a fraction, or digits
    digits: str = ""
    english: bool = False
    shift: Decimal | None = None
    hundred: bool = False
    scale: Decimal | None = None
    times: int = 0  # double, triple
    ordinal: int = 0

    @property
    def one_digit(self) -> str:
        """0..9, when it is one digit, said or written."""
        if self.digits:
            return self.digits if len(self.digits) == 1 else ""
        return str(int(self.value)) if self.whole and self.value is not None and self.value <= 9 else ""

    @property
    def whole(self) -> bool:
        return self.value is not None and self.value == self.value.to_integral_value()


def parts_of(word: str) -> Sequence[str]:
    if word.isalpha():
        return (word,)
    glued = _GLUED.fullmatch(word)
    if glued and not _glued_ordinal(word):
        return (glued[1], glued[2])
    sign = _GLUED_SIGN.fullmatch(word)
    return (sign[1], sign[2]) if sign else (word,)


def _glued_ordinal(word: str) -> int:
    """1st, 5वां, 2रा; 500ला is no ordinal."""
    glued = _GLUED.fullmatch(word)
    if glued is None or "." in glued[1]:
        return 0
    end = word_key(glued[2])
    if end not in words.GLUED_ENDS:
        return 0
    only = words.GLUED_ENDS[end]
    return int(glued[1]) if only is None or int(glued[1]) in only else 0


def in_company(sequence: Sequence[NumberWord], place: int, doubtful: frozenset[str]) -> NumberWord:
    """`do` and `teen` are numbers beside words that only go with numbers, or beside each other: do sau, char teen."""
    word = sequence[place]
    if word.text not in doubtful:
        return word
    before = sequence[place - 1] if place else None
    after = sequence[place + 1] if place + 1 < len(sequence) else None
    counted = after is not None and (after.hundred or (after.scale is not None and after.key != "k"))
    if counted or (before is not None and (before.shift is not None or before.times > 1)):
        return word
    spoken = [one is not None and one.value is not None and not (one.digits or one.english) for one in (before, after)]
    enough = all(spoken) if word.text == "saath" else any(spoken)  # which is साथ, with, far more often than साठ
    return word if enough else NumberWord(word.text, word.key)


@lru_cache(maxsize=65536)
def word_of(text: str, tongue: str) -> NumberWord:
    key = word_key(text)
    if _WRITTEN.fullmatch(text):
        return NumberWord(text, key, Decimal(text), digits=text)
    if ordinal := words.ORDINAL.get(key) or _glued_ordinal(text) or _spoken_ordinal(key, tongue):
        return NumberWord(text, key, ordinal=ordinal)
    if key in words.SHIFTS:
        return NumberWord(text, key, shift=words.SHIFTS[key])
    if key in words.HUNDRED_KEYS:
        return NumberWord(text, key, hundred=True)
    if key in words.SCALES:
        return NumberWord(text, key, scale=words.SCALES[key])
    if key in words.TIMES_KEYS:
        return NumberWord(text, key, times=words.TIMES_KEYS[key])
    return NumberWord(text, key, _value(key, tongue), english=key in words.ENGLISH_WORDS)


def _value(key: str, tongue: str) -> Decimal | None:
    """Of one word, which in Marathi may hold a whole number: साडेतीनशे is 350."""
    if key in words.SMALL[tongue]:
        return words.SMALL[tongue][key]
    if key in words.FRACTIONS:
        return words.FRACTIONS[key]
    if key == number_words.WHOLE_HUNDRED:
        return Decimal(100)
    if key.isascii():
        stem_value = words.SMALL["mr"].get(key.removesuffix("she")) if tongue == "mr" and key.endswith("she") else None
        return stem_value * 100 if stem_value else None
    if key.endswith(_HUNDRED_ENDS):
        stem = key[: key.rindex("शे")]
        value = Decimal("1.25") if words.SHIFTS.get(stem) == Decimal("0.25") else _value(stem, tongue)
        return value * 100 if value is not None and value < 100 else None
    for prefix in _SHIFT_PREFIXES:
        if key.startswith(prefix) and (rest := _value(key[len(prefix) :], tongue)) is not None:
            return rest + words.SHIFTS[prefix] if 1 <= rest < 100 else None
    return None


def _spoken_ordinal(key: str, tongue: str) -> int:
    """पाँचवाँ, इक्कीसवीं, एकविसावा: a number and an ending."""
    if key.isascii():
        return 0
    for end in words.ORDINAL_ENDS:
        stem = key.removesuffix(end)
        if stem == key or len(stem) < 2:
            continue
        stem = f"{stem[:-2]}ीस" if stem.endswith("िस") else stem
        value = words.SMALL[tongue].get(stem) or words.SMALL["mr" if end[0] == "ा" else tongue].get(stem)
        value = value or (Decimal(100) if stem in words.HUNDRED_KEYS else words.SCALES.get(stem))
        if value is not None and value == value.to_integral_value():
            return int(value)
    return 0
