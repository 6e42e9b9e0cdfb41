"""Annotations of a task over a text -> the edits of each draft, and how far people agree. Pure; counts, never rates.

The counterpart of `draft_changes`: what is counted are marks, not words. An answer is a set of marks: its intent, its
language, and each entity with its place. As many marks differ as the larger of two sets has over what both have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_backend.labelling.utterance_marks import INTENT, LANGUAGE, VERDICT, said_of, to_utterance

NORMALISER = "marks"
_CHOICES = (INTENT, LANGUAGE, VERDICT)

Said = frozenset[tuple[Any, ...]]


def of(annotation: Any, text: str) -> dict[str, Any]:
    """The value of `annotations.measures`."""
    said = said_of(to_utterance(annotation.result, text))
    draft = annotation.draft if isinstance(annotation.draft, Mapping) else {}
    if draft.get("marks") is None:
        return {"normaliser": NORMALISER, "words": len(said), "chars": len(said)}
    drafted = said_of(to_utterance(draft["marks"], text))
    return {"normaliser": NORMALISER, **_counts(said, drafted), "unchanged": said == drafted}


def agreements(annotations: Sequence[Any], text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(first id, second id, counts) of each pair of people who did not skip."""
    working = sorted((one for one in annotations if not one.skipped), key=lambda one: one.id)
    said = {one.id: said_of(to_utterance(one.result, text)) for one in working}
    for at, first in enumerate(working):
        for second in working[at + 1 :]:
            if first.annotator is not None and first.annotator == second.annotator:
                continue
            mine, theirs = _chosen(said[first.id]), _chosen(said[second.id])
            same = {name: mine[name] == theirs[name] for name in sorted(mine.keys() & theirs.keys())}
            yield first.id, second.id, {**_counts(said[first.id], said[second.id]), "choices": same}


def _counts(said: Said, other: Said) -> dict[str, int]:
    most = max(len(said), len(other))
    edits = most - len(said & other)
    return {"words": most, "word_edits": edits, "chars": most, "char_edits": edits}


def _chosen(said: Said) -> dict[str, Any]:
    return {each[0]: each[1] for each in said if each[0] in _CHOICES}
