"""Drafts and their corrections -> words that the model rarely gets right. Pure.

A name, a place or a brand that the model does not know is wrong in many calls, often in the same way. Such a word is
suggested if people corrected it in several recordings and the model rarely had it right. A wrong form is safe to
correct automatically if people changed it to that word nearly every time it appeared in a draft.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from ml_backend.asr.corrections import MOST_WORDS, fold
from training.scoring.alignment import Block, blocks
from training.text.writing import strict

LEAST_RECORDINGS = 3
LEAST_CALLERS = 2  # a word that only one caller says, such as their own name, is of no use for others
LEAST_MISSED = 0.8  # of the places where people wrote it
LEAST_LETTERS = 3
LEAST_TIMES, LEAST_SHARE = 2, 0.9  # of a confused form, before it is corrected automatically
MOST_FORMS = 8


@dataclass(frozen=True)
class CorrectedDraft:
    """A draft and its corrected text; the last two fields identify the call and the caller."""

    draft: str
    text: str
    language: str
    recording_id: int
    caller: str


@dataclass(frozen=True)
class ConfusedForm:
    """A wrong form in drafts: people corrected it to the word `times` times, of the `said` times it appeared."""

    form: str
    times: int
    said: int

    @property
    def sure(self) -> bool:
        """Whether it is safe to correct automatically."""
        return self.times >= LEAST_TIMES and self.times >= LEAST_SHARE * self.said


@dataclass(frozen=True)
class Candidate:
    """A suggested word. `seen`: recordings in which it was corrected; the model missed `missed` of `written` places."""

    language: str
    word: str
    seen: int
    missed: int
    written: int
    forms: tuple[ConfusedForm, ...]


@dataclass
class _Seen:
    missed: int = 0
    right: int = 0
    recordings: set[int] = field(default_factory=set)
    callers: set[str] = field(default_factory=set)
    spellings: Counter[str] = field(default_factory=Counter)
    forms: dict[str, int] = field(default_factory=dict)


def collect(pairs: Callable[[], Iterable[CorrectedDraft]]) -> list[Candidate]:
    """Candidates, the most frequent first. `pairs` is read twice: once for words, once for their wrong forms."""
    seen: dict[tuple[str, str], _Seen] = defaultdict(_Seen)
    for pair in pairs():
        _look(pair, seen)
    chosen = {key: found for key, found in seen.items() if _is_candidate(key[1], found)}
    wanted = {(language, form) for (language, _), found in chosen.items() for form in found.forms}
    said = _said(pairs(), wanted)
    made = [
        Candidate(
            language,
            found.spellings.most_common(1)[0][0],
            len(found.recordings),
            found.missed,
            found.missed + found.right,
            _forms(found, language, said),
        )
        for (language, _), found in chosen.items()
    ]
    return sorted(made, key=lambda one: (-one.seen, one.language, one.word))


def _look(pair: CorrectedDraft, seen: dict[tuple[str, str], _Seen]) -> None:
    hypothesis, reference = _words(pair.draft), _words(pair.text)
    for block in blocks([key for key, _ in hypothesis], [key for key, _ in reference]):
        if block.same:
            for key, _ in reference[slice(*block.reference)]:
                seen[pair.language, key].right += 1
            continue
        for spelt, form in _corrected(hypothesis, reference, block):
            key = fold(spelt)
            found = seen[pair.language, key]
            found.missed += 1
            found.recordings.add(pair.recording_id)
            found.callers.add(pair.caller)
            found.spellings[spelt] += 1
            if form and form != key:
                found.forms[form] = found.forms.get(form, 0) + 1


def _corrected(
    hypothesis: Sequence[tuple[str, str]], reference: Sequence[tuple[str, str]], block: Block
) -> Iterator[tuple[str, str]]:
    """(corrected word, draft's word) of each word in one block; the draft's word is empty if none matches."""
    before, after = hypothesis[slice(*block.hypothesis)], reference[slice(*block.reference)]
    if len(before) == len(after):
        for (form, _), (_, spelt) in zip(before, after, strict=True):
            yield spelt, form
        return
    form = " ".join(key for key, _ in before) if len(after) == 1 and len(before) <= MOST_WORDS else ""
    for _, spelt in after:
        yield spelt, form


def _is_candidate(key: str, found: _Seen) -> bool:
    letters = sum(unicodedata.category(character)[0] in "LM" for character in key)  # vowel signs are letters too
    often = len(found.recordings) >= LEAST_RECORDINGS and len(found.callers) >= LEAST_CALLERS
    return often and letters >= LEAST_LETTERS and found.missed >= LEAST_MISSED * (found.missed + found.right)


def _said(pairs: Iterable[CorrectedDraft], wanted: set[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """How often each wanted form stood in a draft."""
    said: Counter[tuple[str, str]] = Counter()
    sizes = sorted({form.count(" ") + 1 for _, form in wanted})
    for pair in pairs:
        keys = [key for key, _ in _words(pair.draft)]
        for size in sizes:
            for start in range(len(keys) - size + 1):
                name = (pair.language, " ".join(keys[start : start + size]))
                if name in wanted:
                    said[name] += 1
    return said


def _forms(found: _Seen, language: str, said: Counter[tuple[str, str]]) -> tuple[ConfusedForm, ...]:
    made = [ConfusedForm(form, times, max(times, said[language, form])) for form, times in found.forms.items()]
    return tuple(sorted(made, key=lambda one: (-one.times, one.form))[:MOST_FORMS])


def _words(text: str) -> list[tuple[str, str]]:
    """(the word as compared, as written without the marks around it)."""
    found = []
    for token in strict(text).split():
        if key := fold(token):
            found.append((key, _bare(token)))
    return found


@lru_cache(maxsize=50_000)
def _bare(token: str) -> str:
    return token.strip("".join(character for character in set(token) if not fold(character)))
