"""Which utterances are asked without a draft, and of whom; and what a person imported. No Label Studio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.labelling.utterance_marks import digest
from sync.drafts.utterance_drafts import UtteranceDrafts
from sync.tasks import utterance_tasks
from tests.sync.texts import Texts


@pytest.fixture
def texts(tmp_path: Path) -> Texts:
    return Texts(tmp_path, audit_share=0.5, blind_share=0.5, overlap_share=0.5)


def test_a_share_is_asked_without_a_draft_and_a_share_of_two_people(texts: Texts) -> None:
    for number in range(60):
        texts.utterance(number)
    utterance_tasks.feed_utterances(texts.context, texts.project_id)
    made = texts.rows(tables.tasks)
    blind = {task.id for task in made if task.blind}
    assert 5 <= len(blind) <= 28
    assert {task.selection_reason for task in made if task.id in blind} == {"blind"}
    assert {task.selection_probability for task in made} == {0.25, 0.75}
    assert 15 <= sum(task.overlap == 2 for task in made) <= 45
    shown = {row.task_id: json.loads(row.body) for row in texts.rows(tables.predictions)}
    assert {task_id for task_id, body in shown.items() if not body} == blind, "a blind task shows no draft"
    assert {row.reason_code for row in texts.rows(tables.predictions) if row.task_id in blind} == {"blind"}


def test_a_blind_task_stays_without_a_draft_when_another_version_serves(texts: Texts) -> None:
    for number in range(12):
        texts.utterance(number)
    utterance_tasks.feed_utterances(texts.context, texts.project_id)
    texts.context.db.update(tables.projects, texts.project_id, next_draft_label="draft-2")
    project = texts.context.db.row(tables.projects, texts.project_id)
    tasks = texts.rows(tables.tasks)
    UtteranceDrafts(texts.context).draft_page(project, tasks, "draft-2")
    blind = {task.id for task in tasks if task.blind}
    again = {
        row.task_id: json.loads(row.body) for row in texts.rows(tables.predictions) if row.draft_label == "draft-2"
    }
    assert blind
    assert len(again) == 12
    assert {task_id for task_id, body in again.items() if not body} == blind


@pytest.mark.parametrize("purpose", ["review", "service", "none"])
def test_what_the_people_of_a_call_did_not_agree_to_is_asked_of_nobody(texts: Texts, purpose: str) -> None:
    call_id = texts.insert(tables.calls, provider="exotel", call_sid="s", consent_purpose=purpose)
    texts.utterance(1, call_id=call_id)
    utterance_tasks.feed_utterances(texts.context, texts.project_id)
    assert texts.rows(tables.tasks) == []


def test_a_task_that_a_person_imported_becomes_one_utterance_and_gets_a_draft(texts: Texts) -> None:
    task = texts.task("where is my order KA1234")
    for _ in range(2):
        texts.adopt(task)
    (row,) = texts.rows(tables.utterances)
    assert (row.task_id, row.source, row.state, row.text) == (task.id, "human", "waiting", task.data_value)
    for _ in range(2):
        utterance_tasks.feed_utterances(texts.context, texts.project_id)
    (drafted,) = texts.rows(tables.predictions)
    assert drafted.task_id == task.id
    assert json.loads(drafted.body)["result"]
    assert len(texts.rows(tables.tasks)) == 1, "it is not asked a second time"


def test_a_text_that_changes_in_label_studio_changes_here(texts: Texts) -> None:
    task = texts.task("where is it")
    texts.adopt(task)
    texts.context.db.update(tables.tasks, task.id, data_value="where is my order")
    texts.adopt(task)
    (row,) = texts.rows(tables.utterances)
    assert row.text == "where is my order"
    assert row.digest == digest(row.text, None, (), None)


@pytest.mark.parametrize(("text", "more"), [
    ("   ", {}), (None, {}), ("x" * 1000, {}), ("theirs", {"reason_code": "erased"}), ("ours", {"origin": "ours"}),
])  # fmt: skip
def test_what_is_no_text_of_a_person_s_import_becomes_no_utterance(
    texts: Texts, text: str | None, more: dict[str, Any]
) -> None:
    texts.adopt(texts.task(text, **more))
    assert texts.rows(tables.utterances) == []


def test_what_is_erased_while_it_is_parsed_gets_no_task(texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    texts.utterance(1)
    meanwhile(texts, monkeypatch, sa.delete(tables.utterances))
    utterance_tasks.feed_utterances(texts.context, texts.project_id)
    assert texts.rows(tables.tasks) == texts.rows(tables.predictions) == []


def test_consent_that_is_withdrawn_while_a_text_is_parsed_is_obeyed(
    texts: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_id = texts.insert(tables.calls, provider="exotel", call_sid="s", consent_purpose="training")
    texts.utterance(1, call_id=call_id)
    texts.utterance(2)
    meanwhile(texts, monkeypatch, sa.update(tables.calls).values(consent_purpose="service"))
    utterance_tasks.feed_utterances(texts.context, texts.project_id)
    assert [task.data_value for task in texts.rows(tables.tasks)] == ["where is my order 2"]


def test_a_text_that_changes_while_it_is_parsed_is_parsed_again(texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    texts.utterance(1)
    meanwhile(texts, monkeypatch, sa.update(tables.utterances).values(text="pay now", digest="another"))
    utterance_tasks.feed_utterances(texts.context, texts.project_id)
    assert [task.data_value for task in texts.rows(tables.tasks)] == ["pay now"]


def meanwhile(texts: Texts, monkeypatch: pytest.MonkeyPatch, statement: Any) -> None:
    """Another process runs this while the first text is parsed."""
    real, waiting = UtteranceDrafts.rows, [statement]

    def rows(self: UtteranceDrafts, *given: Any, **more: Any) -> Any:
        while waiting:
            with texts.context.db.transaction() as connection:
                connection.execute(waiting.pop())
        return real(self, *given, **more)

    monkeypatch.setattr(UtteranceDrafts, "rows", rows)
