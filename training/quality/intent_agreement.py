"""Annotations of the same utterances by several people -> how far they agree: intents and entity spans. Pure.

Intents: Krippendorff's alpha for nominal data, which allows any number of people per utterance and corrects for chance.
Spans: F1 between each two people, pooled; a span is equal where its borders and its name are (strict).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from training.quality import agreement
from training.quality.figures import TOO_FEW, Figure

LEAST_SPANS = 20  # of both people together, below which no F1 is shown


@dataclass(frozen=True)
class MarkedBy:
    """One person's answer for one utterance."""

    utterance: int
    annotator: int
    intent: str | None
    entities: Sequence[Any] = ()


def measure(answers: Iterable[MarkedBy]) -> dict[str, Any]:
    """Alpha of the intents, F1 of the spans, and the pairs of intents that are confused most often."""
    by_utterance: defaultdict[int, dict[int, MarkedBy]] = defaultdict(dict)
    for each in answers:
        by_utterance[each.utterance][each.annotator] = each
    shared = [list(found.values()) for found in by_utterance.values() if len(found) > 1]
    intents = [Counter(each.intent for each in found if each.intent) for found in shared]
    return {
        "utterances": len(shared),
        "intents": agreement.figure([unit for unit in intents if unit.total() > 1]),
        "spans": span_f1(pair for found in shared for pair in combinations(found, 2)),
        "confused": _confused(shared),
    }


def span_f1(pairs: Iterable[tuple[MarkedBy, MarkedBy]]) -> Figure:
    """Strict F1 over all pairs of people; the same in both directions."""
    same = total = 0
    for one, other in pairs:
        first, second = _spans(one), _spans(other)
        same += 2 * len(first & second)
        total += len(first) + len(second)
    if total < LEAST_SPANS:
        return {"value": None, "part": same, "of": total, "note": TOO_FEW}
    return {"value": round(same / total, 4), "part": same, "of": total}


def _spans(one: MarkedBy) -> set[tuple[int, int, str]]:
    return {(each["start"], each["end"], each["entity"]) for each in one.entities}


def _confused(shared: Iterable[Sequence[MarkedBy]]) -> list[dict[str, Any]]:
    """The ten pairs of intents that two people gave to one utterance most often."""
    found: Counter[tuple[str, str]] = Counter()
    for people in shared:
        for one, other in combinations(people, 2):
            if one.intent and other.intent and one.intent != other.intent:
                first, second = sorted((one.intent, other.intent))
                found[first, second] += 1
    ordered = sorted(found.items(), key=lambda each: (-each[1], each[0]))
    return [{"intents": list(names), "times": times} for names, times in ordered[:10]]
