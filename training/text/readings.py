"""Text -> text as a score compares it: four named, versioned readings (design D9). Pure.

    strict@1            as written: case and punctuation count
    indic@1             words: no case, no punctuation; every vowel sign and every other mark stays
    script-neutral@2    indic, and a word costs nothing for being in the other script (नमस्ते and namaste) or in another
                        accepted spelling (हिन्दी and हिंदी, गये and गए, ज़रूरत and जरूरत)
    number-canonical@2  indic, and numbers in digits: ढाई हज़ार, 2,500 and twenty-five hundred; telephone numbers in any
                        grouping; ordinals

A changed reading gets a new version beside the old one, because counts name their reading. script-neutral@1 knows no
spellings, number-canonical@1 fewer forms of numbers; both can still be counted. A name without a version means the
newest (`resolve`).
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from ml_backend.errors import InvalidInput
from training.text import distance, number_alignment, numbers, numerals, scripts, spellings, writing

STRICT, INDIC = "strict@1", "indic@1"
SCRIPT_NEUTRAL, NUMBER_CANONICAL = "script-neutral@2", "number-canonical@2"
SCRIPT_NEUTRAL_1, NUMBER_CANONICAL_1 = "script-neutral@1", "number-canonical@1"
CURRENT = (STRICT, INDIC, SCRIPT_NEUTRAL, NUMBER_CANONICAL)  # what evaluations are scored with

Normaliser = Callable[[str, str | None], str]


def strict(text: str, language: str | None = None) -> str:
    """Unicode's composed form and single spaces; nothing else changes."""
    return writing.strict(text)


def indic(text: str, language: str | None = None) -> str:
    """No case, no punctuation, no joiners; every mark stays."""
    return writing.indic(text)


def number_canonical(text: str, language: str | None = None) -> str:
    """`indic` with numbers in digits. `language` settles words that are numbers in one language only."""
    return numerals.in_digits(text, language)


def script_neutral(text: str, language: str | None = None) -> str:
    """`indic` in one script and spelling. `pair` settles spellings that need the other text."""
    return spellings.key(spellings.text_of(text), language)


def number_canonical_1(text: str, language: str | None = None) -> str:
    """`number_canonical` in version 1."""
    return numbers.in_digits(writing.indic(writing.vulgar_fractions(text)), language)


def script_neutral_1(text: str, language: str | None = None) -> str:
    """`script_neutral` in version 1: one script, and every mark counts."""
    return scripts.key(writing.indic(text), language)


NORMALISERS: MappingProxyType[str, Normaliser] = MappingProxyType(
    {
        STRICT: strict,
        INDIC: indic,
        SCRIPT_NEUTRAL: script_neutral,
        NUMBER_CANONICAL: number_canonical,
        SCRIPT_NEUTRAL_1: script_neutral_1,
        NUMBER_CANONICAL_1: number_canonical_1,
    }
)


def normalise(text: str, language: str | None = None, *, normaliser: str) -> str:
    """One text under the reading called `normaliser`."""
    return reading(normaliser)(text, language)


def pair(reference: str, hypothesis: str, *, normaliser: str, language: str | None = None) -> tuple[str, str]:
    """Two texts under one reading, where each may settle the reading of the other.

    script-neutral: a word that differs only in script or spelling is written like the reference's. number-canonical: a
    wrong word inside a number may split it; there the words are compared one by one, so that a substitution costs the
    same in every reading.
    """
    name = resolve(normaliser)
    if name == SCRIPT_NEUTRAL:
        return spellings.agree(spellings.text_of(reference), spellings.text_of(hypothesis), language)
    if name == SCRIPT_NEUTRAL_1:
        return scripts.agree(writing.indic(reference), writing.indic(hypothesis), language)
    if name == NUMBER_CANONICAL:
        return number_alignment.agree(numerals.phrases(reference, language), numerals.phrases(hypothesis, language))
    read = NORMALISERS[name]
    texts = read(reference, language), read(hypothesis, language)
    if name == NUMBER_CANONICAL_1 and texts[0] != texts[1]:
        spoken = writing.indic(reference), writing.indic(hypothesis)
        if texts != spoken and _words_apart(spoken) < _words_apart(texts):
            return spoken
    return texts


def _words_apart(texts: tuple[str, str]) -> int:
    return distance.between(texts[0].split(), texts[1].split())


def resolve(name: str) -> str:
    """The name with its version, by default the newest. The error for an unknown name lists the known ones."""
    found = name if name in NORMALISERS else next((each for each in CURRENT if each.partition("@")[0] == name), None)
    if found is None:
        known = ", ".join([*NORMALISERS, *(each.partition("@")[0] for each in CURRENT)])
        raise InvalidInput("no-such-normaliser", f"There is no normaliser called {name}.", f"Use one of: {known}.")
    return found


def reading(name: str) -> Normaliser:
    """The reading called `name`, with or without its version."""
    return NORMALISERS[resolve(name)]
