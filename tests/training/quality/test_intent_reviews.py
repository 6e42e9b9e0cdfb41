"""What people say that texts mean: agreement, gold, unread drafts, and what a dataset leaves out for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.commands import command_line
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.labelling import labelconfig
from ml_backend.labelling.utterance_marks import MarkedUtterance, to_result
from tests.training.utterances.rows import open_in
from training.datasets.filters import DatasetFilters
from training.kinds import nlu_kind
from training.quality import gold_tasks, intent_reviews, leakage, reviews, summary
from training.quality.reviews import Scope
from training.samples import sampling
from training.utterances import utterance_lines

START = datetime(2026, 3, 1, tzinfo=UTC)
TRACK, REFUND = MarkedUtterance("track", language="en"), MarkedUtterance("refund", language="en")


class Room:
    """People who annotate the texts of one project, as webhooks leave their work."""

    def __init__(self, context: Context) -> None:
        self.context, self.number = context, 0
        self.project_id = self.insert(
            tables.projects, instance_url="http://label-studio", ls_project_id=1, state="attached",
            label_config=labelconfig.read("nlu", labels={"intents": ["track", "refund"], "entities": ["order_no"]}),
        )  # fmt: skip

    def insert(self, table: sa.Table, **values: Any) -> int:
        with self.context.db.transaction() as connection:
            return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())

    def task(self, text: str = "where is order 77", **values: Any) -> int:
        self.number += 1
        task_id = self.insert(
            tables.tasks, project_id=self.project_id, ls_task_id=self.number, external_key=f"k{self.number}",
            origin="ours", state="annotated", data_value=text, **values,
        )  # fmt: skip
        self.insert(
            tables.utterances, origin="calls", external_id=f"u{self.number}", source="call", text=text, digest="d",
            state="waiting", task_id=task_id, family=f"f{self.number}",
        )  # fmt: skip
        return task_id

    def answer(
        self, task_id: int, by: int, said: MarkedUtterance, draft: MarkedUtterance | None = None, **more: Any
    ) -> int:
        self.number += 1
        text = self.context.db.row(tables.tasks, task_id).data_value
        snapshot = None
        if draft is not None:
            snapshot = {"text": "", "label": "draft-1", "confidence": 0.4, "marks": to_result(text, draft)}
        at = START + timedelta(seconds=60 * self.number)
        values = {
            "project_id": self.project_id, "task_id": task_id, "ls_annotation_id": self.number, "ls_updated_at": at,
            "ls_created_at": at, "annotator": by, "result": to_result(text, said), "text": "", "draft": snapshot,
            "model_version": "parser-1" if draft else None, "lead_time_s": 5.0, "reject": [], "choices": {},
        }  # fmt: skip
        row_id = self.insert(tables.annotations, **values | more)
        sampling.sample_task(self.context, task_id)  # type: ignore[arg-type]
        return row_id

    def report(self) -> dict[str, Any]:
        with self.context.db.reading() as connection:
            return dict(intent_reviews.report(connection, Scope())[0])


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    context = open_in(tmp_path)
    yield Room(context)
    context.db.dispose()


def test_agreement_is_that_of_intents_and_spans_with_blind_tasks_apart(room: Room) -> None:
    span = {"entity": "order_no", "start": 15, "end": 17, "value": "77"}
    for number in range(12):
        task_id = room.task(blind=number < 10)
        mine = MarkedUtterance("track" if number % 2 else "refund", (span,), "en")
        theirs = mine if number != 5 else MarkedUtterance("refund", (), "en")
        draft = None if number < 10 else TRACK
        room.answer(task_id, 1, mine, draft)
        room.answer(task_id, 2, theirs, draft)
    body = room.report()
    assert body["annotations"] == {
        "all": 24, "answered": 24, "drafted": 4, "blind": 20, "people": 2, "tasks": 12,
    }  # fmt: skip
    together = body["agreement"]["all"]
    assert (together["utterances"], together["intents"]["tasks"]) == (12, 12)
    assert 0.8 < together["intents"]["value"] < 1
    assert together["spans"]["value"] == round(22 / 23, 4)
    assert together["confused"] == [{"intents": ["refund", "track"], "times": 1}]
    assert body["agreement"]["blind"]["intents"]["tasks"] == 10
    assert body["agreement"]["drafted"]["utterances"] == 2


def test_texts_and_calls_do_not_mix_in_a_summary(room: Room) -> None:
    room.answer(room.task(), 1, TRACK, TRACK)
    body, _ = summary.make(room.context)
    assert body["annotations"]["all"] == 0
    assert body["utterances"]["annotations"]["all"] == 1
    assert body["utterances"]["drafts"][0]["model_version"] == "parser-1"
    with room.context.db.reading() as connection:
        assert reviews.reviews(connection) == []


def test_every_annotation_of_a_text_is_measured_once(room: Room) -> None:
    room.answer(room.task(), 1, REFUND, TRACK)
    (row,) = room.context.db.rows(sa.select(tables.annotations))
    assert row.measures == {"normaliser": "marks", "words": 2, "word_edits": 1, "chars": 2, "char_edits": 1,
                            "unchanged": False}  # fmt: skip
    from ml_backend.jobs import schedules

    with room.context.db.transaction() as connection:
        connection.execute(sa.update(tables.annotations).values(created_at=START))
        assert schedules.projects_with_annotations_not_sampled(connection) == []


def test_drafts_made_annotations_in_bulk_are_no_reference(room: Room) -> None:
    """As "create annotations from predictions" makes them: a parser must not learn from itself."""
    for number in range(6):
        at = START + timedelta(milliseconds=number)
        text = f"text number {'abcdef'[number]}"
        room.answer(room.task(text), 1, TRACK, TRACK, lead_time_s=None, ls_created_at=at)
    room.answer(room.task("read by a person"), 1, TRACK, TRACK)
    nlu_kind._ready(room.context, lambda done, note: None)
    with room.context.db.reading() as connection:
        found = list(utterance_lines.lines(connection, DatasetFilters()))
    used = [line.body["text"] for line in found if not line.reason]
    assert used == ["read by a person"]
    assert sum(line.reason == "stamped" for line in found) == 6
    assert room.report()["stamping"]["reasons"] == {"copied": 6}


def test_gold_measures_people_and_teaches_nothing(room: Room) -> None:
    task_id = room.task()
    room.answer(task_id, 1, TRACK)
    with room.context.db.transaction() as connection:
        known = gold_tasks.known_answer(connection, task_id, intent="refund")
        gold_tasks.plant(connection, task_id, known, people=6)
    for person in range(2, 7):
        room.answer(task_id, person, REFUND if person > 3 else TRACK)
    body = room.report()
    assert body["gold"]["answers"] == 6
    assert (body["gold"]["right"]["part"], body["gold"]["right"]["of"]) == (3, 6)
    assert room.context.db.rows(sa.select(tables.utterances).where(tables.utterances.c.source == "correction")) == []
    with room.context.db.reading() as connection:
        (shown,) = gold_tasks.tasks_of(connection, [], intent_reviews.read(connection, Scope()))
    assert (shown["text"], shown["answers"], shown["right"]) == ("refund", 6, 3)


def test_a_gold_answer_is_given_in_the_way_of_its_task(room: Room) -> None:
    task_id = room.task()
    span = {"entity": "order_no", "start": 15, "end": 17, "value": "77"}
    room.answer(task_id, 1, MarkedUtterance("track", (span,), "en"))
    (row,) = room.context.db.rows(sa.select(tables.annotations))
    with room.context.db.transaction() as connection:
        known = gold_tasks.known_answer(connection, task_id, ls_annotation_id=row.ls_annotation_id)
        assert gold_tasks.shown(known) == "track, order_no: 77"
        for wrong, code in (({"text": "haan"}, "gold-kind"), ({"intent": "dance"}, "no-such-intent")):
            with pytest.raises(InvalidInput) as refused:
                gold_tasks.known_answer(connection, task_id, **wrong)  # type: ignore[arg-type]
            assert refused.value.code == code


def test_a_dataset_of_utterances_is_looked_at_for_leaks() -> None:
    def line(split: str, **values: Any) -> dict[str, Any]:
        return {"split": split, "text": f"{split} {values}", "family": None, "caller": None, "wording": None, **values}

    lines = [
        line("train", caller="a"), line("test", caller="a"), line("train", family="f"), line("validation", family="f"),
        line("train", text="Where is it"), line("test", text="where is  it"), line("test", family="g", wording="seen"),
        line("train", family="g"),
    ]  # fmt: skip
    assert [leak.kind for leak in leakage.of_utterances(lines)] == ["caller", "family", "wording"]
    assert leakage.of_utterances(lines[:1]) == []


def test_a_person_reads_all_of_it_in_the_commands_for_annotations(
    room: Room, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(room.context.settings.data_dir))
    monkeypatch.setenv("COLUMNS", "160")
    for number in range(11):
        task_id = room.task(f"where is {number}", blind=True)
        for person in (1, 2):
            room.answer(task_id, person, TRACK if number % 2 else REFUND, choices={"intent": ["track"]})

    def said(*words: str) -> str:
        assert command_line.main(["annotations", *words]) == 0
        return capsys.readouterr().out

    assert "to be answered by 4: refund" in said("gold", "add", "1", "--intent", "refund", "--people", "4")
    text = said("summary")
    assert "22 annotations of 11 texts by 2 people; 0 from a draft, 22 blind" in text
    assert "intents, without a draft: Krippendorff's alpha 1.00 (11 texts, 22 answers)" in text
    assert "of audio" not in text, "there is no call among them"
    assert "2 answers on 1 task" in text
    assert "track" in said("list", "--limit", "1")
    assert "refund" in said("gold", "list")
