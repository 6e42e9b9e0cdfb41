"""`calls`: what a person sees, and what a program gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.calls import events as callevents
from ml_backend.calls import ledger
from ml_backend.calls.pseudonyms import key_of
from ml_backend.commands import command_line
from ml_backend.context import Context, open_context
from ml_backend.settings import Settings
from tests.exotel_messages import message

SID, FROM = "0000000000000000000000000000002p", "00000000101"
SAMPLES = ("cb_terminal_form_legs.txt", "cb_terminal_busy_json.txt", "cb_completed_empty_recording_multipart.txt")


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Three calls, and an environment that names their database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    chosen = Settings(_env_file=None, data_dir=tmp_path, database_url="", object_store="")
    db.upgrade(chosen.database)
    context = open_context(chosen)
    with context.db.transaction() as connection:
        for name in SAMPLES:
            sent = message(name)
            event = callevents.parse_request(sent.method, sent.content_type, sent.query, sent.body)
            assert event is not None
            ledger.record(connection, event, key=key_of(chosen))
    return context


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert command_line.main(["calls", *words]) == code
    printed = capsys.readouterr()
    assert FROM not in printed.out + printed.err
    return printed.out + printed.err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(said(capsys, *words, "--json"))


def test_a_list_shows_each_call_with_why_or_what_is_next(filled: Context, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "list")
    assert SID in text
    assert "no-conversation" in text
    assert "look-up in" in text
    assert "fetch now" in text
    assert "1 expected, 1 to-fetch, 1 no-recording" in text


def test_a_list_can_be_narrowed(filled: Context, capsys: pytest.CaptureFixture[str]) -> None:
    assert [call["call_sid"] for call in as_json(capsys, "list", "--state", "to-fetch")["calls"]] == [SID]
    assert len(as_json(capsys, "list", "--reason", "no-conversation")["calls"]) == 1
    assert len(as_json(capsys, "list", "--days", "1")["calls"]) == 1  # the one without a time was reported today
    assert "Known: expected" in said(capsys, "list", "--state", "nope", code=1)


@pytest.mark.parametrize("what", [SID, "recording:1", f"voice/{SID}.wav"])
def test_one_call_is_explained(filled: Context, capsys: pytest.CaptureFixture[str], what: str) -> None:
    text = said(capsys, "show", what)
    assert "It is not a task yet. Its recording is still to be fetched." in text
    assert as_json(capsys, "show", what)["call_sid"] == SID


def test_a_number_shows_all_calls_of_the_person(filled: Context, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(as_json(capsys, "show", "+910000000101")["calls"]) == 2
    assert said(capsys, "show", FROM).count("why ") == 2


def test_an_unknown_call_is_a_plain_sentence(filled: Context, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Nothing here has that name." in said(capsys, "show", "nope", code=1)


def test_the_summary_balances(filled: Context, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "summary", "--days", "2", "--last", "2024-01-15")
    assert "2024-01-15" in text
    assert "even" in text
    found = as_json(capsys, "summary", "--days", "1", "--last", "2024-01-15")
    assert (found["days"][0]["reported"], found["days"][0]["balanced"]) == (2, True)


def test_a_call_that_nothing_explains_fails_the_summary(filled: Context, capsys: pytest.CaptureFixture[str]) -> None:
    with filled.db.transaction() as connection:
        connection.execute(sa.update(tables.calls).where(tables.calls.c.call_sid == SID).values(due_at=None))
    assert f"Not explained: {SID}" in said(capsys, "summary", "--days", "1", "--last", "2024-01-15", code=1)


def test_a_wrong_date_is_a_plain_sentence(filled: Context, capsys: pytest.CaptureFixture[str]) -> None:
    assert "2026-01-31" in said(capsys, "summary", "--last", "30 Feb", code=1)
