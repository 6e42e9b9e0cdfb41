"""Words -> the same words with every number in digits, as number-canonical@2 compares them. Pure.

Like @1 (`numbers`), and: spoken or written groups of digits are one number, such as a telephone number (98 76 54 32 10,
nine eight double seven, oh, Devanagari digits); spoken English hundreds and years (two fifty is 250, one oh five 105,
nineteen ninety nine 1999); ordinals (first, 1st, पहला) differ from cardinals; 10:30 is साढ़े दस; one word for rupees and
one for percent after a number.

Two small numbers in a row stay two: दो तीन दिन is not 23 days, दस बारह लोग not 1012 people. `number_alignment` compares
two texts with the cheapest reading of each number: a wrong word never costs more than one edit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from training.text import numeral_words as words
from training.text.number_lexicon import NumberWord, Vocabulary, in_company, parts_of, vocabulary, word_of
from training.text.numeral_words import word_key
from training.text.writing import ascii_digits, indic, vulgar_fractions

HALF, ONE = Decimal("0.5"), Decimal(1)
_PHONE_DIGITS = 7  # two written groups with so many digits in all are one number; three may have fewer
_CENTURIES = (Decimal(18), Decimal(19), Decimal(20))

_CLOCK = re.compile(r"(?<![\d:])([01]?\d|2[0-3]):([0-5]\d)(?![\d:])")
_BARE_POINT = re.compile(r"(?<![\d\w.])\.(?=\d)")
_DOTTED = re.compile(r"(?<![\d.])(?:\d+\.){2,}\d+(?![\d.])|(?<![\d.])[1-9]\d{3,}\.\d{4,}(?![\d.])")  # 98.76.54.32.10


@dataclass(frozen=True, slots=True)
class NumberPhrase:
    """Neighbouring words as spoken, and the text they are compared as."""

    said: tuple[str, ...]
    read: tuple[str, ...]
    number: bool = False


@dataclass(frozen=True, slots=True)
class _Group:
    """Some digits of a row; `explicit` if people say this only when they spell out digits (double nine, oh)."""

    digits: str
    after: int
    written: bool = False
    english: bool = False
    explicit: bool = False


def phrases(text: str, language: str | None) -> list[NumberPhrase]:
    """The phrases of `text`: each a word, or a number with all its words."""
    known = vocabulary(language)
    parts = [part for word in indic(_prepared(text)).split() for part in parts_of(ascii_digits(word), known)]
    sequence = [word_of(part, known.language) for part in parts]
    if not known.doubtful.isdisjoint(parts):
        sequence = [in_company(sequence, place, known) for place in range(len(sequence))]
    found: list[NumberPhrase] = []
    place = 0
    while place < len(sequence):
        read, after = _number(sequence, place)
        said = tuple(word.text for word in sequence[place:after])
        found.append(NumberPhrase(said, said) if read is None else NumberPhrase(said, (read,), number=True))
        place = after
    return _signs(found, known)


def in_digits(text: str, language: str | None) -> str:
    """One text, without another to compare with."""
    return " ".join([word for phrase in phrases(text, language) for word in phrase.read])


def _prepared(text: str) -> str:
    """Keep what removing punctuation would lose: times of day, a point without a digit before it, dots in groups."""
    text = vulgar_fractions(text)
    if ":" in text:
        text = _CLOCK.sub(lambda found: _clock(int(found[1]), int(found[2])), text)
    if "." in text:
        text = _DOTTED.sub(lambda found: found[0].replace(".", ""), _BARE_POINT.sub("0.", text))
    return text


def _clock(hour: int, minute: int) -> str:
    """10:30 is said साढ़े दस, and 10:20 ten twenty."""
    return str(Decimal(hour) + Decimal(minute) / 60) if minute % 15 == 0 else f"{hour}{minute:02d}"


def _number(sequence: Sequence[NumberWord], place: int) -> tuple[str | None, int]:
    """(the number at `place` as it is compared, or None; the place after it, or after one word)."""
    found = _ordinal(sequence, place) or _time(sequence, place) or _in_a_row(sequence, place)
    if found:
        return found
    value, at = cardinal(sequence, place)
    if at == place:
        return None, place + 1
    if at == place + 1 and sequence[place].digits:
        return tidy(sequence[place].digits), at
    following = sequence[at] if at < len(sequence) else None
    joined = following is not None and following.key == "and"
    if joined:
        following = sequence[at + 1] if at + 1 < len(sequence) else None
    if following is not None and 0 < following.ordinal < 100 and value >= 100 and value % 100 == 0:
        return _nth(int(value) + following.ordinal), at + (2 if joined else 1)  # hundred and first
    return tidy(f"{value:f}"), at


def _ordinal(sequence: Sequence[NumberWord], place: int) -> tuple[str, int] | None:
    word = sequence[place]
    before = sequence[place - 1] if place else None
    following = sequence[place + 1] if place + 1 < len(sequence) else None
    if word.ordinal:
        counted = word.key in words.ALSO_A_TIME and before is not None and before.value is not None
        return None if counted else (_nth(word.ordinal), place + 1)
    tens = word.english and word.value is not None and word.value >= 20 and word.value % 10 == 0
    if not tens or following is None or not 1 <= following.ordinal <= 9 or not following.key.isascii():
        return None
    if following.key in words.ALSO_A_TIME and (before is None or before.key not in ("the", "on", "of")):
        return None  # twenty seconds
    return _nth(int(word.value or 0) + following.ordinal), place + 2


def _nth(number: int) -> str:
    end = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{end}"


def _time(sequence: Sequence[NumberWord], place: int) -> tuple[str, int] | None:
    """half past ten; ten thirty where a neighbouring word marks it as a time."""
    word, rest = sequence[place], sequence[place + 1 :]
    if word.key in ("half", "quarter") and len(rest) > 1 and rest[0].key in ("past", "to") and rest[1].whole:
        part = HALF if word.key == "half" else HALF / 2
        part = -part if rest[0].key == "to" else part
        if rest[1].value is not None and 1 <= rest[1].value <= 12 and not (word.key == "half" and part < 0):
            return tidy(f"{rest[1].value + part:f}"), place + 3
        return None
    hour = word.whole and word.value is not None and 1 <= word.value <= 12
    if not hour or not (word.english or word.digits) or not rest:
        return None
    group = _group(sequence, place + 1, begun=True)
    if group is None or len(group.digits) != 2 or not 10 <= int(group.digits) <= 59:
        return None
    before = sequence[place - 1].key if place else ""
    after = sequence[group.after].key if group.after < len(sequence) else ""
    if after in words.BEFORE_NOON or (before in words.BEFORE_A_TIME and after not in words.RUPEE_KEYS):
        return tidy(_clock(int(word.value or 0), int(group.digits))), group.after
    return None


def _group(sequence: Sequence[NumberWord], at: int, *, begun: bool) -> _Group | None:
    """The digits of one member of a row: a number below a hundred, written digits, double nine, oh."""
    if at >= len(sequence):
        return None
    word = sequence[at]
    after = sequence[at + 1] if at + 1 < len(sequence) else None
    if word.times:
        digit = after and (after.one_digit or ("0" if after.key in words.ZEROS_BESIDE_DIGITS else ""))
        return _Group(str(digit) * word.times, at + 2, explicit=True, english=True) if digit else None
    if word.key in words.ZEROS_BESIDE_DIGITS:
        goes_on = after is not None and bool(after.one_digit or after.digits or after.times)
        further = sequence[at + 2] if at + 2 < len(sequence) else None
        zero = further is not None and further.key in words.ZEROS_BESIDE_DIGITS
        said_on = goes_on and further is not None and (zero or bool(further.one_digit or further.times))
        letter = word.key in ("o", "ओ")
        return _Group("0", at + 1, explicit=begun, english=True) if (goes_on if letter else said_on) or begun else None
    if word.digits:
        return _Group(word.digits, at + 1, written=True) if "." not in word.digits else None
    if not word.whole or word.value is None or word.value >= 100:
        return None
    tens = word.value >= 20 and word.value % 10 == 0
    if tens and after is not None and after.value is not None and word.pairs_with(after):
        return _Group(str(int(word.value + after.value)), at + 2, english=True)
    return _Group(str(int(word.value)), at + 1, english=word.english)


def _in_a_row(sequence: Sequence[NumberWord], place: int) -> tuple[str, int] | None:
    """A row of groups that form one number: a telephone number, a year, two fifty."""
    row: list[_Group] = []
    at = place
    while (group := _group(sequence, at, begun=bool(row))) is not None:
        row.append(group)
        at = group.after
    if row and _begins_a_number(sequence, row[-1], at):
        row.pop()
    if not row or not _one_number(row):
        return None
    return "".join(group.digits for group in row), row[-1].after


def _begins_a_number(sequence: Sequence[NumberWord], last: _Group, at: int) -> bool:
    """Whether a row's last group begins another number: five hundred, 2.5, two and a half."""
    if at >= len(sequence):
        return False
    word, rest = sequence[at], sequence[at + 1 :]
    if word.scale is not None:
        return word.key not in words.ONLY_AFTER_A_NUMBER or word.key != "k" or last.written
    if word.point:
        return bool(rest) and rest[0].whole
    half = [one.key for one in rest[:2]]
    return word.hundred or (word.key == "and" and (half == ["a", "half"] or half[:1] == ["half"]))


