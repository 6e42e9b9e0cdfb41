"""Gold tasks: people are measured against the known answer, and no model learns from it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.errors import InvalidInput
from tests.training.quality import team
from tests.training.quality.rows import Rows
from training.quality import gold_tasks, reviews

TRUTH = "मेरा ऑर्डर कल आने वाला था अभी तक नहीं आया जी"


def measured(rows: Rows, least_words: int = 1) -> dict[str, object]:
    with rows.database.reading() as connection:
        return gold_tasks.measure(reviews.reviews(connection), least_words=least_words)


def test_answers_are_counted_against_the_known_one(rows: Rows) -> None:
    rows.task(1, gold_text=TRUTH)
    rows.annotation(1, 1, annotator=1, text=TRUTH + " ।")  # punctuation is no error
    rows.annotation(2, 1, annotator=2, text=TRUTH.replace("कल", "आज"))
    rows.annotation(3, 1, annotator=3, text="")
    found = measured(rows)
    assert found["wer"] == {"value": round(12 / 33, 4), "part": 12, "of": 33}  # a word of eleven, and all eleven
    assert (found["tasks"], found["answers"]) == (1, 3)
    assert found["right"] == {"value": None, "part": 2, "of": 3, "note": "too few to say"}


def test_skipped_rejected_and_the_truths_own_author_are_not_measured(rows: Rows) -> None:
    rows.task(1, gold_text=TRUTH)
    rows.annotation(1, 1, annotator=1, skipped=True, text=None)
    rows.annotation(2, 1, annotator=2, reject=["private"], text=None)
    rows.annotation(3, 1, annotator=3, ground_truth=True, text=TRUTH)
    assert measured(rows)["answers"] == 0


def test_planting_keeps_the_answer_asks_more_people_and_samples_the_task_anew(rows: Rows) -> None:
    rows.task(1)
    with rows.database.transaction() as connection:
        task_id = gold_tasks.task_of(connection, 1001)
        row = gold_tasks.plant(connection, task_id, f"  {TRUTH}\n", people=4)
    assert (row.gold_text, row.overlap) == (TRUTH, 4)
    (job,) = rows.database.rows(sa.select(tables.jobs).where(tables.jobs.c.name == "sample-task"))
    assert job.arguments == {"task_id": 1}
    with rows.database.transaction() as connection:
        assert gold_tasks.plant(connection, 1, TRUTH, people=2).overlap == 4  # never fewer
        gold_tasks.remove(connection, 1)
    assert rows.database.row(tables.tasks, 1).gold_text is None


def test_the_answer_may_be_an_annotations_text(rows: Rows) -> None:
    rows.task(1)
    rows.task(2)
    rows.annotation(5, 1, text="old")
    rows.annotation(5, 1, text="new")
    with rows.database.reading() as connection:
        assert gold_tasks.text_of(connection, 5, 1) == "new"
        with pytest.raises(InvalidInput):
            gold_tasks.text_of(connection, 5, 2)


def test_a_task_of_two_projects_needs_its_project(rows: Rows) -> None:
    rows.task(1)
    other = team.project(rows.database, ls_project_id=2)
    rows.task(2, project_id=other, ls_task_id=1001)
    with rows.database.reading() as connection:
        with pytest.raises(InvalidInput, match="Several projects"):
            gold_tasks.task_of(connection, 1001)
        assert gold_tasks.task_of(connection, 1001, 2) == 2
        with pytest.raises(InvalidInput, match="no task 7"):
            gold_tasks.task_of(connection, 7)


@pytest.mark.parametrize("text", ["", "  \n "])
def test_an_empty_answer_is_none(rows: Rows, text: str) -> None:
    rows.task(1)
    with rows.database.transaction() as connection, pytest.raises(InvalidInput):
        gold_tasks.plant(connection, 1, text)


def test_the_list_says_how_many_were_right(rows: Rows) -> None:
    rows.task(1, gold_text=TRUTH)
    rows.task(2, gold_text="हाँ")
    rows.annotation(1, 1, text=TRUTH)
    rows.annotation(2, 1, annotator=2, text="कुछ और")
    with rows.database.reading() as connection:
        found = gold_tasks.tasks_of(connection, reviews.reviews(connection))
    assert [(one["ls_task_id"], one["answers"], one["right"]) for one in found] == [(1002, 0, 0), (1001, 2, 1)]
