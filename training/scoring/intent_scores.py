"""Parsed utterances -> scores of intents and entities. Pure; a row is {reference, prediction} and what it belongs to.

    row = {"id", "family", "language",
           "reference": {"intent", "entities": [{"entity", "start", "end"}]},
           "prediction": {"intent", "best", "confidence", "in_scope", "entities": [...]}}

`intent` of a prediction is the answer at the served threshold, `best` the most likely intent before it (absent: the
answer), `confidence` the probability of `best`, `in_scope` the highest probability of an intent that is in scope.

F1 of an intent is 2 TP / (2 TP + FP + FN); macro-F1 is its mean over the intents that the references have (an intent
that nobody said has no F1). Entities are compared as strict spans: type, start and end (CoNLL-2003; Tjong Kim Sang and
De Meulder 2003), F1 pooled over rows. AUROC is the chance that a row in scope has a higher `in_scope` than one out of
scope, ties half (Mann-Whitney). ECE is the mean difference of confidence and accuracy over ten bins of equal width,
weighted by rows (Guo et al., "On calibration of modern neural networks", ICML 2017).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from training.scoring.bootstrap import CONFIDENCE, Interval

IntentRow = Mapping[str, Any]
NONE_OF_THESE = "none_of_these"
LEAST_OF_LANGUAGE = 30  # rows: fewer get counts, never a score
_BINS = 10
_LEAST_TO_CHOOSE = 10  # families with right answers that choose a threshold
_RESAMPLES = 1000
_SEED = 20_261_130


def scores(rows: Sequence[IntentRow], *, out_of_scope: str = NONE_OF_THESE) -> dict[str, Any]:
    """Everything that an evaluation says of intents and entities. Figures are None where nothing can be said."""
    return {
        "rows": len(rows),
        "families": len({family_of(row) for row in rows}),
        "macro_f1": macro_f1(rows),
        "accuracy": accuracy(rows),
        "entities": entity_scores(rows),
        "out_of_scope": {
            "rows": sum(_said(row) == out_of_scope for row in rows),
            "auroc": out_of_scope_auroc(rows, out_of_scope=out_of_scope),
            **false_accepts(rows, out_of_scope=out_of_scope),
        },
        "ece": expected_calibration_error(rows),
        "intents": intent_table(rows),
        "confusion": confusion(rows),
        "slices": {"language": by_language(rows)},
    }


def accuracy(rows: Sequence[IntentRow]) -> float | None:
    return sum(_said(row) == _answered(row) for row in rows) / len(rows) if rows else None


def macro_f1(rows: Sequence[IntentRow]) -> float | None:
    """The mean F1 over the intents of the references; None without rows."""
    found = [each["f1"] for each in intent_table(rows).values() if each["rows"]]
    return float(np.mean(found)) if found else None


def intent_table(rows: Iterable[IntentRow]) -> dict[str, dict[str, Any]]:
    """Per intent: rows that have it, answers, right ones, precision, recall and F1 (0 where nothing is right)."""
    said, answered, right = Counter[str](), Counter[str](), Counter[str]()
    for row in rows:
        said[_said(row)] += 1
        answered[_answered(row)] += 1
        right[_said(row)] += _said(row) == _answered(row)
    return {
        name: {
            "rows": said[name], "answers": answered[name], "right": right[name],
            "precision": right[name] / answered[name] if answered[name] else None,
            "recall": right[name] / said[name] if said[name] else None,
            "f1": 2 * right[name] / (said[name] + answered[name]),
        }
        for name in sorted(said | answered)
    }  # fmt: skip


def confusion(rows: Iterable[IntentRow]) -> list[dict[str, Any]]:
    """The pairs of intent and another answer, with their counts, the most frequent first."""
    wrong = Counter((_said(row), _answered(row)) for row in rows if _said(row) != _answered(row))
    return [
        {"intent": said, "answered": answered, "rows": count}
        for (said, answered), count in sorted(wrong.items(), key=lambda each: (-each[1], each[0]))
    ]


def by_language(rows: Iterable[IntentRow]) -> dict[str, dict[str, Any]]:
    """Counts per language, and scores where there are at least LEAST_OF_LANGUAGE rows."""
    found: dict[str, list[IntentRow]] = defaultdict(list)
    for row in rows:
        found[str(row.get("language") or "unknown")].append(row)
    return {
        name: {
            "rows": len(some),
            "macro_f1": macro_f1(some) if len(some) >= LEAST_OF_LANGUAGE else None,
            "accuracy": accuracy(some) if len(some) >= LEAST_OF_LANGUAGE else None,
            "entity_f1": entity_scores(some)["f1"] if len(some) >= LEAST_OF_LANGUAGE else None,
        }
        for name, some in sorted(found.items())
    }


def entity_scores(rows: Iterable[IntentRow]) -> dict[str, Any]:
    """Strict spans: spans of the references, spans answered, right ones, precision, recall, F1; by type too."""
    said, answered, right = Counter[str](), Counter[str](), Counter[str]()
    for row in rows:
        reference, prediction = _spans(row["reference"]), _spans(row["prediction"])
        for counts, spans in ((said, reference), (answered, prediction), (right, reference & prediction)):
            counts.update(entity for entity, _, _ in spans)
    types = {name: _pooled(said[name], answered[name], right[name]) for name in sorted(said | answered)}
    return {**_pooled(said.total(), answered.total(), right.total()), "types": types}


def out_of_scope_auroc(rows: Sequence[IntentRow], *, out_of_scope: str = NONE_OF_THESE) -> float | None:
    """None unless there are rows of both kinds."""
    inside = np.array([_in_scope(row) for row in rows if _said(row) != out_of_scope])
    outside = np.array([_in_scope(row) for row in rows if _said(row) == out_of_scope])
    if not len(inside) or not len(outside):
        return None
    above = (inside[:, None] > outside[None, :]).sum() + 0.5 * (inside[:, None] == outside[None, :]).sum()
    return float(above / (len(inside) * len(outside)))


def false_accepts(rows: Sequence[IntentRow], *, out_of_scope: str = NONE_OF_THESE) -> dict[str, Any]:
    """At the served threshold: the share of out-of-scope rows that get an intent, and of the others that get none."""
    outside = [_answered(row) != out_of_scope for row in rows if _said(row) == out_of_scope]
    inside = [_answered(row) == out_of_scope for row in rows if _said(row) != out_of_scope]
    return {
        "false_accept_rate": sum(outside) / len(outside) if outside else None,
        "false_refusal_rate": sum(inside) / len(inside) if inside else None,
    }


def expected_calibration_error(rows: Sequence[IntentRow]) -> float | None:
    """Of `confidence` against whether `best` is right."""
    if not rows:
        return None
    confidences = np.array([float(row["prediction"].get("confidence", 0.0)) for row in rows])
    right = np.array([_said(row) == _best(row) for row in rows], dtype=np.float64)
    bins = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    differences = [
        abs(confidences[bins == one].sum() - right[bins == one].sum()) for one in range(_BINS) if (bins == one).any()
    ]
    return float(sum(differences) / len(rows))


def difference(
    before: Sequence[IntentRow], after: Sequence[IntentRow],
    score: Callable[[Sequence[IntentRow]], float | None] = macro_f1,
) -> Interval | None:  # fmt: skip
    """after - before of the same rows in the same order, with its 95 % interval: families are drawn again with
    replacement, whole, and both models are scored on the same draw. None where a score is None."""
    if [row["id"] for row in before] != [row["id"] for row in after]:
        raise ValueError("a paired comparison needs the same rows in the same order")
    old, new = score(before), score(after)
    if old is None or new is None:
        return None
    places: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(before):
        places[family_of(row)].append(place)
    families, draw, found = list(places.values()), np.random.default_rng(_SEED), []
    for _ in range(_RESAMPLES):
        drawn = [n for family in draw.integers(len(families), size=len(families)) for n in families[family]]
        pair = score([before[n] for n in drawn]), score([after[n] for n in drawn])
        if pair[0] is not None and pair[1] is not None:
            found.append(pair[1] - pair[0])
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(found, [tail, 100 - tail])
    return Interval(new - old, float(low), float(high))


def fitted_temperature(logits: npt.NDArray[np.float32], intents: npt.NDArray[np.int64]) -> float:
    """The temperature with the least negative log-likelihood on these rows, between 0.25 and 20 (a grid in steps of
    five per cent: one parameter needs no optimiser). 1 without rows. Fit it on unseen wordings only."""
    if not len(logits):
        return 1.0
    grid = np.exp(np.arange(np.log(0.25), np.log(20.0), np.log(1.05)))
    rows = np.arange(len(intents))
    losses = []
    for temperature in grid:
        scaled = logits.astype(np.float64) / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        losses.append(float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, intents])))
    return float(grid[int(np.argmin(losses))])


def chosen_threshold(
    rows: Sequence[IntentRow], *, out_of_scope: str = NONE_OF_THESE, most_refused: float = 0.15, usual: float = 0.5
) -> float:
    """The highest threshold that refuses at most this share of the right answers in scope. `usual` below ten
    families of them.

    Rows in scope choose it because there are many: of the dozen rows out of scope that a table has, a false-accept rate
    is known to 25 points at best. With the families of the bundled parser's 128 rows drawn again it lies between 0.42
    and 0.73, in 19 of 20 draws. Choose it on unseen wordings only."""
    right = [row for row in rows if _best(row) == _said(row) != out_of_scope]
    if len({family_of(row) for row in right}) < _LEAST_TO_CHOOSE:
        return usual
    confidences = [_confident(row) for row in right]
    return float(np.clip(np.floor(100 * np.quantile(confidences, most_refused)) / 100, 0.05, 0.95))


def family_of(row: IntentRow) -> str:
    """The paraphrase family; a row without one is its own."""
    return str(row.get("family") or row["id"])


def _said(row: IntentRow) -> str:
    return str(row["reference"]["intent"])


def _answered(row: IntentRow) -> str:
    return str(row["prediction"]["intent"])


def _best(row: IntentRow) -> str:
    return str(row["prediction"].get("best") or _answered(row))


def _confident(row: IntentRow) -> float:
    return float(row["prediction"].get("confidence", 0.0))


def _in_scope(row: IntentRow) -> float:
    return float(row["prediction"].get("in_scope", row["prediction"].get("confidence", 0.0)))


def _spans(side: Mapping[str, Any]) -> set[tuple[str, int, int]]:
    return {(str(each["entity"]), int(each["start"]), int(each["end"])) for each in side.get("entities", ())}


def _pooled(said: int, answered: int, right: int) -> dict[str, Any]:
    return {
        "spans": said, "answers": answered, "right": right,
        "precision": right / answered if answered else None, "recall": right / said if said else None,
        "f1": 2 * right / (said + answered) if said + answered else None,
    }  # fmt: skip
