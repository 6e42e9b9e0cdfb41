"""One word -> its meaning in numbers: a value, a hundred, a half more, a fifth. Pure.

In Marathi one word may hold a whole number: साडेतीनशे is 350. In Tamil the parts of a number join: இருபத்தைந்து is 25.
`in_company` settles words that depend on their neighbours (`do` before `sau`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from training.text import number_words
from training.text import numeral_words as words
from training.text.number_words_of_languages import NUMBER_WORDS, NumberWords
from training.text.numeral_words import word_key
from training.text.writing import indic

_WRITTEN = re.compile(r"\d+(?:\.\d+)?")
_GLUED = re.compile(r"(\d+(?:\.\d+)?)([^\d.].*)")  # 500रुपये, 5kg
_GLUED_SIGN = re.compile(r"(rs|रु|inr)(\d+(?:\.\d+)?)")
_HUNDRED_ENDS = ("शे", "शें")
_AFTER_A_NUMBER = words.ONLY_AFTER_A_NUMBER | {word for word in words.HUNDRED_KEYS if word.startswith("शे")}
_ENGLISH_ONES = frozenset({"a", "an"})


@dataclass(frozen=True, slots=True)
class NumberWord:
    """One word's meaning in numbers. `digits`: its written digits, if any."""

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
    point: bool = False
    one: bool = False  # a hundred, ஒரு லட்சம்
    after_a_number: bool = False  # a hundred or a scale that alone is another word
    linked: bool = False  # a number that continues in the next word: இருபத்தி, twenty

    def pairs_with(self, unit: NumberWord) -> bool:
        """Whether the two are tens and units of one number: twenty five, இருபத்தி ஐந்து; not बीस पाँच."""
        tens = self.linked or (self.english and unit.english)
        return tens and unit.whole and unit.value is not None and 1 <= unit.value <= 9

    @property
    def one_digit(self) -> str:
        """0..9, if it is one spoken or written digit."""
        if self.digits:
            return self.digits if len(self.digits) == 1 else ""
        return str(int(self.value)) if self.whole and self.value is not None and self.value <= 9 else ""

    @property
    def whole(self) -> bool:
        return self.value is not None and self.value == self.value.to_integral_value()


@dataclass(frozen=True)
class Vocabulary:
    """The number words in calls of one language, by their keys."""

    version: int  # of number-canonical
    language: str
    own: tuple[NumberWords, ...]
    small: Mapping[str, Decimal]
    hundreds: frozenset[str]
    hundred_ends: tuple[str, ...]
    scales: Mapping[str, Decimal]
    after_a_number: frozenset[str]
    fractions: Mapping[str, Decimal]
    shifts: Mapping[str, Decimal]
    shift_prefixes: tuple[str, ...]
    points: frozenset[str]
    times: Mapping[str, int]
    ordinals: Mapping[str, int]
    ordinal_ends: tuple[str, ...]
    glued_ordinals: Mapping[str, tuple[int, ...] | None]
    english: frozenset[str]
    doubtful: frozenset[str]  # as written
    ones: frozenset[str]
    stems: Mapping[str, Decimal]
    rupees: frozenset[str]
    percents: frozenset[str]
    counted: frozenset[str]  # a doubtful word before one of these is a number
    rupee: str
    percent: str


@lru_cache(maxsize=64)
def vocabulary(language: str | None, version: int = 2) -> Vocabulary:
    """The number words of a language, or of all when it is unknown. English ones are always included."""
    return _vocabulary(language) if version > 1 else _first_vocabulary(language)


def _first_vocabulary(language: str | None) -> Vocabulary:
    """The words of number-canonical@1: Hindi, Marathi and English, from `number_words` alone."""
    tongue, first = language if language and language in number_words.SMALL else "", number_words
    hundreds, nothing = frozenset(map(first.spelling, first.HUNDREDS)), frozenset[str]()
    return Vocabulary(
        version=1, language=tongue, own=(), small=first.SMALL[tongue], hundreds=hundreds, hundred_ends=_HUNDRED_ENDS,
        scales=first.SCALES, after_a_number=frozenset({"k", *_HUNDRED_ENDS}), fractions=first.FRACTIONS,
        shifts=first.SHIFTS, shift_prefixes=_prefixes(first.SHIFTS),
        points=frozenset(map(first.spelling, first.POINTS)), times={},
        ordinals={}, ordinal_ends=(), glued_ordinals={}, english=first.ENGLISH_UNITS_AND_TENS,
        doubtful=nothing if tongue in ("en", "hi") else first.ENGLISH_TOO, ones=_ENGLISH_ONES, stems={},
        rupees=first.RUPEE_SIGNS, percents=frozenset("%"), counted=nothing,
        rupee=first.CURRENCY.get(tongue, "रुपये"), percent=first.PERCENT.get(tongue, "प्रतिशत"),
    )  # fmt: skip


def _prefixes(shifts: Mapping[str, Decimal]) -> tuple[str, ...]:
    return tuple(sorted((word for word in shifts if not word.isascii()), key=len, reverse=True))


