"""Verdict -> sentences that a person without statistics understands. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from training.evaluation import verdict
from training.evaluation.verdict import Comparison, Verdict

_LANGUAGES = {"hi": "Hindi", "mr": "Marathi", "en": "English"}
_SAYS = {
    verdict.BETTER: "Better: it may be promoted.",
    verdict.WORSE: "Worse: it is refused.",
    verdict.EQUAL: "No difference that is more than luck: it is refused.",
    verdict.VETOED: "Refused, because something got worse that must not.",
}


def opening(found: Verdict) -> str:
    """`Of 100 words 17 were wrong before, 14 now, on 212 calls of 83 callers; Marathi: too few to judge.`"""
    return "; ".join((_said(found.overall), *_too_few(found))) + "."


def sentences(found: Verdict) -> list[str]:
    """The opening, how sure it is, the verdict, and what stands against the candidate."""
    return [opening(found), *_sure(found), conclusion(found), *(one.sentence for one in found.objections)]


def conclusion(found: Verdict) -> str:
    if found.outcome != verdict.CANNOT_TELL:
        return _SAYS[found.outcome]
    missing = [f"{found.missing[what]:,} more {what}" for what in ("calls", "words") if found.missing.get(what)]
    return f"Cannot tell: the test set needs {' and '.join(missing) or 'words'} that neither version learnt from."


def name_of(one: Comparison) -> str:
    return _LANGUAGES.get(one.name, one.name) if one.kind == "language" else one.name


def of_100(rate: float, *, exact: bool) -> str:
    """A rate as words in a hundred; whole ones where those tell two rates apart."""
    return f"{100 * rate:.1f}" if exact else f"{100 * rate:.0f}"


def _said(one: Comparison) -> str:
    if one.before is None or one.now is None:
        return "There is no word to compare"
    exact = abs(one.before - one.now) < 0.02
    before, now = of_100(one.before, exact=exact), of_100(one.now, exact=exact)
    return (
        f"Of 100 words {before} {'was' if before == '1' else 'were'} wrong before, {now} now, "
        f"on {one.calls:,} call{'s' * (one.calls != 1)} of {one.callers:,} caller{'s' * (one.callers != 1)}"
    )


def _too_few(found: Verdict) -> Iterator[str]:
    for one in found.slices:
        if one.kind == "language" and not one.enough:
            yield f"{name_of(one)}: too few to judge"


def _sure(found: Verdict) -> Iterator[str]:
    between = found.overall.difference
    if between is not None and between.low == between.high:
        yield f"The difference is {100 * between.value:+.1f} words in 100; too few calls to say how sure that is."
    elif between is not None:
        yield (
            f"The difference is {100 * between.value:+.1f} words in 100, and lies between {100 * between.low:+.1f} "
            f"and {100 * between.high:+.1f} with 95 % confidence; less is better."
        )
