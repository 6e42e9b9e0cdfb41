"""The utterances of `make learn`: what is asked is wrong in the table, and what comes later is new to it."""

from __future__ import annotations

from training.demo_intents import learning_table
from training.demo_intents.learning_table import ASKED, LATER, NOT_KNOWN

TABLE = learning_table.table()


def test_twenty_rows_are_left_to_people_and_carry_the_answer_of_a_bot_that_does_not_know_them() -> None:
    unchecked = {row["text"]: row for row in TABLE.rows if row["review_status"] == "unreviewed"}
    assert [each.text for each in TABLE.asked] == list(unchecked)
    assert len(unchecked) == ASKED == 20
    assert {row["intent"] for row in unchecked.values()} == {NOT_KNOWN}
    assert all(each.intent != NOT_KNOWN for each in TABLE.asked)
    assert {each.intent for each in TABLE.asked} == {each.intent for each in TABLE.later}, "every new intent is asked"
    confidences = [row["confidence"] for row in unchecked.values()]
    assert confidences == sorted(set(confidences)), "one order, so that it can be repeated"


def test_the_wordings_that_come_later_are_not_in_the_table() -> None:
    assert len(TABLE.later) == LATER
    assert {row["id"].rsplit("-", 1)[0] for row in TABLE.rows}.isdisjoint(each.family for each in TABLE.later)
    assert [row["text"] for row in TABLE.later_rows] == [each.text for each in TABLE.later]


def test_the_table_is_the_same_each_time_and_has_every_text_once() -> None:
    assert learning_table.table() == TABLE
    texts = [row["text"] for row in (*TABLE.rows, *TABLE.later_rows)]
    assert len(texts) == len(set(texts))