def _vocabulary(language: str | None) -> Vocabulary:
    tongue = language if language and (language in words.SMALL or language in NUMBER_WORDS) else ""
    own = tuple(NUMBER_WORDS.values()) if not tongue else (NUMBER_WORDS[tongue],) if tongue in NUMBER_WORDS else ()
    english = {word: value for one in own for word, value in _table(one.english)}
    units = frozenset(_keys(*(f"{one.rupees} {one.percents}" for one in own)))
    return Vocabulary(
        version=2,
        language=tongue,
        own=own,
        small=words.SMALL.get(tongue, words.ENGLISH_NUMBERS)
        | english
        | {word: value for one in own for word, value in _table(one.small)},
        hundreds=words.HUNDRED_KEYS | frozenset(_keys(*(one.hundreds for one in own))),
        hundred_ends=(*_HUNDRED_ENDS, *_keys(*(one.hundred_ends for one in own))),
        scales=words.SCALES
        | {key: Decimal(size) for one in own for size, said in one.scales.items() for key in _keys(said)},
        after_a_number=_AFTER_A_NUMBER | frozenset(_keys(*(one.after_a_number for one in own))),
        fractions=words.FRACTIONS | _valued(*(one.fractions for one in own)),
        shifts=(shifts := words.SHIFTS | _valued(*(one.shifts for one in own))),
        shift_prefixes=_prefixes(shifts),
        points=words.POINT_KEYS | frozenset(_keys(*(one.points for one in own))),
        times=words.TIMES_KEYS
        | {key: times for one in own for times, said in one.times.items() for key in _keys(said)},
        ordinals=words.ORDINAL | {word: int(value) for one in own for word, value in _table(one.ordinals)},
        ordinal_ends=words.ORDINAL_ENDS,
        glued_ordinals=words.GLUED_ENDS
        | {key: only for one in own for end, only in one.glued_ordinals.items() for key in _keys(end)},
        english=words.ENGLISH_WORDS | frozenset(english),
        doubtful=words.ONLY_IN_COMPANY.get(tongue, frozenset())
        | {indic(word) for one in own for word in one.doubtful.split()},
        ones=_ENGLISH_ONES | frozenset(_keys(*(one.ones for one in own))),
        stems={word: value for one in own for word, value in _table(one.stems)},
        rupees=words.RUPEE_KEYS | units.difference(_keys(*(one.percents for one in own))),
        percents=words.PERCENT_KEYS | frozenset(_keys(*(one.percents for one in own))),
        counted=units,
        rupee=own[0].rupees.split()[0] if tongue and own else number_words.CURRENCY.get(tongue, "रुपये"),
        percent=own[0].percents.split()[0] if tongue and own else number_words.PERCENT.get(tongue, "percent"),
    )


def _keys(*texts: str) -> Iterator[str]:
    return (word_key(word) for text in texts for written in text.split() for word in (indic(written) or written,))


def _table(text: str) -> Iterator[tuple[str, Decimal]]:
    for number, *written in (entry.split() for entry in text.replace("\n", "|").split("|") if entry):
        yield from ((key, Decimal(number)) for key in _keys(*written))


def _valued(*tables: Mapping[str, str]) -> dict[str, Decimal]:
    return {key: Decimal(value) for table in tables for value, said in table.items() for key in _keys(said)}


def parts_of(word: str, known: Vocabulary) -> Sequence[str]:
    """The parts of a joined word: 500रुपये, 5kg, Rs500, இரண்டாயிரம்."""
    if word.isalpha():
        return (word,)
    glued = _GLUED.fullmatch(word)
    if glued and not _glued_ordinal(word, known):
        return (glued[1], glued[2])
    sign = _GLUED_SIGN.fullmatch(word)
    return (sign[1], sign[2]) if sign else _with_scale(word, known) or (word,)


def _with_scale(word: str, known: Vocabulary) -> tuple[str, str] | None:
    """இரண்டாயிரம்: two thousand."""
    if word in known.small:
        return None  # தொள்ளாயிரம், nine hundred
    for one in known.own:
        for end, scale in one.joined_scales.items():
            stem = word.removesuffix(end)
            number = one.joined_numbers.get(stem, stem + one.dropped)
            if stem != word and (value := _value(word_key(number), known)) is not None and value < 1000:
                return number, scale
    return None


def _glued_ordinal(word: str, known: Vocabulary) -> int:
    """1st, 5वां, 2रा; 500ला is no ordinal."""
    glued = _GLUED.fullmatch(word)
    if glued is None or "." in glued[1]:
        return 0
    end = word_key(glued[2])
    if end not in known.glued_ordinals:
        return 0
    only = known.glued_ordinals[end]
    return int(glued[1]) if only is None or int(glued[1]) in only else 0


