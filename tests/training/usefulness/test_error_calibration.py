"""Confidence -> expected error: learnt per language, never against the order, and the prior's where little is known."""

from __future__ import annotations

import random

import pytest

from ml_backend.usefulness.team_model import EVERY, LEAST_CORRECTIONS, prior_error
from training.quality.reviews import Review
from training.usefulness import error_calibration


def review(number: int, language: str, confidence: float, error: float, draw: random.Random, **more: object) -> Review:
    words = draw.randint(8, 40)
    edits = sum(draw.random() < error for _ in range(words))
    known = {"model_version": "v", "confidence": confidence, "words": words, "word_edits": edits}
    return Review(number, 1, number, 1, 20.0, 60.0, language=language, **{**known, **more})  # type: ignore[arg-type]


def team(seed: int, count: int = 1500) -> list[Review]:
    """Hindi means what it says; Marathi is sure of what is wrong."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        confidence, language = draw.uniform(0.3, 0.98), draw.choice(("hi", "mr"))
        error = 1 - confidence if language == "hi" else 0.55 - 0.2 * confidence
        found.append(review(number, language, confidence, error, draw))
    return found


def test_the_same_confidence_means_something_else_in_each_language() -> None:
    curves = error_calibration.error_curves(team(1))
    for confidence in (0.45, 0.65, 0.85, 0.95):
        assert curves["hi"].at(confidence) == pytest.approx(1 - confidence, abs=0.07)
        assert curves["mr"].at(confidence) == pytest.approx(0.55 - 0.2 * confidence, abs=0.05)
    assert curves["hi"].corrections >= LEAST_CORRECTIONS


@pytest.mark.parametrize("seed", range(5))
def test_a_surer_draft_is_never_expected_to_be_worse(seed: int) -> None:
    for curve in error_calibration.error_curves(team(seed, 120)).values():
        assert list(curve.errors) == sorted(curve.errors, reverse=True)
        assert list(curve.edges) == sorted(curve.edges)
        assert len(curve.errors) == len(curve.edges) + 1


def test_a_language_with_few_corrections_stays_near_all_languages_and_one_with_none_has_no_curve() -> None:
    draw = random.Random(3)
    few = [review(9000 + n, "en", 0.9, 0.9, draw) for n in range(12)]
    curves = error_calibration.error_curves([*team(2), *few, review(9999, "ta", 0.9, 0.9, draw)])
    everywhere = curves[EVERY].at(0.9)
    assert everywhere < curves["en"].at(0.9) < 0.9 - 0.2 * (0.9 - everywhere)
    assert "ta" not in curves
    assert error_calibration.error_curves(few[:11]) == {}


def test_the_first_corrections_move_the_prior_a_little() -> None:
    draw = random.Random(4)
    curve = error_calibration.error_curves([review(n, "hi", 0.9, 0.6, draw) for n in range(14)])[EVERY]
    assert prior_error(0.9) + 0.1 < curve.at(0.9) < 0.5


def test_the_share_of_tasks_that_end_with_a_text_rises_with_confidence() -> None:
    draw = random.Random(5)
    made = [review(n, "hi", draw.uniform(0.05, 0.95), 0.3, draw) for n in range(600)]
    made = [
        review(each.id, "hi", each.confidence or 0.0, 0.3, draw, reject=("no-speech",))
        if draw.random() > 4 * (each.confidence or 0.0) else each
        for each in made
    ]  # fmt: skip
    curve = error_calibration.usable_curve(made)
    assert curve is not None
    assert list(curve.errors) == sorted(curve.errors)
    assert curve.at(0.08) < 0.6 < 0.9 < curve.at(0.6)
    assert error_calibration.usable_curve(made[:5]) is None
