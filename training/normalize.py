"""Text -> text as a score compares it: four named, versioned readings (design D9). Pure.

    strict@1            as written: case and punctuation count
    indic@1             words: no case, no punctuation; every vowel sign and every other mark stays
    script-neutral@1    indic, and a word costs nothing for being in the other script: नमस्ते and namaste
    number-canonical@1  indic, and numbers in digits: ढाई हज़ार, 2,500 and twenty-five hundred

A reading that changes gets a new version and a new name beside the old one: counts name what they were made with.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from ml_backend.errors import InvalidInput
from training.normalisation import distance, numbers, scripts, writing

STRICT, INDIC = "strict@1", "indic@1"
SCRIPT_NEUTRAL, NUMBER_CANONICAL = "script-neutral@1", "number-canonical@1"

Normaliser = Callable[[str, str | None], str]


def strict(text: str, language: str | None = None) -> str:
    """Unicode's composed form and single spaces; nothing else changes."""
    return writing.strict(text)


def indic(text: str, language: str | None = None) -> str:
    """No case, no punctuation, no joiners; every mark stays."""
    return writing.indic(text)


def number_canonical(text: str, language: str | None = None) -> str:
    """`indic` with numbers in digits. `language` settles words that are numbers in one language only."""
    return numbers.in_digits(writing.indic(numbers.vulgar_fractions(text)), language)


def script_neutral(text: str, language: str | None = None) -> str:
    """`indic` in one script. Roman spellings that only the other text can settle are settled by `pair`."""
    return scripts.key(writing.indic(text), language)


NORMALISERS: MappingProxyType[str, Normaliser] = MappingProxyType(
    {STRICT: strict, INDIC: indic, SCRIPT_NEUTRAL: script_neutral, NUMBER_CANONICAL: number_canonical}
)


def normalise(text: str, language: str | None = None, *, normaliser: str) -> str:
    """One text under the reading called `normaliser`."""
    return reading(normaliser)(text, language)


def pair(reference: str, hypothesis: str, *, normaliser: str, language: str | None = None) -> tuple[str, str]:
    """Two texts as they are compared under one reading, where one text may settle what the other means.

    script-neutral: a word that only changed its script is written like the reference's. number-canonical: a wrong word
    inside a number may leave its parts standing apart; where that costs more than it does word by word (`indic`), the
    texts are compared word by word, so that a substitution costs the same in every reading.
    """
    read = reading(normaliser)
    if normaliser == SCRIPT_NEUTRAL:
        return scripts.agree(writing.indic(reference), writing.indic(hypothesis), language)
    texts = read(reference, language), read(hypothesis, language)
    if normaliser == NUMBER_CANONICAL and texts[0] != texts[1]:
        spoken = writing.indic(reference), writing.indic(hypothesis)
        if texts != spoken and _words_apart(spoken) < _words_apart(texts):
            return spoken
    return texts


def _words_apart(texts: tuple[str, str]) -> int:
    return distance.between(texts[0].split(), texts[1].split())


def reading(name: str) -> Normaliser:
    """The reading called `name`; an unknown name is told which are known."""
    found = NORMALISERS.get(name)
    if found is None:
        known = ", ".join(NORMALISERS)
        raise InvalidInput("no-such-normaliser", f"There is no normaliser called {name}.", f"Use one of: {known}.")
    return found