def _one_number(row: Sequence[_Group]) -> bool:
    total = sum(len(group.digits) for group in row)
    if any(group.explicit for group in row) and (len(row) > 1 or total > 1):
        return True
    if len(row) > 3:
        return True
    if len(row) == 3:
        return total >= _PHONE_DIGITS or max(len(group.digits) for group in row) <= 2
    if len(row) < 2:
        return False
    one, other = row
    if one.written and other.written:
        amounts = _is_round(other.digits) and (_is_round(one.digits) or (len(one.digits) <= 2 and total <= 8))
        return total >= _PHONE_DIGITS and not amounts  # 500 1000, 20 50000
    return one.english and other.english and _said_in_two(int(one.digits), int(other.digits))


def _is_round(digits: str) -> bool:
    return int(digits) >= 100 and int(digits) % 50 == 0


def _said_in_two(one: int, other: int) -> bool:
    """Whether two English numbers are halves of one: 2 50, 19 99, 12 80; but 2 3, 5 10 and 10 15 are ranges."""
    if other < 10 or one < 1:
        return False
    if one < 10:
        return one < 5 or other not in (10, 12)
    return one in _CENTURIES or (one < 20 and other >= one + 20)


def cardinal(sequence: Sequence[NumberWord], place: int, version: int = 2) -> tuple[Decimal, int]:
    """(the value of the number at `place` with its hundreds and thousands, the place after it, or `place` if none).

    `version` is that of number-canonical: @1 knows fewer forms.
    """
    total, current, last_scale, at = Decimal(0), None, None, place
    while at < len(sequence):
        word = sequence[at]
        if word.scale is not None:
            if current is None and at > place and sequence[at - 1].scale is not None:
                if last_scale is None or word.scale <= last_scale:
                    break
                total, last_scale = total * word.scale, word.scale  # a lakh crore
            elif (last_scale is not None and word.scale >= last_scale) or not _scales(word, sequence[at - 1], current):
                break
            else:
                total += (ONE if current is None else current) * word.scale
                current, last_scale = None, word.scale
            at += 1
        elif word.hundred:
            if (current is not None and current >= 100) or (current is None and word.after_a_number):
                break
            current = Decimal(100) * (ONE if current is None else current)
            at += 1
        else:
            current_after, at_after = _below_hundred(sequence, at, current, total, version)
            if at_after == at:
                break
            current, at = current_after, at_after
    return total + (current or 0), at


