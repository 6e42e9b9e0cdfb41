"""An answer over a text remembers the draft that it began from, and whether anything of it was changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ml_backend import tables
from ml_backend.models import registry
from sync.annotations.annotation_rows import FoundAnnotation, keep
from sync.tasks import utterance_tasks
from tests.sync.texts import Texts

AT = "2026-03-01T10:00:00Z"


@pytest.fixture
def texts(tmp_path: Path) -> Texts:
    made = Texts(tmp_path, audit_share=0.0)
    made.utterance(1)
    utterance_tasks.feed_utterances(made.context, made.project_id)
    (task,) = made.rows(tables.tasks)
    made.context.db.update(tables.tasks, task.id, ls_task_id=7, state="open")
    (drafted,) = made.rows(tables.predictions)
    made.context.db.update(tables.predictions, drafted.id, delivered_by="push", ls_prediction_id=70)
    return made


def answer(texts: Texts, result: list[dict[str, Any]], *, number: int = 1, **more: Any) -> Any:
    """Label Studio's annotation, kept as a webhook's job keeps it."""
    (task,) = texts.rows(tables.tasks)
    found = {"id": number, "task": 7, "result": result, "created_at": AT, "updated_at": AT, "completed_by": 3,
             "updated_by": 3, "parent_prediction": 70, **more}  # fmt: skip
    project = texts.context.db.row(tables.projects, texts.project_id)
    with texts.context.db.transaction() as connection:
        keep(connection, project, task, FoundAnnotation(found, "webhook", tables.now()))
    return texts.rows(tables.annotations)[-1]


def draft_of(texts: Texts) -> list[dict[str, Any]]:
    import json

    (drafted,) = texts.rows(tables.predictions)
    return list(json.loads(drafted.body)["result"])


def test_it_says_which_version_drafted_it_and_that_nothing_was_changed(texts: Texts) -> None:
    row = answer(texts, draft_of(texts))
    assert row.model_version == registry.champion(texts.context, "nlu").version
    assert row.edited == "untouched"
    assert row.draft["marks"] == draft_of(texts)


def test_another_intent_is_an_edit_although_no_word_of_it_is_written(texts: Texts) -> None:
    other = [{**item, "value": {"choices": ["refund"]}} if item["from_name"] == "intent" else item
             for item in draft_of(texts)]  # fmt: skip
    assert answer(texts, other).edited == "edited"


def test_a_verdict_that_the_draft_was_right_is_no_edit(texts: Texts) -> None:
    right = {"from_name": "verdict", "to_name": "text", "type": "choices", "value": {"choices": ["right"]}}
    assert answer(texts, [*draft_of(texts), right]).edited == "untouched"
    unusable = {**right, "value": {"choices": ["unusable"]}}
    assert answer(texts, [*draft_of(texts), unusable], number=2).edited == "edited"


def test_a_later_version_of_the_answer_is_compared_with_the_same_draft(texts: Texts) -> None:
    drafted = draft_of(texts)
    answer(texts, drafted)
    later = answer(texts, drafted[:0], updated_at="2026-03-01T11:00:00Z", parent_prediction=None)
    assert later.draft["marks"] == drafted
    assert later.edited == "edited"
    back = answer(texts, drafted, updated_at="2026-03-01T12:00:00Z", parent_prediction=None)
    assert back.edited == "untouched"
