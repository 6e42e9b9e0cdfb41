"""An interval holds the truth as often as it says, and the same call is drawn for both models."""

from __future__ import annotations

import numpy as np
import pytest

from training.scoring import bootstrap


def calls(draw: np.random.Generator, *, count: int, wrong: float, words: int = 20) -> np.ndarray:
    """(errors, words); some calls are harder than others."""
    hard = np.clip(draw.normal(wrong, wrong / 2, count), 0.01, 0.9)
    return np.stack([draw.binomial(words, hard), np.full(count, words)], axis=1).astype(float)


def test_an_interval_holds_the_true_rate_nineteen_times_out_of_twenty():
    draw, held = np.random.default_rng(3), 0
    truth = calls(draw, count=200_000, wrong=0.17)[:, 0].mean() / 20
    for _ in range(200):
        found = bootstrap.rate(calls(draw, count=80, wrong=0.17))
        held += found.low <= truth <= found.high
    assert 180 <= held <= 199


def test_two_models_that_are_alike_differ_by_luck_only():
    draw, significant = np.random.default_rng(4), 0
    for _ in range(200):
        first, second = (calls(draw, count=80, wrong=0.17) for _ in range(2))
        found = bootstrap.difference(np.stack([first[:, 0], second[:, 0], first[:, 1]], axis=1))
        significant += found.high < 0
    assert significant <= 12, "about 5 of 200 look better without being it"


def test_a_paired_difference_sees_what_two_single_intervals_do_not():
    draw = np.random.default_rng(5)
    first = calls(draw, count=80, wrong=0.3)
    second = first[:, 0] - draw.binomial(1, 0.4, 80)  # one word better in two of five calls
    paired = bootstrap.difference(np.stack([first[:, 0], second, first[:, 1]], axis=1))
    before, now = bootstrap.rate(first), bootstrap.rate(np.stack([second, first[:, 1]], axis=1))
    assert now.high > before.low, "apart, the two intervals overlap"
    assert paired.high < 0


def test_the_same_numbers_give_the_same_interval_and_nothing_gives_none():
    some = calls(np.random.default_rng(6), count=30, wrong=0.2)
    assert bootstrap.rate(some) == bootstrap.rate(some)
    assert bootstrap.rate(some[:0]) is None
    assert bootstrap.rate(np.zeros((4, 2))) is None


def test_whole_calls_are_drawn_so_many_clips_of_one_call_are_one_piece_of_evidence():
    apart = bootstrap.by_call((number, (number % 2 * 10.0, 20.0)) for number in range(40))
    together = bootstrap.by_call((number // 20 * 0 + number % 2, (number % 2 * 10.0, 20.0)) for number in range(40))
    assert len(together) == 2
    wide, narrow = bootstrap.rate(together), bootstrap.rate(apart)
    assert wide.value == pytest.approx(narrow.value)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
