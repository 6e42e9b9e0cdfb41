"""Annotations of a task -> the edits of each draft, and how far people agree. Pure; counts, never rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from training.scoring.error_counts import compare, count
from training.text import readings

NORMALISER = readings.INDIC


def of(annotation: Any) -> dict[str, Any]:
    """The value of `annotations.measures`: the annotation's text is the reference, its draft the hypothesis."""
    text = annotation.text or ""
    draft = annotation.draft if isinstance(annotation.draft, Mapping) else None
    if draft is None:
        same = readings.normalise(text, annotation.language, normaliser=NORMALISER)
        alone = compare(same, same).to_json()
        return {"normaliser": NORMALISER, "words": alone["words"], "chars": alone["chars"]}
    drafted = str(draft.get("text") or "")
    counts = count(text, drafted, normaliser=NORMALISER, language=annotation.language).to_json()
    unchanged = readings.strict(text) == readings.strict(drafted)
    return {"normaliser": NORMALISER, **counts, "unchanged": unchanged}


def agreements(annotations: Sequence[Any]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(first id, second id, counts) of each pair of people who did not skip; the earlier text is the reference.

    A control that one of them left empty is not compared, except `reject`, where empty is an answer.
    """
    working = sorted((one for one in annotations if not one.skipped), key=lambda one: one.id)
    for at, first in enumerate(working):
        for second in working[at + 1 :]:
            if first.annotator is not None and first.annotator == second.annotator:
                continue
            counts = count(first.text or "", second.text or "", normaliser=NORMALISER, language=first.language)
            mine, theirs = first.choices or {}, second.choices or {}
            same = {
                control: set(mine.get(control, ())) == set(theirs.get(control, ()))
                for control in sorted({*mine, *theirs})
                if (mine.get(control) and theirs.get(control)) or control == "reject"
            }
            yield first.id, second.id, {**counts.to_json(), "choices": same}
