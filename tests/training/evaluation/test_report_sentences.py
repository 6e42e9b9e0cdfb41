"""A verdict opens in words that need no statistics."""

from __future__ import annotations

from typing import Any

import pytest

from training.evaluation import report_page, report_plot, verdict
from training.evaluation.gate_rules import Rules
from training.evaluation.verdict import Comparison, Verdict
from training.scoring.bootstrap import Interval


def compared(kind: str = "all", name: str = "all", **changed: Any) -> Comparison:
    values: dict[str, Any] = {
        "calls": 212, "callers": 83, "words": 4021, "before": 0.17, "now": 0.14,
        "difference": Interval(-0.03, -0.04, -0.02), "enough": True,
    }  # fmt: skip
    return Comparison(kind, name, **{**values, **changed})


def found(outcome: str = verdict.BETTER, **changed: Any) -> Verdict:
    few = compared("language", "mr", calls=3, callers=2, words=41, difference=None, enough=False)
    values = {"overall": compared(), "slices": (few,), "objections": (), "missing": {}, "rules": Rules()}
    return Verdict(outcome, **{**values, **changed})


def test_it_opens_with_words_out_of_a_hundred_calls_callers_and_what_cannot_be_judged():
    assert report_page.opening(found()) == (
        "Of 100 words 17 were wrong before, 14 now, on 212 calls of 83 callers; Marathi: too few to judge."
    )


def test_two_rates_that_look_alike_get_a_decimal():
    close = compared(before=0.171, now=0.168)
    assert report_page.opening(found(overall=close, slices=())).startswith(
        "Of 100 words 17.1 were wrong before, 16.8 now"
    )


def test_what_is_missing_is_said_in_calls_and_words():
    said = report_page.conclusion(found(verdict.CANNOT_TELL, missing={"calls": 18, "words": 1760}))
    assert (
        said == "Cannot tell: the test set needs 18 more calls and 1,760 more words that neither version learnt from."
    )


@pytest.mark.parametrize("outcome", [verdict.BETTER, verdict.WORSE, verdict.EQUAL, verdict.VETOED])
def test_every_outcome_says_whether_it_may_be_promoted(outcome):
    assert ("may be promoted" in report_page.conclusion(found(outcome))) is (outcome == verdict.BETTER)


def test_without_a_word_there_is_nothing_to_compare():
    nothing = compared(calls=0, callers=0, words=0, before=None, now=None, difference=None, enough=False)
    assert report_page.opening(found(verdict.CANNOT_TELL, overall=nothing, slices=())) == "There is no word to compare."


def test_a_plot_has_every_slice_and_is_the_same_every_time():
    told = found().to_json()
    drawn = report_plot.svg(told)
    assert drawn.startswith(b"<?xml")
    assert b"language: mr" in drawn
    assert report_plot.svg(told) == drawn