def in_company(sequence: Sequence[NumberWord], place: int, known: Vocabulary) -> NumberWord:
    """`do` and `teen` are numbers beside words that need numbers, or beside each other: do sau, char teen."""
    word = sequence[place]
    if word.text not in known.doubtful:
        return word
    before = sequence[place - 1] if place else None
    after = sequence[place + 1] if place + 1 < len(sequence) else None
    counted = after is not None and (
        after.hundred or (after.scale is not None and after.key != "k") or after.key in known.counted
    )
    if counted or (before is not None and (before.shift is not None or before.times > 1)):
        return word
    spoken = [one is not None and one.value is not None and not (one.digits or one.english) for one in (before, after)]
    enough = all(spoken) if word.text == "saath" else any(spoken)  # saath is mostly साथ (with), seldom साठ
    return word if enough else NumberWord(word.text, word.key)


@lru_cache(maxsize=65536)
def word_of(text: str, language: str | None, version: int = 2) -> NumberWord:
    known = vocabulary(language, version)
    key = word_key(text) if version > 1 else number_words.spelling(text)
    if _WRITTEN.fullmatch(text):
        return NumberWord(text, key, Decimal(text), digits=text)
    if ordinal := known.ordinals.get(key) or _glued_ordinal(text, known) or _spoken_ordinal(key, known):
        return NumberWord(text, key, ordinal=ordinal)
    if key in known.shifts:
        return NumberWord(text, key, shift=known.shifts[key])
    if key in known.hundreds:
        return NumberWord(text, key, hundred=True, after_a_number=key in known.after_a_number)
    if key in known.scales:
        return NumberWord(text, key, scale=known.scales[key], after_a_number=key in known.after_a_number)
    if key in known.times:
        return NumberWord(text, key, times=known.times[key])
    english = key in known.english
    return NumberWord(
        text, key, _value(key, known), english=english, point=key in known.points, one=key in known.ones,
        linked=key[:-1] in known.stems and any(key[-1] in one.links for one in known.own),
    )  # fmt: skip


def _value(key: str, known: Vocabulary) -> Decimal | None:
    """The value of one word, which may hold a whole number: साडेतीनशे is 350, இருபத்தைந்து 25."""
    if key in known.small:
        return known.small[key]
    if key in known.fractions:
        return known.fractions[key]
    if key == number_words.WHOLE_HUNDRED:
        return Decimal(100)
    if key.isascii():
        said_she = known.version > 1 and known.language == "mr" and key.endswith("she")
        stem_value = known.small.get(key.removesuffix("she")) if said_she else None
        return stem_value * 100 if stem_value else None
    for end in known.hundred_ends:
        stem = key.removesuffix(end)
        if stem == key or not stem:
            continue
        value = Decimal("1.25") if known.shifts.get(stem) == Decimal("0.25") else _value(stem, known)
        return value * 100 if value is not None and value < 100 else None
    for prefix in known.shift_prefixes:
        if key.startswith(prefix) and (rest := _value(key[len(prefix) :], known)) is not None:
            return rest + known.shifts[prefix] if 1 <= rest < 100 else None
    return _joined(key, known)


def _joined(key: str, known: Vocabulary) -> Decimal | None:
    """இருபத்தைந்து, இருபத்தியைந்து, நூற்றுப்பத்து: a stem and the rest, joined by the rules of sandhi."""
    for stem, value in known.stems.items():
        for rest in _apart(key[len(stem) :], known) if key.startswith(stem) else ():
            if not rest:
                return value
            found = _value(rest, known)
            if found is not None and 1 <= found < (10 if value < 100 else 100) and found % 1 == 0:
                return value + found
    return None


def _apart(tail: str, known: Vocabulary) -> Iterator[str]:
    """The words that sandhi may have turned into `tail` after a stem."""
    for one in known.own:
        sign, rest = tail[:1], tail[1:]
        yield one.vowels[sign] + rest if sign in one.vowels else one.inherent + tail
        if sign and sign in one.links:
            yield rest
            if rest[:1] == one.glide:
                yield one.vowels[rest[1:2]] + rest[2:] if rest[1:2] in one.vowels else one.inherent + rest[1:]
            if rest[1:2] == one.silent and rest[:1] == rest[2:3]:  # doubled
                yield rest[2:]


def _spoken_ordinal(key: str, known: Vocabulary) -> int:
    """पाँचवाँ, इक्कीसवीं, एकविसावा, ஐந்தாவது: a number and an ending."""
    if key.isascii():
        return 0
    for end in known.ordinal_ends:
        stem = key.removesuffix(end)
        if stem == key or len(stem) < 2:
            continue
        stem = f"{stem[:-2]}ीस" if stem.endswith("िस") else stem
        value = known.small.get(stem) or (words.SMALL["mr"] if end[0] == "ा" else known.small).get(stem)
        value = value or (Decimal(100) if stem in known.hundreds else known.scales.get(stem))
        if value is not None and value == value.to_integral_value():
            return int(value)
    for one in known.own:
        for end in one.joined_ordinals:
            value = _value(key.removesuffix(end) + one.dropped, known) if key.endswith(end) else None
            if value is not None and value % 1 == 0:
                return int(value)
    return 0
