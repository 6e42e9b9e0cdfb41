"""`annotations`: what a person sees, and what a program gets."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.commands import command_line
from ml_backend.context import Context, open_context
from ml_backend.jobs import runner
from ml_backend.settings import Settings
from tests.training.quality import team
from tests.training.quality.rows import Rows, measures


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """An empty database that commands find."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    chosen = Settings(_env_file=None, data_dir=tmp_path, database_url="", object_store="")
    db.upgrade(chosen.database)
    return open_context(chosen)


@pytest.fixture
def filled(context: Context) -> Context:
    """An edited, a blind and a rejected annotation."""
    rows = Rows(context.db)
    for number in (1, 2, 3):
        rows.task(number, blind=number == 2)
    rows.annotation(11, 1, language="hi", edited="edited", measures=measures(10, 3), text="मेरा [bold] ऑर्डर")
    rows.annotation(12, 2, draft=None, measures={"words": 4, "chars": 20}, edited="manual", model_version=None)
    rows.annotation(13, 3, annotator=2, reject=["private"], text=None, measures=None, draft=None, edited=None)
    return context


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert command_line.main(["annotations", *words]) == code
    printed = capsys.readouterr()
    return printed.out + printed.err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(said(capsys, *words, "--json"))


def test_a_list_shows_who_and_what_became_of_the_draft(filled: Context, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "list")
    for expected in ("3 of 10 words", "blind", "rejected", "मेरा [bold] ऑर्डर"):
        assert expected in text
    assert [one["id"] for one in as_json(capsys, "list", "--annotator", "1", "--edited", "manual")["annotations"]] == [
        12
    ]
    assert "Known: untouched" in said(capsys, "list", "--edited", "nope", code=1)
    assert "no such annotations" in said(capsys, "list", "--language", "xx")


def test_one_is_shown_beside_its_draft(filled: Context, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "show", "11")
    for expected in ("मेरा ऑर्डर कहाँ है (confidence 0.70)", "मेरा [bold] ऑर्डर", "3 of 10 words", "small-1"):
        assert expected in text
    assert as_json(capsys, "show", "13")["reject"] == ["private"]
    assert "no annotation 99" in said(capsys, "show", "99", code=1)


def test_an_empty_summary_is_one(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    assert "0 annotations of 0 tasks" in said(capsys, "summary")
    assert as_json(capsys, "summary")["annotations"]["all"] == 0


def test_a_small_team_gets_counts_and_no_judgement(filled: Context, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "summary")
    assert "3 annotations of 3 tasks by 2 people" in text
    assert "too few to say (1 of 3)" in text  # rejected
    assert "1 private" in text


def test_the_summary_shows_planted_stampers_and_no_text(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(4)
    people = [team.honest(number, draw) for number in range(1, 9)] + [team.Person(100, stamps=0.95)]
    team.fill(context.db, people, seed=4, tasks=700)
    text = said(capsys, "summary")
    assert "person 100: keeps unsure drafts far more often than others" in text
    assert "s per minute of audio" in text
    found = as_json(capsys, "summary")
    assert [one["annotator"] for one in found["stamping"]["people"]] == [100]
    assert "…" not in json.dumps(found, ensure_ascii=False)
    assert found["drafts"][0]["without_suspects"]["edit_rate"]["value"] > found["drafts"][0]["edit_rate"]["value"]
    assert as_json(capsys, "summary", "--days", "1")["annotations"]["all"] == 0
    assert "no project 5" in said(capsys, "summary", "--project", "5", code=1)


def test_the_job_keeps_the_summary_and_what_a_dataset_leaves_out(context: Context) -> None:
    from ml_backend.jobs import enqueueing, job_kinds

    draw = random.Random(4)
    people = [team.honest(number, draw) for number in range(1, 9)] + [team.Person(100, stamps=0.95)]
    made = team.fill(context.db, people, seed=4, tasks=700)
    for _ in range(2):  # the second takes the place of the first
        with context.db.transaction() as connection:
            enqueueing.enqueue(connection, job_kinds.SUMMARISE_ANNOTATIONS, key="all")
        assert not runner.run_due(context).failed
    kept = {row.name: row.body for row in context.db.rows(sa.select(tables.summaries))}
    assert kept["annotations"]["annotations"]["all"] == made.annotations
    stamped = {int(number) for number in kept["stamped"]["annotations"]}
    assert len(stamped & made.stamped) / len(stamped) > 0.95


def test_gold_tasks_are_planted_listed_and_removed(filled: Context, capsys: pytest.CaptureFixture[str]) -> None:
    assert "to be answered by 3" in said(capsys, "gold", "add", "1001", "--annotation", "11", "--people", "3")
    assert "[bold]" in said(capsys, "gold", "list")
    (one,) = as_json(capsys, "gold", "list")["gold"]
    assert (one["ls_task_id"], one["people"], one["answers"], one["right"]) == (1001, 3, 1, 1)
    assert "no gold task any more" in said(capsys, "gold", "remove", "1001")
    assert as_json(capsys, "gold", "list")["gold"] == []
    for words in (["1001"], ["1001", "--text", "a", "--annotation", "11"], ["9", "--text", "a"]):
        assert "error:" in said(capsys, "gold", "add", *words, code=1)
