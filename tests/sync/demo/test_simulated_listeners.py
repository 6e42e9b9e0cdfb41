"""The people of `learn` who rate a voice: six hear the hidden anchors, and who does not listen is found by them."""

from __future__ import annotations

from sync.demo import simulated_listeners as team
from training.scoring import opinion_scores
from training.scoring.opinion_scores import AXES, LEAST_RATERS, Rating

PEOPLE = 7
ROLES = ("reference", None, "degraded")


def ratings(sentences: int) -> list[Rating]:
    return [
        Rating(rater, sentence, axis, score, version="studio" if role == "reference" else "ours", role=role)
        for rater in range(PEOPLE)
        for sentence in range(sentences)
        for role in ROLES
        for axis, score in team.scored(rater, PEOPLE, role, f"{sentence} {role}").items()
    ]


def test_only_who_does_not_listen_is_left_out_so_that_enough_people_remain() -> None:
    assert team.AXES == AXES
    for sentences in (2, 4):
        kept, left_out = opinion_scores.screened(ratings(sentences))
        assert [one.rater for one in left_out] == [PEOPLE - 1]
        assert len({one.rater for one in kept}) == LEAST_RATERS


def test_a_recording_is_liked_more_than_the_voice_and_the_voice_more_than_a_worse_copy() -> None:
    kept, _ = opinion_scores.screened(ratings(4))
    natural = [one for one in kept if one.axis == "naturalness"]
    found = opinion_scores.opinions(natural, [[one for one in natural if one.role == role] for role in ROLES])
    means = [one.mean for one in found if one is not None]
    assert means == sorted(means, reverse=True)
    assert not any(one.provisional for one in found if one is not None)


def test_the_same_person_gives_the_same_clip_the_same_score() -> None:
    assert ratings(4) == ratings(4)
