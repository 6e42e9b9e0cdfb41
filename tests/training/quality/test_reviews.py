"""Each person's newest result counts once, with the time it really took."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from tests.training.quality import team
from tests.training.quality.rows import Rows, measures
from training.quality import reviews as reading
from training.quality.reviews import Review, Scope


def reviews(rows: Rows, scope: Scope | None = None) -> list[Review]:
    with rows.database.reading() as connection:
        return reading.reviews(connection, scope)


def only(rows: Rows) -> Review:
    (found,) = reviews(rows)
    return found


def test_a_running_total_is_not_added_up(rows: Rows) -> None:
    """Label Studio's editor sends 3 s at first, then 14.5 s for the same annotation: it took 14.5 s, not 17.5."""
    rows.task(1)
    for seconds in (3.0, 14.5):
        rows.annotation(1, 1, lead_time_s=seconds)
    assert only(rows).lead_time_s == 14.5


@pytest.mark.parametrize("later", [None, 0.0, -4.0, 2.0])
def test_a_change_without_a_time_keeps_what_is_known(rows: Rows, later: float | None) -> None:
    rows.task(1)
    rows.annotation(1, 1, lead_time_s=14.5)
    rows.annotation(1, 1, lead_time_s=later, text="by a program")
    assert only(rows).lead_time_s == 14.5


@pytest.mark.parametrize("seconds", [None, 0.0, -4.0])
def test_no_time_is_no_time(rows: Rows, seconds: float | None) -> None:
    rows.task(1)
    rows.annotation(1, 1, lead_time_s=seconds)
    assert only(rows).lead_time_s is None


def test_the_newest_state_that_is_alive_counts(rows: Rows) -> None:
    rows.task(1)
    rows.annotation(1, 1, quality="poor", measures=measures(10, 4))
    newest = rows.annotation(1, 1, quality="good", measures=measures(10, 2))
    gone = rows.annotation(2, 1, annotator=2)
    with rows.database.transaction() as connection:
        row = tables.annotations
        connection.execute(sa.update(row).where(row.c.id == gone).values(deleted_at=tables.now()))
    found = only(rows)
    assert (found.id, found.quality, found.word_edits, found.audio_s) == (newest, "good", 2, 20.0)


def test_a_task_that_is_a_span_has_the_length_of_the_span(rows: Rows) -> None:
    rows.task(1, start_s=4.0, end_s=9.5)
    rows.annotation(1, 1)
    rows.annotation(2, None, annotator=2)
    assert [each.audio_s for each in reviews(rows)] == [5.5, None]


def test_what_is_not_measured_yet_has_no_edits_but_says_whether_it_was_touched(rows: Rows) -> None:
    rows.task(1)
    rows.annotation(1, 1, measures=None, draft=None, edited="untouched")
    rows.annotation(2, 1, measures={"words": 4, "chars": 20}, draft=None, edited="manual", annotator=2)
    assert [(each.unchanged, each.word_edits, each.drafted) for each in reviews(rows)] == [
        (True, None, False),
        (False, None, False),
    ]


def test_edits_may_be_stored_by_kind(rows: Rows) -> None:
    rows.task(1)
    rows.annotation(1, 1, measures=measures(10, 0, word_edits={"S": 1, "D": 2, "I": 0}, unchanged=False))
    assert only(rows).word_edits == 3


def test_the_confidence_is_the_drafts_else_its_predictions(rows: Rows) -> None:
    rows.task(1)
    rows.annotation(1, 1, draft={"text": "x", "confidence": 0.31})
    with rows.database.transaction() as connection:
        prediction: dict[str, Any] = {
            "task_id": 1, "project_id": rows.project_id, "draft_label": "draft-1", "model_version": "older-1",
            "config_sha256": "0", "body": "{}", "score": 0.77,
        }  # fmt: skip
        made = sa.insert(tables.predictions).values(**prediction).returning(tables.predictions.c.id)
        prediction_id = connection.execute(made).scalar_one()
    rows.annotation(2, 1, annotator=2, draft=None, model_version=None, prediction_id=prediction_id)
    assert [(each.confidence, each.model_version) for each in reviews(rows)] == [(0.31, "small-1"), (0.77, "older-1")]


def test_the_scope_is_a_project_and_a_time(rows: Rows) -> None:
    rows.task(1)
    rows.annotation(1, 1)
    rows.annotation(2, 1, annotator=2, ls_created_at=team.BEGAN + timedelta(days=3))
    other = team.project(rows.database, ls_project_id=2)
    assert len(reviews(rows, Scope(project_id=rows.project_id))) == 2
    assert reviews(rows, Scope(project_id=other)) == []
    assert [each.annotator for each in reviews(rows, Scope(since=team.BEGAN + timedelta(days=1)))] == [2]


def test_a_ground_truth_is_the_known_answer_unless_one_was_planted(rows: Rows) -> None:
    for number in (1, 2, 3):
        rows.task(number, gold_text="planted" if number == 2 else None)
        rows.annotation(10 * number, number, text="one person's")
    rows.annotation(11, 1, annotator=2, ground_truth=True, text="old truth")
    rows.annotation(12, 1, annotator=3, ground_truth=True, text="truth")
    rows.annotation(21, 2, annotator=2, ground_truth=True, text="not this")
    found = {each.id: (each.gold, each.text) for each in reviews(rows)}
    assert list(found.values())[:3] == [
        ("truth", "one person's"),
        ("planted", "one person's"),
        (None, None),  # texts of other tasks are not even read
    ]


def test_pairs_are_of_two_people_and_of_states_that_count(rows: Rows) -> None:
    rows.task(1)
    old = rows.annotation(1, 1)
    mine, theirs = rows.annotation(1, 1), rows.annotation(2, 1, annotator=2)
    again = rows.annotation(3, 1, annotator=1)
    counts = {"words": 10, "word_edits": 1, "chars": 50, "char_edits": 2, "choices": {"quality": True}}
    for first, second in ((old, theirs), (mine, theirs), (mine, again)):
        rows.agreement(1, first, second, **counts)
    with rows.database.reading() as connection:
        (pair,) = reading.pairs(connection, reading.reviews(connection))
    assert (pair.first.id, pair.second.id, pair.word_edits, pair.choices) == (mine, theirs, 1, (("quality", True),))
