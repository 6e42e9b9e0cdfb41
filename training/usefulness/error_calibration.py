"""Reviews -> how wrong a draft of a given confidence is, per language, and how often a task ends with a text. Pure.

A model's confidence is a ranking, not an error rate: 0.7 means one thing in Hindi and another in Marathi. So drafts are
put into bins of equal size by confidence, each bin's rate is shrunk towards what all languages together say (and that
towards the prior), as if PULL more reviews had been seen there, and the bins are made monotonic by pooling neighbours
that violate the order: isotonic regression by pool-adjacent-violators, as in Zadrozny and Elkan, "Transforming
Classifier Scores into Accurate Multiclass Probability Estimates" (KDD 2002).
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ml_backend.usefulness.team_model import EVERY, ErrorCurve, prior_error
from training.quality.reviews import Review

PULL = 10.0  # reviews' worth of the prior in every bin
LEAST_IN_BIN, MOST_BINS = 12, 12
LEAST_OF_LANGUAGE = 12  # below it the language has no curve of its own
MOST_ERROR = 1.5


@dataclass(frozen=True)
class ScoredDraft:
    """One review as calibration sees it: `part` of `whole`, e.g. wrong words of words."""

    confidence: float
    part: float
    whole: float


def error_curves(reviews: Sequence[Review]) -> dict[str, ErrorCurve]:
    """Curves by language, and EVERY for the others; empty without corrections. `reviews` measure their drafts."""
    found: dict[str, list[ScoredDraft]] = defaultdict(list)
    for each in reviews:
        if each.confidence is not None and each.words and each.word_edits is not None:
            found[each.language or ""].append(ScoredDraft(each.confidence, float(each.word_edits), float(each.words)))
    every = [one for some in found.values() for one in some]
    if len(every) < LEAST_OF_LANGUAGE:
        return {}
    pooled = curve(every, prior_error)
    return {EVERY: pooled} | {
        language: curve(some, pooled.at)
        for language, some in sorted(found.items())
        if language and len(some) >= LEAST_OF_LANGUAGE
    }


def usable_curve(reviews: Sequence[Review]) -> ErrorCurve | None:
    """The share of drafted tasks that end with a text, rising with confidence; None with too few."""
    drafted = [each for each in reviews if each.drafted and each.confidence is not None and each.gold is None]
    if len(drafted) < LEAST_OF_LANGUAGE:
        return None
    overall = (sum(each.answered for each in drafted) + PULL) / (len(drafted) + PULL)
    scored = [ScoredDraft(each.confidence or 0.0, float(each.answered), 1.0) for each in drafted]
    return curve(scored, lambda _confidence: overall, rising=True)


def curve(scored: Sequence[ScoredDraft], prior: Callable[[float], float], *, rising: bool = False) -> ErrorCurve:
    """A step curve of part per whole over confidence, falling unless `rising`."""
    order = sorted(scored, key=lambda one: one.confidence)
    bins = max(1, min(MOST_BINS, len(order) // LEAST_IN_BIN))
    cuts = [len(order) * place // bins for place in range(1, bins)]
    values_of = [one.confidence for one in order]
    bounds = sorted(
        {0, len(order), *(bisect_right(values_of, values_of[at - 1]) for at in cuts)}
    )  # equal ones together
    typical = sum(one.whole for one in order) / len(order)
    values, weights, edges = [], [], []
    for begin, end in itertools.pairwise(bounds):
        some = order[begin:end]
        middle = sum(one.confidence for one in some) / len(some)
        whole = sum(one.whole for one in some) + PULL * typical
        values.append((sum(one.part for one in some) + PULL * typical * prior(middle)) / whole)
        weights.append(whole)
        if end < len(order):
            edges.append((order[end - 1].confidence + order[end].confidence) / 2)
    fitted = _monotonic(values, weights, rising=rising)
    kept = [place for place in range(len(edges)) if fitted[place] != fitted[place + 1]]
    steps = [fitted[place] for place in kept] + [fitted[-1]]
    return ErrorCurve(
        tuple(round(edges[place], 5) for place in kept),
        tuple(round(min(MOST_ERROR, value), 5) for value in steps),
        len(order),
    )


def _monotonic(values: Sequence[float], weights: Sequence[float], *, rising: bool) -> list[float]:
    """Pool-adjacent-violators: the nearest monotonic values in weighted squares."""
    sign = 1.0 if rising else -1.0
    blocks: list[list[float]] = []  # value, weight, bins
    for value, weight in zip(values, weights, strict=True):
        blocks.append([sign * value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            last, before = blocks.pop(), blocks.pop()
            weight_of = before[1] + last[1]
            mean = (before[0] * before[1] + last[0] * last[1]) / weight_of
            blocks.append([mean, weight_of, before[2] + last[2]])
    return [sign * value for value, _, bins in blocks for _ in range(int(bins))]