def _scales(word: NumberWord, before: NumberWord, current: Decimal | None) -> bool:
    """Whether the word is a scale here: 5k, not the letter; दोन लक्ष, not attention."""
    if not word.after_a_number:
        return True
    return current is not None and (word.key != "k" or bool(before.digits))


def _below_hundred(
    sequence: Sequence[NumberWord], at: int, current: Decimal | None, total: Decimal, version: int
) -> tuple[Decimal | None, int]:
    """(`current` with the word at `at`, the place after; the same place when the word does not belong)."""
    word, rest = sequence[at], sequence[at + 1 :]
    if word.shift is not None:
        if current is not None:
            return current, at
        if rest and rest[0].value is not None and rest[0].value >= 1:
            value = rest[0].value
            if value < 100:
                return value + word.shift, at + 2
            if version > 1 and not rest[0].digits and value < 1000 and value % 100 == 0:  # सव्वा दोनशे
                return value + 100 * word.shift, at + 2
        alone = word.shift == Decimal("0.25") or (bool(rest) and (rest[0].hundred or rest[0].scale is not None))
        return (1 + word.shift, at + 1) if alone and word.shift != HALF else (current, at)
    if word.key == "and" and rest and (current is not None or total):
        halves = [one.key for one in rest[:2]]
        if current is not None and (halves == ["a", "half"] or (version > 1 and halves[:1] == ["half"])):
            return current + HALF, at + (3 if halves[0] == "a" else 2)
        follows = rest[0].value is not None and rest[0].value < 100 and not _makes_thousands(rest)
        after_hundred = current is not None and current >= 100 and current % 100 == 0
        if follows and (after_hundred or (current is None and total)):
            return (current or Decimal(0)) + (rest[0].value or Decimal(0)), at + 2
        return current, at
    if word.point and current is not None and current == current.to_integral_value():
        decimals, after = _decimals(sequence, at + 1, version)
        return (current + Decimal(f"0.{decimals}"), after) if decimals else (current, at)
    if version > 1 and word.point and current is None and not total and rest and rest[0].one_digit:
        decimals, after = _decimals(sequence, at + 1, version)
        return Decimal(f"0.{decimals}"), after  # point five
    if word.one and current is None and (not total or not word.text.isascii()):
        scaled = bool(rest) and not rest[0].digits and (rest[0].hundred or rest[0].scale is not None)
        return (ONE, at + 1) if scaled and (rest[0].hundred or not rest[0].after_a_number) else (current, at)
    if word.value is None:
        return current, at
    if current is None:
        return (word.value, at + 1) if not total or word.value < 1000 else (current, at)
    whole = word.whole and not word.digits.startswith("0")
    if version > 1 and len(rest) > 1 and word.one_digit and rest[0].one_digit and rest[1].one_digit:
        return current, at  # eighteen hundred, one two three
    if current >= 100 and current % 100 == 0 and whole and word.value < 100 and not sequence[at - 1].digits:
        return current + word.value, at + 1
    tens = current % 100
    paired = tens >= 20 and tens % 10 == 0 and sequence[at - 1].pairs_with(word)
    return (current + word.value, at + 1) if paired else (current, at)


