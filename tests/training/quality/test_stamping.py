"""Drafts accepted unread are found, at a stated precision and recall, in made-up teams over the real tables."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.db import Database
from tests.training.quality import team
from training.quality import reviews as reading
from training.quality import stamping
from training.quality.reviews import Review
from training.quality.unread_drafts import Confidences, Sign

SEEDS = range(6)

Databases = Callable[[], Database]


def found_in(database: Database) -> stamping.Findings:
    with database.reading() as connection:
        reviews = reading.reviews(connection)
        return stamping.find(reviews, reading.pairs(connection, reviews))


@pytest.mark.parametrize(
    ("honest", "stampers", "shared", "annotation_recall"),
    [(9, 3, 0.15, 0.8), (9, 3, 0.0, 0.8), (4, 8, 0.15, 0.85)],
    ids=["three of twelve", "nobody shares a task", "two thirds of the team"],
)
def test_planted_stampers_are_found_and_nobody_else(
    databases: Databases, honest: int, stampers: int, shared: float, annotation_recall: float
) -> None:
    """People: precision 1.0, recall at least 0.95. Annotations: precision at least 0.97, recall as stated.

    One honest person in six finds only half of the errors, one in nine has no times, the fastest listen at double
    speed; stampers stamp 60 to 100 %, one in four waits until it looks like listening.
    """
    right, wrong, missed = 0, 0, 0
    stamped, innocent, overlooked = 0, 0, 0
    for seed in SEEDS:
        draw, database = random.Random(seed), databases()
        people = [team.honest(number, draw) for number in range(1, honest + 1)]
        people += [team.stamper(100 + number, draw) for number in range(stampers)]
        made = team.fill(database, people, seed=seed, tasks=1200, shared=shared)
        found = found_in(database)
        suspects, annotations = set(found.people), set(found.annotations)
        right, wrong = right + len(suspects & made.stampers), wrong + len(suspects - made.stampers)
        missed += len(made.stampers - suspects)
        stamped, innocent = stamped + len(annotations & made.stamped), innocent + len(annotations - made.stamped)
        overlooked += len(made.stamped - annotations)
    assert wrong == 0
    assert right / (right + missed) >= 0.95
    assert stamped / (stamped + innocent) >= 0.97
    assert stamped / (stamped + overlooked) >= annotation_recall


def test_an_honest_team_has_no_suspect_and_loses_nothing(databases: Databases) -> None:
    for seed in SEEDS:
        draw, database = random.Random(seed), databases()
        team.fill(database, [team.honest(number, draw) for number in range(1, 13)], seed=seed, tasks=1200)
        found = found_in(database)
        assert not found.people
        assert not found.annotations


def test_a_few_annotations_make_no_suspect(database: Database) -> None:
    """Nine drafts accepted in a second each are not a style of working yet; each for itself may be unheard."""
    draw = random.Random(1)
    people = [team.honest(number, draw) for number in range(1, 5)]
    team.fill(database, [*people, team.Person(100, stamps=1.0)], seed=1, tasks=40, shared=0.0)
    assert not found_in(database).people


def review(number: int, **values: object) -> Review:
    plain = Review(
        id=number, project_id=1, task_id=number, annotator=1, audio_s=20.0, lead_time_s=30.0, created_at=team.BEGAN,
        model_version="small-1", confidence=0.9, words=30, word_edits=0, unchanged=True,
    )  # fmt: skip
    return replace(plain, **values)  # type: ignore[arg-type]


def test_annotations_made_in_bulk_are_nobodys_work() -> None:
    """Label Studio's "predictions to annotations": no times, one after the other at once."""
    at = team.BEGAN
    bulk = [review(n, lead_time_s=None, created_at=at + timedelta(seconds=0.02 * n)) for n in range(1, 9)]
    alone = [review(n, lead_time_s=None, created_at=at + timedelta(minutes=n)) for n in range(11, 19)]
    found = stamping.find([*bulk, *alone], [])
    assert found.annotations == dict.fromkeys(range(1, 9), "copied")
    assert not found.people


def test_an_unsure_draft_accepted_faster_than_anybody_listens_is_unheard_whoever_did_it() -> None:
    usual = [review(n, confidence=0.5 + n / 100) for n in range(1, 41)]
    quick = review(50, confidence=0.4, lead_time_s=8.0)
    sure = review(51, confidence=0.95, lead_time_s=8.0)
    edited = review(52, confidence=0.4, lead_time_s=8.0, unchanged=False, word_edits=1)
    short = review(53, confidence=0.4, lead_time_s=1.0, audio_s=3.0)
    assert stamping.find([*usual, quick, sure, edited, short], []).annotations == {50: "unheard"}


def test_a_missing_time_is_no_sign() -> None:
    untimed = [review(n, lead_time_s=None, created_at=team.BEGAN + timedelta(hours=n)) for n in range(1, 60)]
    assert stamping.find(untimed, []) == stamping.Findings({}, {})


def test_confidence_is_judged_among_the_drafts_of_its_own_model() -> None:
    modest = [review(n, model_version="modest", confidence=n / 100) for n in range(1, 41)]
    proud = [review(100 + n, model_version="proud", confidence=0.9 + n / 1000) for n in range(1, 41)]
    sure = Confidences([*modest, *proud])
    assert sure.unsure(modest[10])
    assert not sure.unsure(modest[30])
    assert sure.unsure(proud[10])
    assert not sure.unsure(proud[30])


def test_gold_tasks_left_wrong_are_a_sign(database: Database) -> None:
    """Together with haste they convict, although nobody else has worked on comparable drafts."""
    wrong = {"gold": "the right words", "text": "the wrong words"}
    gold = [review(n, confidence=0.9, lead_time_s=15.0, **wrong) for n in range(1, 5)]
    slow = [review(n, annotator=2, lead_time_s=40.0) for n in range(20, 60)]
    hasty = [review(n, lead_time_s=15.0) for n in range(100, 120)]
    (suspect,) = stamping.find([*gold, *slow, *hasty], []).people.items()
    assert suspect[0] == 1
    assert {sign.name for sign in suspect[1]} == {"gold-unchanged", "faster-than-audio"}
    assert Sign("gold-unchanged", 4, 4) in suspect[1]


def test_what_was_not_drafted_by_us_accuses_nobody(database: Database) -> None:
    draw = random.Random(3)
    people = [team.honest(1, draw), team.honest(2, draw), team.Person(100, stamps=1.0)]
    team.fill(database, people, seed=3, tasks=300)
    assert set(found_in(database).people) == {100}
    with database.transaction() as connection:
        connection.execute(sa.update(tables.annotations).values(before_attach=True))
    assert found_in(database) == stamping.Findings({}, {})
