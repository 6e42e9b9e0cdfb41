"""Pairs -> how far people agree: error rates for text, shares for choices. Pure.

Rates are pooled: the sum of edits over the sum of words. Two people who began from the same draft agree because of it,
so blind tasks, which have no draft, are reported separately: only they measure agreement.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import krippendorff

from training.quality.figures import TOO_FEW, rate, share
from training.quality.reviews import AgreementPair, Review


def measure(pairs: Sequence[AgreementPair]) -> dict[str, Any]:
    """Word and character error rate between people, and the share of equal choices per control."""
    answered = [each for each in pairs if each.first.answered and each.second.answered]
    equal: dict[str, list[bool]] = defaultdict(list)
    for pair in pairs:
        for control, same in pair.choices:
            equal[control].append(same)
    return {
        "tasks": len({each.task_id for each in answered}),
        "pairs": len(answered),
        "wer": rate(sum(each.word_edits for each in answered), sum(each.words for each in answered)),
        "cer": rate(sum(each.char_edits for each in answered), sum(each.chars for each in answered)),
        "choices": {control: share(sum(equal[control]), len(equal[control])) for control in sorted(equal)},
    }


def by_start(pairs: Sequence[AgreementPair]) -> dict[str, Any]:
    """All pairs; pairs on blind tasks; pairs that both began from a draft."""
    return {
        "all": measure(pairs),
        "blind": measure([each for each in pairs if each.first.blind]),
        "drafted": measure([each for each in pairs if each.first.drafted and each.second.drafted]),
    }


def of_person(pairs: Sequence[AgreementPair], annotator: int | None) -> list[AgreementPair]:
    """The pairs that include one person."""
    return [each for each in pairs if annotator in (each.first.annotator, each.second.annotator)]


LEAST_TASKS = 10  # with at least two answers

CONTROLS: dict[str, Callable[[Review], str | None]] = {
    "language": lambda review: review.language,
    "script": lambda review: review.script,
    "quality": lambda review: review.quality,
    "accent": lambda review: review.accent,
    "reject": lambda review: "rejected" if review.reject else "accepted",
}


def alphas(reviews: Sequence[Review]) -> dict[str, Any]:
    """Per choice: alpha, the tasks with two answers or more, and the number of answers."""
    shown = [each for each in reviews if not each.skipped]
    answers = {name: _by_task(shown, chosen) for name, chosen in CONTROLS.items()}
    return {name: figure(units) for name, units in answers.items() if units}


def _by_task(reviews: Sequence[Review], chosen: Callable[[Review], str | None]) -> list[Counter[str]]:
    """Per task with two answers or more, the count of each answer; only a person's latest counts."""
    given: dict[int, dict[int, str]] = defaultdict(dict)
    for review in reviews:
        answer = chosen(review)
        if answer and review.task_id is not None and review.annotator is not None:
            given[review.task_id][review.annotator] = answer
    return [Counter(answers.values()) for answers in given.values() if len(answers) > 1]


def figure(units: Sequence[Counter[str]]) -> dict[str, Any]:
    """Krippendorff's alpha for nominal data, from the count of each answer per unit."""
    values = sorted({value for unit in units for value in unit})
    body = {"value": None, "tasks": len(units), "answers": sum(unit.total() for unit in units), "options": values}
    if len(units) < LEAST_TASKS:
        return body | {"note": TOO_FEW}
    if len(values) < 2:
        return body | {"note": "all annotators chose the same value, so agreement cannot be measured"}
    table = [[unit[value] for value in values] for unit in units]
    found = krippendorff.alpha(value_counts=table, level_of_measurement="nominal")
    return body | {"value": round(float(found), 4)}
