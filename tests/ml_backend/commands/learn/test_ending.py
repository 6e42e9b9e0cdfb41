"""What `learn` says at its end, for each kind of model."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import pytest
from rich.console import Console

from ml_backend.commands.learn import ending
from ml_backend.commands.learn.ending import KindEnding, SentenceChange
from ml_backend.commands.learn.reached import StoredVerdict
from ml_backend.commands.learn.stack import Stack

PROJECT = SimpleNamespace(ls_project_id=3)
VERDICT = StoredVerdict("old-1", "worse", ("The candidate is worse.",), "models/new-1/evaluations/3/report.json")


@pytest.fixture
def here(tmp_path):
    (tmp_path / "secrets.json").write_text(json.dumps({"label_studio_password": "let-me-in"}))
    return Stack(tmp_path, {"label_studio_url": "http://ls.example", "env_file": str(tmp_path / "demo.env")})


def shown(here, *kinds):
    text = io.StringIO()
    ending.show(Console(file=text, width=60, soft_wrap=True), here, kinds, user="a@example.com")
    return text.getvalue()


def kind_of(*, promoted):
    return KindEnding(
        title="Intents", heading="[1] and 2", lines=[("said", "where is my order [KA1]")], verdict_on="new-1",
        words=ending.in_words(VERDICT, promoted=bool(promoted)), places=[("plot", "/x" * 80 + "/slices.svg")],
        promoted=promoted,
    )  # fmt: skip


def test_a_path_is_never_cut_and_brackets_of_a_text_stay(here):
    said = shown(here, kind_of(promoted=True))
    assert "plot     " + "/x" * 80 + "/slices.svg" in said.splitlines()
    assert "where is my order [KA1]" in said
    assert "1. Intents. [1] and 2" in said
    assert "a@example.com, password let-me-in" in said


def test_the_way_back_is_offered_only_where_something_was_promoted(here):
    assert "rollback" in shown(here, kind_of(promoted=False), kind_of(promoted=True))
    refused = shown(here, kind_of(promoted=False), kind_of(promoted=None))
    assert "rollback" not in refused
    assert "old-1 stays the champion" in refused


def test_a_refused_version_is_not_said_to_have_drafted_the_task_that_is_shown(here):
    rows = [SimpleNamespace(state="annotated", ls_task_id=7), SimpleNamespace(state="open", ls_task_id=8)]
    name, refused = ending.look_at(here, PROJECT, rows, promoted=False)
    assert name == "look at"
    assert refused == "http://ls.example/projects/3/data?task=8  (the draft is the champion's)"
    assert "the new model's" in ending.look_at(here, PROJECT, rows, promoted=True)[1]
    assert "/projects/3/data  (" in ending.look_at(here, PROJECT, rows[:1], promoted=True)[1], "nothing is open"
    assert ending.before_and_after("sentences", promoted=False) == "Nothing changes: the champion stays."


def test_the_sentences_that_gained_most_come_first_and_all_are_counted():
    found = [SentenceChange(f"s{n}", "before", "", 3, 3 - n, 5) for n in range(4)]
    lines = ending.of_changes(found)
    assert [value for name, value in lines if name == "said"] == ["s3", "s2", "s1"]
    assert ("after", "(nothing)") in lines
    assert lines[-1] == ("in all", "12 of 20 words were wrong before, 6 are now.")
    assert ending.of_changes([]) == []
