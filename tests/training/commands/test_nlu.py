"""`nlu`: what a person sees of an import, and what a program gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ml_backend import db
from ml_backend.commands import command_line
from ml_backend.settings import Settings
from tests.training.utterances.rows import jsonl, row


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    db.upgrade(Settings(_env_file=None, data_dir=tmp_path, database_url="").database)


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert command_line.main(["nlu", *words]) == code
    printed = capsys.readouterr()
    return printed.out + printed.err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(said(capsys, *words, "--json"))


def test_an_import_says_what_came_of_every_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        row(1, "where is 77"),
        row(2, "where is 78!", "Track"),
        row(5, "where is 79"),
        row(3, "<b>x</b>"),
        row(4, "bye", "bye"),
    ]
    jsonl(tmp_path / "u.jsonl", rows)
    text = said(capsys, "import", "u.jsonl")
    for expected in (
        "5 rows read", "4 added", "1 utterance-markup: The text has HTML in it.", "line 4: utterance-markup",
        "track: also written 'Track' (1)", "4 utterances are wordings of 2 sentences", "have one row each (bye)",
    ):  # fmt: skip
        assert expected in text
    again = as_json(capsys, "import", "u.jsonl")
    assert (again["added"], again["unchanged"], again["left_out"]) == (0, 4, {"utterance-markup": 1})


def test_lists_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no utterances yet" in said(capsys, "summary")
    assert "no such utterances" in said(capsys, "list")
    rows = [row(1, "where is it [b]", language="auto"), row(2, "कहाँ है", source="human"), row(3, "", "bye")]
    jsonl(tmp_path / "u.jsonl", rows)
    said(capsys, "import", "u.jsonl")
    assert "utterance-empty" in said(capsys, "list", "--state", "excluded")
    assert "where is it [b]" in said(capsys, "list", "--source", "auto")
    assert [one["id"] for one in as_json(capsys, "list", "--language", "hi")["utterances"]] == ["2"]
    found = as_json(capsys, "summary")
    assert found["states"] == {"accepted": 2, "excluded": 1}
    assert found["sources"] == {"auto": 1, "human": 1}
    assert found["languages"] == {"en": 1, "hi": 1}
    assert found["left_out"] == {"utterance-empty": 1}
    assert found["intents"] == [{"intent": "track", "rows": 2, "checked": 1, "families": 2}]
    text = said(capsys, "summary")
    assert "2, the largest has 1 wordings" in text
    assert "[bad-utterance-state]" in said(capsys, "list", "--state", "lost", code=1)


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (["import"], 2, "no-utterance-database"),
        (["import", "missing.csv"], 1, "bad-utterance-file"),
        (["import", "u.xlsx"], 1, "bad-utterance-file"),
        (["import", "list.jsonl"], 1, "bad-utterance-file"),
        (["import", "other.csv"], 2, "no-such-column"),
        (["import", "--origin", "x"], 1, "origin-of-a-file"),
    ],
)
def test_what_cannot_be_read_is_a_sentence_with_a_next_step(
    words: list[str], code: int, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.jsonl").write_text('[{"text": "a", "intent": "b"}]')
    (tmp_path / "other.csv").write_text("utterance,label\nhi,greet\n")
    assert f"[{name}]" in said(capsys, *words, code=code)


def test_a_wrong_setting_is_named_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NLU_COLUMNS", "text=utterance,intnt=label,text=b,x")
    monkeypatch.setenv("NLU_AUTO_MEANS", "both")
    monkeypatch.setenv("NLU_TABLE", 'a"; drop table b')
    text = said(capsys, "import", code=2)
    for expected in ("entry 2 names no field", "entry 3 names text a second time", "entry 4 must be field=column",
                     "NLU_AUTO_MEANS: must be one of source, language", "NLU_TABLE: is no name"):  # fmt: skip
        assert expected in text


def test_not_one_usable_row_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jsonl(tmp_path / "u.jsonl", [row(1, ""), row(2, " ")])
    assert "2 utterance-empty" in said(capsys, "import", "u.jsonl", code=1)
