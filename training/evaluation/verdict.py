"""Utterances of a champion and of a candidate -> Verdict: may the candidate replace the champion? Pure; design D9.

Better means that the paired difference of word error rates lies below zero with 95 % confidence. A slice vetoes a
candidate only if its whole interval lies beyond a margin, so that a few unlucky words do not. A slice with too few
calls has no vote and is named. With too few calls overall there is no verdict, whatever the rates are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from training.evaluation.gate_rules import Rules
from training.scoring import bootstrap
from training.scoring.bootstrap import Interval
from training.scoring.scores import MAIN, SLICES, Utterance, by_slice, counted, runaway

BETTER, WORSE, EQUAL, CANNOT_TELL, VETOED = "better", "worse", "equal", "cannot-tell", "vetoed"


@dataclass(frozen=True)
class Comparison:
    """Champion against candidate on the same utterances. Rates in 0..1; `difference` is now minus before."""

    kind: str
    name: str
    calls: int
    callers: int
    words: int
    before: float | None
    now: float | None
    difference: Interval | None
    enough: bool
    before_between: Interval | None = None  # each arm by itself, over the same calls
    now_between: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        intervals = {
            "difference": self.difference, "before_between": self.before_between, "now_between": self.now_between,
        }  # fmt: skip
        return {**asdict(self), **{name: one.to_json() if one else None for name, one in intervals.items()}}


@dataclass(frozen=True)
class GateObjection:
    """One reason against a candidate, whatever its overall rate: slice, silence, self-check, parity, speed, empty."""

    code: str
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """`missing` is the number of further calls and words needed for a verdict."""

    outcome: str
    overall: Comparison
    slices: tuple[Comparison, ...]
    objections: tuple[GateObjection, ...]
    missing: dict[str, int]
    rules: Rules

    @property
    def passed(self) -> bool:
        return self.outcome == BETTER

    def to_json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome, "passed": self.passed, "normaliser": MAIN, "overall": self.overall.to_json(),
            "slices": [one.to_json() for one in self.slices], "missing": self.missing,
            "objections": [asdict(one) for one in self.objections], "rules": self.rules.to_json(),
        }  # fmt: skip


def judge(
    pairs: Sequence[tuple[Utterance, Utterance]], others: Sequence[GateObjection] = (), *, rules: Rules | None = None
) -> Verdict:
    """Pairs are the same piece of audio as (champion, candidate) transcribed it; `others` is what texts do not show."""
    rules = rules or Rules()
    overall = _compare("all", "all", pairs, enough=(rules.min_calls, rules.min_words))
    slices = [one for kind in SLICES for one in _by_slice(kind, pairs, rules)]
    objections = [*others, *_against(pairs, rules), *(_slice_objection(one) for one in slices if _vetoes(one, rules))]
    missing = {
        "calls": max(0, rules.min_calls - overall.calls), "words": max(0, rules.min_words - overall.words),
    }  # fmt: skip
    return Verdict(_outcome(overall, objections), overall, tuple(slices), tuple(objections), missing, rules)


def _outcome(overall: Comparison, objections: Sequence[GateObjection]) -> str:
    """What stands against serving it at all is said first; a slice can only take back a `better`."""
    if any(one.code not in ("slice", "empty", "runaway") for one in objections):
        return VETOED
    if not overall.enough or overall.difference is None:
        return CANNOT_TELL
    if overall.difference.low > 0:
        return WORSE
    if overall.difference.high >= 0:
        return EQUAL
    return VETOED if objections else BETTER


def _compare(
    kind: str, name: str, pairs: Sequence[tuple[Utterance, Utterance]], *, enough: tuple[int, int]
) -> Comparison:
    amount = counted(before for before, _ in pairs)
    sums = bootstrap.by_call(
        (
            before.call,
            (
                before.weight * before.tallies[MAIN][1],
                before.weight * now.tallies[MAIN][1],
                before.weight * before.tallies[MAIN][0],
            ),
        )
        for before, now in pairs
    )
    total = sums.sum(axis=0) if len(sums) else (0.0, 0.0, 0.0)
    rates = (float(total[0] / total[2]), float(total[1] / total[2])) if total[2] else (None, None)
    return Comparison(
        kind, name, amount["calls"], amount["callers"], amount["words"], rates[0], rates[1],
        bootstrap.difference(sums) if total[2] else None,
        enough=amount["calls"] >= enough[0] and amount["words"] >= enough[1],
        before_between=bootstrap.rate(sums[:, [0, 2]]) if total[2] else None,
        now_between=bootstrap.rate(sums[:, [1, 2]]) if total[2] else None,
    )  # fmt: skip


def _by_slice(kind: str, pairs: Sequence[tuple[Utterance, Utterance]], rules: Rules) -> list[Comparison]:
    now = {one.id: one for _, one in pairs}
    return [
        _compare(kind, name, [(one, now[one.id]) for one in some], enough=(rules.slice_calls, rules.slice_words))
        for name, some in by_slice([before for before, _ in pairs], kind).items()
    ]


def _vetoes(one: Comparison, rules: Rules) -> bool:
    return one.enough and one.difference is not None and one.difference.low > rules.margin(one.kind, one.name)


def _slice_objection(one: Comparison) -> GateObjection:
    found = one.difference
    assert found is not None  # noqa: S101
    return GateObjection(
        "slice",
        f"{one.kind} {one.name} gets worse by {100 * found.value:.1f} words in 100 "
        f"(between {100 * found.low:.1f} and {100 * found.high:.1f}).",
    )


def _against(pairs: Sequence[tuple[Utterance, Utterance]], rules: Rules) -> list[GateObjection]:
    """Objections from the shares of empty answers and of runaway answers."""
    found = []
    for code, what, flag in (
        ("empty", "stay empty", lambda one: one.empty and one.tallies[MAIN][0] > 0),
        ("runaway", "are mostly invented words", runaway),
    ):
        sums = bootstrap.by_call((a.call, (float(flag(a)), float(flag(b)), 1.0)) for a, b in pairs)
        share = bootstrap.difference(sums)
        if share is not None and share.low > rules.empty_margin:
            found.append(GateObjection(code, f"{100 * share.value:.1f} more utterances in 100 {what}."))
    return found
