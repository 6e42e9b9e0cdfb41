"""Looking after every call, as often as one likes, keeps the chance of a wrong verdict under its bound."""

from __future__ import annotations

import math
import random

import pytest

from training.experiments.sequential import LEAST, between, course_between, course_of, interval, more_to_decide


def rates(random_: random.Random, number: int, mean: float) -> list[float]:
    """Error rates of calls as they are: many good ones, a few bad, some above 1."""
    return [min(2.0, random_.expovariate(1 / mean)) for _ in range(number)]


def verdict(calls: list[tuple[bool, float]], share: float) -> tuple[str, int]:
    """What somebody who looks after every tenth call decides, and when."""
    for seen in range(LEAST, len(calls) + 1, 10):
        now = between(calls[:seen], share=share)
        if now.worse or now.better:
            return ("worse" if now.worse else "better"), seen
    return "undecided", len(calls)


def simulated(champion: float, challenger: float, *, share: float, times: int, calls: int, seed: int) -> list[str]:
    random_ = random.Random(seed)
    found = []
    for _ in range(times):
        sides = [random_.random() < share for _ in range(calls)]
        mine = [(side, rates(random_, 1, challenger if side else champion)[0]) for side in sides]
        found.append(verdict(mine, share)[0])
    return found


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_two_equal_models_are_told_apart_in_fewer_than_one_of_twenty_experiments(share: float) -> None:
    found = simulated(0.2, 0.2, share=share, times=300, calls=600, seed=7)
    assert sum(each != "undecided" for each in found) / len(found) <= 0.05


@pytest.mark.parametrize("share", [0.5, 0.1, 0.05])
def test_equal_models_that_seldom_err_are_not_told_apart_by_a_small_side_without_errors_yet(share: float) -> None:
    """One call in twenty is wrong, and wrong altogether: of fifty calls a tenth often has none."""
    random_, told = random.Random(5), 0
    for _ in range(200):
        calls = [(random_.random() < share, float(random_.random() < 0.05)) for _ in range(600)]
        told += any(
            now.worse or now.better
            for now in (between(calls[:seen], share=share) for seen in range(LEAST, len(calls) + 1, 25))
        )
    assert told / 200 <= 0.05


def test_a_clearly_worse_challenger_is_found() -> None:
    found = simulated(0.15, 0.30, share=0.5, times=60, calls=600, seed=11)
    assert found.count("worse") >= 55
    assert "better" not in found


def test_a_clearly_better_challenger_is_found() -> None:
    found = simulated(0.30, 0.15, share=0.5, times=60, calls=600, seed=13)
    assert found.count("better") >= 55
    assert "worse" not in found


def test_the_weighted_difference_is_unbiased_for_any_share() -> None:
    random_ = random.Random(3)
    sides = [random_.random() < 0.1 for _ in range(60_000)]
    found = between([(side, rates(random_, 1, 0.3 if side else 0.2)[0]) for side in sides], share=0.1)
    assert found.difference == pytest.approx(0.1, abs=0.02)


def test_few_calls_decide_nothing() -> None:
    assert interval([]).low == -math.inf
    assert interval([0.5]).high == math.inf
    certain = interval([1.0] * (LEAST - 1))
    assert not certain.worse
    assert interval([1.0] * LEAST).worse


def test_both_sides_need_a_share() -> None:
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match="share"):
            between([(True, 0.1)], share=share)


def test_one_side_without_observations_decides_nothing_whatever_the_trend() -> None:
    for first, last in ((0.2, 0.4), (0.4, 0.2)):
        trend = [(False, first + (last - first) * n / 400) for n in range(400)]
        found = between(trend, share=0.5)
        assert (found.fewest, found.worse, found.better) == (0, False, False)


@pytest.mark.parametrize("reported", [0.5, 0.2])
def test_a_side_that_is_reported_less_often_is_no_difference_while_the_level_moves(reported: float) -> None:
    told = 0
    for seed in range(40):
        chance = random.Random(seed)
        calls = []
        for n in range(2000):
            challenger = chance.random() < 0.5
            if not challenger or chance.random() < reported:
                calls.append((challenger, float(chance.random() < 0.4 - 0.3 * n / 2000)))
        found = between(calls, share=0.5)
        told += found.worse or found.better
    assert told <= 2


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_the_course_is_what_somebody_who_looked_at_each_of_its_points_saw(share: float) -> None:
    random_ = random.Random(3)
    calls = [(random_.random() < share, random_.expovariate(4)) for _ in range(777)]
    course = course_between(calls, share=share, points=40)
    assert len(course) == 40
    assert course[-1].observations == 777
    for point in course:
        then = between(calls[: point.observations], share=share)
        assert (point.fewest, point.enough) == (then.fewest, then.enough)
        assert [point.difference, point.low, point.high] == pytest.approx([then.difference, then.low, then.high])


def test_the_course_of_pairs_is_bounded_and_ends_with_the_interval_of_all() -> None:
    differences = [random.Random(2).gauss(0.1, 1) + number / 1000 for number in range(200)]
    course = course_of(differences, points=80)
    now = interval(differences)
    assert len(course) == 80
    assert [course[-1].low, course[-1].high] == pytest.approx([now.low, now.high])
    assert len(course_of(differences[:3], points=80)) == 3


def test_the_calls_that_are_said_to_be_missing_are_those_after_which_the_interval_leaves_zero() -> None:
    differences = [0.2, -0.6, 0.9, -0.3] * 30  # a mean of 0.05: not told apart yet
    now = interval(differences)
    more = more_to_decide(now, most=1_000_000)
    assert more is not None
    assert not now.worse
    repeats = (len(differences) + more) // 4
    assert interval([0.2, -0.6, 0.9, -0.3] * (repeats + 2)).worse
    assert not interval([0.2, -0.6, 0.9, -0.3] * (repeats - 20)).worse
    assert more_to_decide(interval([1.0, -1.0] * 100), most=1_000_000) is None
    assert more_to_decide(interval([1.0, 0.9] * 100), most=1_000_000) == 0