def _makes_thousands(rest: Sequence[NumberWord]) -> bool:
    return len(rest) > 1 and (rest[1].hundred or rest[1].scale is not None)


def _decimals(sequence: Sequence[NumberWord], at: int, version: int) -> tuple[str, int]:
    """Digits after a point: one by one, or one number as it is written."""
    said = ""
    while at < len(sequence) and sequence[at].one_digit:
        said, at = said + sequence[at].one_digit, at + 1
    if not said and at < len(sequence):
        word = sequence[at]
        if word.digits.isdigit():
            return word.digits, at + 1
        if word.value is not None and 10 <= word.value < 100 and word.whole:
            group = _group(sequence, at, begun=True) if version > 1 else None
            return (group.digits, group.after) if group else (str(int(word.value)), at + 1)
    return said, at


def tidy(digits: str) -> str:
    """3.50 is 3.5; 007 stays."""
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _signs(found: Sequence[NumberPhrase], known: Vocabulary) -> list[NumberPhrase]:
    """₹ 500, Rs 500 and 500 Rs as they are said: 500 rupees. 50 % and 50 per cent as 50 percent, plus as +."""
    rupees, percent = known.rupee, known.percent
    out: list[NumberPhrase] = []
    place = 0
    while place < len(found):
        here = found[place]
        before, after = out[-1] if out else None, found[place + 1] if place + 1 < len(found) else None
        key = word_key(here.said[0]) if not here.number else ""
        counted, counts = before is not None and before.number, after is not None and after.number
        if key in known.rupees and counted:
            out.append(NumberPhrase(here.said, (rupees,)))
        elif key in known.rupees and counts and after is not None:
            beyond = found[place + 2] if place + 2 < len(found) else None
            twice = beyond is not None and not beyond.number and word_key(beyond.said[0]) in known.rupees
            said = here.said + after.said + (beyond.said if twice and beyond is not None else ())
            out += [NumberPhrase(said, (*after.read, rupees))]
            place += 2 if twice else 1
        elif counted and key in known.percents:
            out.append(NumberPhrase(here.said, (percent,)))
        elif counted and key == "per" and after is not None and after.said == ("cent",):
            out.append(NumberPhrase(("per", "cent"), (percent,)))
            place += 1
        elif key in words.PLUS and counts:
            out.append(NumberPhrase(here.said, ("+",)))
        else:
            out.append(here)
        place += 1
    return out
