"""A piece of text -> its language and script, and whether the project accepts it. Pure.

The three script policies of the annotators' instructions: Deva, everything in Devanagari; Latn, everything in Roman
letters; Mixed, Hindi and Marathi words in Devanagari and English words in Roman letters, so that a Hindi word has only
one spelling. Other languages likewise, each in its own script (`ml_backend.languages`). A language without a policy, or
with `any`, is accepted in every script.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ml_backend import languages
from ml_backend.labelling import parameters
from ml_backend.languages import LATIN, MIXED, scripts_in
from training.text import hinglish
from training.text.writing import indic

LEAST_CERTAIN = 0.8  # probability of a detected language

_UNCLEAR = re.compile(
    r"[\[(<{【［]\s*(?:un-?\s?clear|inaudible|unintelligible|अस्पष्ट)"  # whatever follows, closed or not
    r"|[\[(<{【［]\s*(?:noise|crosstalk|\?+|x{2,3})[^\])>}】］]{0,40}[\])>}】］]",
    re.IGNORECASE,
)
_ROMAN_HINDI = frozenset(hinglish.DEVANAGARI_OF) - hinglish.ENGLISH_OR_NAMES
_DEVANAGARI_AND_LATIN = frozenset({languages.DEVANAGARI.code, LATIN})
_SPELLED = re.compile(r"\b[A-Z]\b")  # letters spelled out stay single capitals in every script


def unclear(text: str) -> bool:
    """Whether the annotator marked a part as unclear."""
    return _UNCLEAR.search(text) is not None


def script(text: str) -> str | None:
    """Deva, Taml, …, Latn, Mixed (one of them and Latn), or Zzzz for every other mixture; None without a letter."""
    found = scripts_in(text)
    if not found:
        return None
    if len(found) == 1:
        return next(iter(found))
    return MIXED if LATIN in found and len(found) == 2 and "Zzzz" not in found else "Zzzz"


def script_policy(project: Any) -> Mapping[str, str]:
    """Language -> script, from the project's row; `extra_params` overrides it."""
    policy = project.script_policy if isinstance(project.script_policy, Mapping) else {}
    return {**policy, **(parameters.read(project.extra_params).script_policy or {})}


def off_script(text: str, language: str | None, policy: Mapping[str, str]) -> bool:
    """Whether a text has letters of a script that the project excludes for this language."""
    allowed = languages.scripts_for(language or "", str(policy.get(language or "", "")))
    if allowed is None:
        return False
    found = scripts_in(_SPELLED.sub(" ", text))
    return not found <= allowed or (allowed == _DEVANAGARI_AND_LATIN and LATIN in found and _has_roman_hindi(text))


def _has_roman_hindi(text: str) -> bool:
    """Whether an unambiguous Hindi or Marathi word is written in Roman letters."""
    return not _ROMAN_HINDI.isdisjoint(indic(text).split())


def language_of(chosen: str | None, of_project: str | None, detected: str | None, certainty: float) -> str | None:
    """The annotator's choice, else the project's language, else one detected with LEAST_CERTAIN probability."""
    if chosen:
        return chosen
    if of_project:
        return of_project
    return detected if detected and certainty >= LEAST_CERTAIN else None


def objection(text: str, language: str | None, policy: Mapping[str, str]) -> str:
    """Why a text may not be used, as a code of `sample_pieces.REASONS`; empty when it may."""
    if unclear(text):
        return "unclear"
    if not indic(text):
        return "no-text"
    if language is None:
        return "language-unknown"
    return "script" if off_script(text, language, policy) else ""
