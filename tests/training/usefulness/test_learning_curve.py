"""WER against hours: a known curve is found again, its interval holds the truth, and too little is too early."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ml_backend.usefulness.curve_reading import hours_needed, wer_at
from training.usefulness.learning_curve import CurvePoint, comparable, fit

SCALE, EXPONENT, FLOOR = 0.9, 0.45, 0.04
TARGET = 0.15


def true_hours(target: float = TARGET) -> float:
    return float((SCALE / (target - FLOOR)) ** (1 / EXPONENT))


def made(hours: list[float], *, seed: int = 1, noise: float = 0.03, test: str = "a", harder: float = 1.0) -> list[Any]:
    """Versions trained on these hours; each WER is off by its noise, and its interval says so."""
    draw, found = random.Random(f"{seed} {test}"), []
    for number, length in enumerate(hours):
        wer = harder * wer_at((SCALE, EXPONENT, FLOOR), length) * draw.lognormvariate(0, noise)
        half = 1.96 * noise * wer
        found.append(CurvePoint(f"v{number}", test, length, wer, wer - half, wer + half, 40, number + 1))
    return found


HOURS = [5.0, 9.0, 15.0, 24.0, 38.0, 55.0]


def test_the_hours_that_are_missing_are_found_with_an_interval_that_holds_the_truth() -> None:
    inside, numbers = 0, []
    for seed in range(30):
        needed = hours_needed(fit(made(HOURS, seed=seed)), "mr", TARGET)
        if needed.hours is not None and needed.low is not None:
            numbers.append(needed.hours)
            inside += needed.low <= true_hours() - HOURS[-1] <= (needed.high or float("inf"))
    assert len(numbers) >= 20
    assert inside >= 0.85 * len(numbers)
    assert sorted(numbers)[len(numbers) // 2] == pytest.approx(true_hours() - HOURS[-1], rel=0.4)


def test_the_sentence_names_the_language_the_hours_and_the_interval() -> None:
    needed = hours_needed(fit(made(HOURS, noise=0.01)), "mr", TARGET)
    assert needed.sentence.startswith("About ")
    assert "hours more of Marathi to reach 15 % (95 % between" in needed.sentence
    assert hours_needed(fit(made(HOURS, noise=0.01)), "mr", 0.4).sentence == "Marathi has reached 40 %."


@pytest.mark.parametrize(
    ("points", "target", "why"),
    [
        ([], TARGET, "nothing is evaluated yet"),
        (made([5.0, 9.0]), TARGET, "there are 2"),
        (made([5.0, 5.5, 6.0]), TARGET, "nearly the same amount, 5.0 to 6.0 hours"),
        (made([5.0, 9.0, 15.0], harder=1.0, noise=0.5, seed=4), TARGET, "not surely fallen"),
        (made(HOURS, noise=0.01), 0.03, "Too early to say"),
        (made([1.0, 1.6, 2.5], noise=0.01), 0.1, "beyond 10 times the 2.5 hours used so far"),
    ],
    ids=["nothing", "two", "alike", "no-fall", "below-the-floor", "far"],
)
def test_what_cannot_be_said_is_too_early_with_the_reason(points: list[Any], target: float, why: str) -> None:
    body: dict[str, Any] = fit(points) if points else {}
    needed = hours_needed(body, "mr", target)
    assert needed.hours is None
    assert needed.sentence.startswith("Too early to say for Marathi: ")
    assert why in needed.sentence


def test_scores_on_different_test_sets_are_never_compared_and_pairs_on_the_same_one_are_joined() -> None:
    """A harder test set is not a worse model: the exponent is shared, the scale is not."""
    alone = [*made([5.0], test="a"), *made([15.0], test="b"), *made([40.0], test="c")]
    assert not comparable(alone)
    assert "there are 0" in fit(alone)["too_early"]
    tests = {"a": ([5.0, 9.0], 1.0), "b": ([9.0, 15.0], 1.6), "c": ([15.0, 24.0, 38.0], 0.7), "d": ([24.0, 55.0], 1.2)}
    chained = [
        one for test, (hours, harder) in tests.items() for one in made(hours, test=test, harder=harder, noise=0.01)
    ]
    flat = fit([CurvePoint(**{**one.__dict__, "test": "same"}) for one in chained])
    joined = fit(chained)
    assert joined["fit"]["exponent"] == pytest.approx(EXPONENT, abs=0.15)
    assert not flat["fit"] or abs(flat["fit"]["exponent"] - EXPONENT) > 0.15 > abs(joined["fit"]["exponent"] - EXPONENT)
