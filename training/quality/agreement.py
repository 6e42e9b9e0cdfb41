"""Pairs -> how far people agree: error rates for text, shares for choices. Pure.

Pooled: the sum of edits over the sum of words. Two people who began from the same draft agree because of it, so blind
tasks, where nobody saw one, are told apart: they alone say how far people agree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from training.quality.figures import rate, share
from training.quality.reviews import Pair


def measure(pairs: Sequence[Pair]) -> dict[str, Any]:
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


def by_start(pairs: Sequence[Pair]) -> dict[str, Any]:
    """All pairs; those on blind tasks; those where both began from a draft."""
    return {
        "all": measure(pairs),
        "blind": measure([each for each in pairs if each.first.blind]),
        "drafted": measure([each for each in pairs if each.first.drafted and each.second.drafted]),
    }


def of_person(pairs: Sequence[Pair], annotator: int | None) -> list[Pair]:
    """The pairs one person is part of."""
    return [each for each in pairs if annotator in (each.first.annotator, each.second.annotator)]
