"""Reviews -> Krippendorff's alpha of each choice: agreement beyond chance, 1 is perfect, 0 is chance. Pure.

Nominal: two different answers are equally different, whichever they are. A choice that was pre-set by a draft agrees
with itself, so blind tasks are told apart here too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import krippendorff

from training.quality.figures import TOO_FEW
from training.quality.reviews import Review

LEAST_TASKS = 10  # with at least two answers

CONTROLS: dict[str, Callable[[Review], str | None]] = {
    "language": lambda review: review.language,
    "script": lambda review: review.script,
    "quality": lambda review: review.quality,
    "accent": lambda review: review.accent,
    "reject": lambda review: "rejected" if review.reject else "accepted",
}


def alphas(reviews: Sequence[Review]) -> dict[str, Any]:
    """Per choice that was made at all: alpha, the tasks two people answered, their answers."""
    shown = [each for each in reviews if not each.skipped]
    answers = {name: _by_task(shown, chosen) for name, chosen in CONTROLS.items()}
    return {name: _figure(units) for name, units in answers.items() if units}


def _by_task(reviews: Sequence[Review], chosen: Callable[[Review], str | None]) -> list[Counter[str]]:
    """Per task with two answers or more, how often each was given; one person has one answer, the latest."""
    given: dict[int, dict[int, str]] = defaultdict(dict)
    for review in reviews:
        answer = chosen(review)
        if answer and review.task_id is not None and review.annotator is not None:
            given[review.task_id][review.annotator] = answer
    return [Counter(answers.values()) for answers in given.values() if len(answers) > 1]


def _figure(units: Sequence[Counter[str]]) -> dict[str, Any]:
    values = sorted({value for unit in units for value in unit})
    body = {"value": None, "tasks": len(units), "answers": sum(unit.total() for unit in units), "options": values}
    if len(units) < LEAST_TASKS:
        return body | {"note": TOO_FEW}
    if len(values) < 2:
        return body | {"note": "everybody chose the same, which says nothing"}
    table = [[unit[value] for value in values] for unit in units]
    found = krippendorff.alpha(value_counts=table, level_of_measurement="nominal")
    return body | {"value": round(float(found), 4)}
