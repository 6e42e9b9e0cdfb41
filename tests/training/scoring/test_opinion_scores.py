"""Scores by people: the interval holds the truth, the lower bound decides, who does not listen does not count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from training.scoring import opinion_scores
from training.scoring.opinion_scores import Rating


def rating(rater: int, sentence: int, score: float, **more: object) -> Rating:
    return Rating(rater, sentence, "naturalness", score, **more)  # type: ignore[arg-type]


def simulated(seed: int, *, raters: int, sentences: int = 20, worth: float = 3.8) -> list[Rating]:
    """Everybody rates everything: generosity has SD 0.5, a clip 0.35, a single answer 0.7, rounded to 1..5."""
    draw = np.random.default_rng(seed)
    people, clips = draw.normal(0, 0.5, raters), draw.normal(0, 0.35, sentences)
    noise = draw.normal(0, 0.7, (raters, sentences))
    scores = np.clip(np.round(worth + people[:, None] + clips + noise), 1, 5)
    return [rating(r, s, float(scores[r, s])) for r in range(raters) for s in range(sentences)]


def truth(worth: float = 3.8) -> float:
    draw = np.random.default_rng(1)
    spread = np.sqrt(0.5**2 + 0.35**2 + 0.7**2)
    return float(np.clip(np.round(draw.normal(worth, spread, 1_000_000)), 1, 5).mean())


@pytest.mark.parametrize("raters", [3, 6, 12])
def test_the_interval_holds_the_truth_where_a_naive_one_does_not(raters: int) -> None:
    wanted, held, naive = truth(), 0, 0
    for seed in range(80):
        scores = simulated(1000 * raters + seed, raters=raters)
        found = opinion_scores.opinion(scores, scores)
        assert found is not None
        held += found.low <= wanted <= found.high  # type: ignore[operator]
        plain = np.array([one.score for one in scores])
        naive += abs(plain.mean() - wanted) <= 1.96 * plain.std(ddof=1) / np.sqrt(plain.size)
    assert held >= 74, f"{held} of 80"
    assert naive <= 60, f"{naive} of 80: the simulation is too easy"


def test_more_people_make_the_interval_narrower() -> None:
    widths = []
    for raters in (3, 6, 12, 24):
        scores = simulated(7, raters=raters)
        found = opinion_scores.opinion(scores, scores)
        assert found is not None
        widths.append(found.high - found.low)  # type: ignore[operator]
    assert widths == sorted(widths, reverse=True)


def test_the_lower_bound_decides_and_few_raters_never_do() -> None:
    few = [rating(r, s, 5.0) for r in range(5) for s in range(10)]
    found = opinion_scores.opinion(few, few)
    assert found is not None
    assert found.provisional
    assert not found.meets(4.0)
    many = [rating(r, s, 5.0 - (s % 2)) for r in range(6) for s in range(10)]
    found = opinion_scores.opinion(many, many)
    assert found is not None
    assert not found.provisional
    assert found.meets(4.0)
    assert found.mean > 4.3
    assert not found.meets(found.mean), "the mean is not enough"


def test_one_rater_and_one_sentence_have_no_interval() -> None:
    for scores in ([rating(1, s, 4.0) for s in range(9)], [rating(r, 1, 4.0) for r in range(9)]):
        found = opinion_scores.opinion(scores, scores)
        assert found is not None
        assert (found.mean, found.low, found.provisional, found.meets(1.0)) == (4.0, None, True, False)
    assert opinion_scores.opinion([], []) is None


def test_a_version_gains_nothing_by_meeting_generous_people() -> None:
    """Old and new are worth the same; the new one was mostly rated by people who give a point more."""
    scores = []
    for rater in range(8):
        generous = rater >= 4
        for sentence in range(16):
            share = sentence % 4
            for version, wanted in (
                ("old", share < (1 if generous else 3)),
                ("new", share >= (1 if generous else 3) or share == 0),
            ):
                if wanted:
                    scores.append(rating(rater, sentence, 3.0 + generous, version=version))
    old, new = ([one for one in scores if one.version == name] for name in ("old", "new"))
    plain = [sum(one.score for one in some) / len(some) for some in (old, new)]
    assert plain[1] - plain[0] > 0.3
    means = [opinion_scores.opinion(scores, some).mean for some in (old, new)]  # type: ignore[union-attr]
    assert abs(means[1] - means[0]) < 0.05


def test_a_difference_is_paired_over_the_same_sentences() -> None:
    draw = np.random.default_rng(3)
    scores = []
    for rater in range(8):
        for sentence in range(20):
            hard = draw.normal(0, 0.5)
            scores.append(rating(rater, sentence, float(np.clip(3 + hard, 1, 5)), version="old"))
            scores.append(rating(rater, sentence, float(np.clip(3.5 + hard, 1, 5)), version="new"))
    scores += [rating(rater, 99, 1.0, version="new") for rater in range(8)]  # a sentence that only the new one has
    old, new = ([one for one in scores if one.version == name] for name in ("old", "new"))
    found = opinion_scores.difference(scores, old, new)
    assert found is not None
    assert found.sentences == 20
    assert 0.4 < found.mean < 0.6
    assert found.low > 0.2  # type: ignore[operator]
    assert opinion_scores.difference(scores, old, []) is None


def anchored(rater: int, reference: Sequence[float], degraded: Sequence[float]) -> list[Rating]:
    pairs = ((opinion_scores.REFERENCE, reference), (opinion_scores.DEGRADED, degraded))
    return [rating(rater, s, score, role=role) for role, scores in pairs for s, score in enumerate(scores)]


def test_who_finds_the_degraded_copy_as_good_as_the_recording_is_left_out_with_a_reason() -> None:
    scores = [
        *anchored(1, [5, 4], [2, 1]),
        *anchored(2, [3, 3], [3, 3]),
        *anchored(3, [2, 2], [5, 4]),
        rating(4, 9, 4.0),
    ]
    kept, left_out = opinion_scores.screened(scores)
    assert {one.rater for one in kept} == {1, 4}, "a person without anchors is not left out"
    assert [(out.rater, out.code, out.votes) for out in left_out] == [(2, "anchors", 4), (3, "anchors", 4)]
    assert "degraded copies 4.50 and the recordings of people 2.00" in left_out[1].reason


def test_anchors_are_compared_on_the_sentences_that_have_both() -> None:
    hard = [rating(1, 1, 2.0, role="reference"), rating(1, 1, 1.0, role="degraded"), rating(1, 2, 3.0, role="degraded")]
    assert opinion_scores.screened(hard)[1] == []


def test_a_score_outside_the_scale_never_reaches_a_mean() -> None:
    with pytest.raises(ValueError, match="1 ratings are outside 1 to 5"):
        opinion_scores.screened([rating(1, 1, 6.0)])


@pytest.mark.parametrize(("wins", "of", "sure"), [(15, 20, True), (14, 20, False), (26, 40, True), (25, 40, False),
                                                  (37, 60, True), (36, 60, False)])  # fmt: skip
def test_a_preference_needs_so_many_sentences(wins: int, of: int, sure: bool) -> None:
    votes = [(rater, sentence, 1 if sentence < wins else -1) for sentence in range(of) for rater in range(6)]
    found = opinion_scores.preference(votes)
    assert (found.wins, found.losses, found.better) == (wins, of - wins, sure)


def test_votes_on_one_sentence_are_one_vote_and_few_people_decide_nothing() -> None:
    many_votes = [(rater, 1, 1) for rater in range(40)]
    assert opinion_scores.preference(many_votes).p == 0.5
    few_people = [(rater, sentence, 1) for rater in range(5) for sentence in range(20)]
    assert not opinion_scores.preference(few_people).better
    split = [(0, 1, 1), (1, 1, -1), (0, 2, 0)]
    assert opinion_scores.preference(split).ties == 2


@pytest.mark.parametrize(
    ("degrees", "value"), [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (11, 2.201), (30, 2.042)]
)
def test_students_t_is_that_of_the_tables(degrees: int, value: float) -> None:
    assert opinion_scores.students_t(degrees) == pytest.approx(value, abs=0.005)
