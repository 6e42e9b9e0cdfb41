"""A correction of an utterance becomes one checked row, and goes when nobody stands behind it any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.labelling.utterance_marks import MarkedUtterance, to_result
from tests.training.utterances.rows import bring_in, jsonl, open_in, row
from training.samples import sampling

TEXT = "😀 ऑर्डर 77 कहाँ है"
SPAN = {"entity": "order_no", "start": 8, "end": 10, "value": "77"}
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """An utterance of the company's table, with a task over it."""
    made = open_in(tmp_path)
    bring_in(made, jsonl(tmp_path / "u.jsonl", [row(1, TEXT, "cancel", source="auto", language="hi")]))
    with made.db.transaction() as connection:
        connection.execute(sa.insert(tables.projects).values(id=1, instance_url="http://ls", ls_project_id=1))
        connection.execute(sa.insert(tables.tasks).values(
            id=1, project_id=1, ls_task_id=5, external_key="key-1", origin="ours", state="open"
        ))  # fmt: skip
        connection.execute(sa.update(tables.utterances).values(task_id=1))
    return made


def answer(
    context: Context, number: int, marked: MarkedUtterance, *, by: int = 1, extra: Any = (), **more: Any
) -> None:
    with context.db.transaction() as connection:
        connection.execute(sa.insert(tables.annotations).values(
            project_id=1, task_id=1, ls_annotation_id=number, annotator=by, result=[*to_result(TEXT, marked), *extra],
            ls_updated_at=START + timedelta(minutes=number), **more,
        ))  # fmt: skip
    sampling.sample_task(context, 1)  # type: ignore[arg-type]


def corrections(context: Context) -> list[Any]:
    mine = sa.select(tables.utterances).where(tables.utterances.c.source == "correction")
    return list(context.db.rows(mine))


def test_an_answer_becomes_a_checked_row_beside_the_one_it_corrects(context: Context) -> None:
    answer(context, 1, MarkedUtterance("track", (SPAN,), "mr"))
    (found,) = corrections(context)
    assert (found.text, found.intent, found.entities, found.language) == (TEXT, "track", [SPAN], "mr")
    assert (found.checked, found.state, found.annotation_id is not None) == (True, "accepted", True)
    asked = context.db.rows(sa.select(tables.utterances).where(tables.utterances.c.source == "auto"))[0]
    assert (asked.intent, asked.family) == ("cancel", found.family)
    before = found.accepted_at
    sampling.sample_task(context, 1)  # type: ignore[arg-type]
    assert [each.accepted_at for each in corrections(context)] == [before], "repeating it changes nothing"
    assert context.db.rows(sa.select(tables.samples)) == []


def test_the_majority_counts_and_a_ground_truth_overrules_it(context: Context) -> None:
    answer(context, 1, MarkedUtterance("track", language="hi"), by=1)
    answer(context, 2, MarkedUtterance("track", (SPAN,), "hi"), by=2)
    answer(context, 3, MarkedUtterance("refund", language="hi"), by=3)
    (found,) = corrections(context)
    assert (found.intent, found.entities) == ("track", [SPAN])
    answer(context, 4, MarkedUtterance("greet", language="hi"), by=4, ground_truth=True)
    assert corrections(context)[0].intent == "greet"


def test_nothing_stays_of_what_is_skipped_deleted_or_unusable(context: Context) -> None:
    answer(context, 1, MarkedUtterance("track"), skipped=True)
    assert corrections(context) == []
    answer(context, 2, MarkedUtterance("track"))
    assert len(corrections(context)) == 1
    with context.db.transaction() as connection:
        connection.execute(sa.update(tables.annotations).values(deleted_at=START))
    sampling.sample_task(context, 1)  # type: ignore[arg-type]
    assert corrections(context) == []
    verdict = {"type": "choices", "from_name": "verdict", "value": {"choices": ["unusable"]}}
    answer(context, 3, MarkedUtterance("track"), extra=[verdict])
    assert corrections(context) == []


def test_what_is_out_of_scope_has_an_intent_of_its_own(context: Context) -> None:
    scope = {"type": "choices", "from_name": "out_of_scope", "value": {"choices": ["out of scope"]}}
    answer(context, 1, MarkedUtterance("track"), extra=[scope])
    assert corrections(context)[0].intent == "none_of_these"


def test_marks_are_those_of_the_text_that_people_saw_whatever_the_source_says_by_now(context: Context) -> None:
    with context.db.transaction() as connection:
        connection.execute(sa.update(tables.tasks).values(data_value=TEXT))
        connection.execute(sa.update(tables.utterances).values(text="ab"))
    answer(context, 1, MarkedUtterance("track", (SPAN,), "hi"))
    (found,) = corrections(context)
    assert (found.text, found.entities) == (TEXT, [SPAN])


def test_an_utterance_of_a_call_waits_until_somebody_answered_and_again_when_the_answer_goes(context: Context) -> None:
    def asked() -> tuple[str, str | None]:
        (row,) = context.db.rows(sa.select(tables.utterances).where(tables.utterances.c.source == "call"))
        return row.state, row.reason_code

    with context.db.transaction() as connection:
        connection.execute(sa.update(tables.utterances).values(source="call", origin="calls", state="waiting"))
    answer(context, 1, MarkedUtterance("track"), skipped=True)
    assert asked() == ("waiting", None)
    answer(context, 2, MarkedUtterance("track"))
    assert asked() == ("excluded", "corrected")
    assert corrections(context)[0].state == "accepted"
    with context.db.transaction() as connection:
        connection.execute(sa.update(tables.annotations).values(deleted_at=START))
    sampling.sample_task(context, 1)  # type: ignore[arg-type]
    assert asked() == ("waiting", None)
    verdict = {"type": "choices", "from_name": "verdict", "value": {"choices": ["unusable"]}}
    answer(context, 3, MarkedUtterance(), extra=[verdict])
    assert asked() == ("excluded", "unusable")
