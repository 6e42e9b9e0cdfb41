"""`project rules`: which calls a project takes, and which of them become tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_backend import tables
from ml_backend.commands import command_line
from tests.sync.persons import ELSEWHERE, People


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[People]:
    world = People(tmp_path / "data", label_studio_url=ELSEWHERE)
    with world.context.db.transaction() as connection:
        world.project(connection)
    for name, value in (("DATA_DIR", str(tmp_path / "data")), ("LABEL_STUDIO_URL", ELSEWHERE)):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    yield world
    world.context.db.dispose()


def rules(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert command_line.main(["project", "rules", "1", *words, "--json"]) == code
    said = capsys.readouterr()
    return json.loads(said.out) if said.out else said.err


def test_without_rules_of_its_own_a_project_shows_the_settings(
    people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = rules(capsys)
    assert (shown["selection"]["review"], shown["selection"]["max_open"], shown["routing"]) == ("some", 2000, None)


def test_a_projects_rules_are_kept_and_given_back_to_the_settings(
    people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = rules(capsys, "--selection", '{"review": "all", "max_open": 7}', "--routing", '{"language": ["hi"]}')
    assert (shown["selection"]["review"], shown["selection"]["max_open"]) == ("all", 7)
    assert people.rows(tables.projects)[0].routing == {"language": ["hi"]}
    shown = rules(capsys, "--selection", "{}", "--routing", "{}")
    assert (shown["selection"]["review"], shown["routing"]) == ("some", None)


def test_reviewers_are_kept_and_every_reference_is_chosen_anew(
    people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = rules(capsys, "--selection", '{"reviewers": [5, 7]}')
    assert shown["selection"]["reviewers"] == [5, 7]
    assert shown["selection"]["review"] == "some"
    wanted = [job for job in people.rows(tables.jobs) if job.name == "sample-project"]
    assert [job.arguments for job in wanted] == [{"project_id": 1, "everything": 1}]


@pytest.mark.parametrize(
    "words",
    [
        ("--selection", "all"),
        ("--selection", '{"reveiw": "all"}'),
        ("--selection", '{"audit_share": 7}'),
        ("--selection", '{"max_open": 1.5}'),
        ("--selection", '{"reviewers": 5}'),
        ("--selection", '{"reviewers": ["asha"]}'),
        ("--routing", '{"colour": ["red"]}'),
        ("--routing", "[1]"),
        ("--routing", '{"language": 5}'),
        ("--routing", '{"language": ["hi", 5]}'),
        ("--routing", '{"language": []}'),
        ("--routing", '{"language": ["no language"]}'),
        ("--routing", '{"source": ["telephone"]}'),
        ("--routing", '{"company_number": ["00000000101"]}'),
        ("--routing", '{"prefix": {"a": 1}}'),
        ("--routing", '{"synthetic": "yes"}'),
        ("--routing", '{"synthetic": 1}'),
        ("--selection", '{"review": ["all"]}'),
        ("--selection", '{"audit_share": true}'),
        ("--selection", '{"audit_share": NaN}'),
        ("--selection", '{"audit_share": "0.5"}'),
        ("--selection", '{"max_open": true}'),
        ("--selection", '{"max_open": 0}'),
        ("--selection", '{"reviewers": [true]}'),
    ],
)
def test_a_slip_is_refused_and_changes_nothing(
    people: People, capsys: pytest.CaptureFixture[str], words: tuple[str, str]
) -> None:
    assert "bad-rule" in rules(capsys, *words, code=1)
    [row] = people.rows(tables.projects)
    assert (row.selection, row.routing) == (None, None)


def test_every_mistake_of_a_rule_is_said_at_once(people: People, capsys: pytest.CaptureFixture[str]) -> None:
    said = rules(capsys, "--selection", '{"review": "most", "max_open": 0, "audit_share": 2, "colour": 1}', code=1)
    assert all(name in said for name in ("review must be", "max_open must be", "audit_share must be", "'colour'"))
    said = rules(capsys, "--routing", '{"language": 5, "source": ["telephone"], "synthetic": "no"}', code=1)
    assert all(name in said for name in ("language must be", "source must be", "synthetic must be"))


def test_a_language_is_kept_by_its_code(people: People, capsys: pytest.CaptureFixture[str]) -> None:
    assert rules(capsys, "--routing", '{"language": "Marathi"}')["routing"] == {"language": ["mr"]}


def test_what_an_older_release_stored_wrongly_is_not_used_and_said(
    people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = {"selection": {"max_open": "7", "audit_share": 0.5, "reviewers": 3}, "routing": {"language": {"hi": 1}}}
    people.context.db.update(tables.projects, people.rows(tables.projects)[0].id, **stored)
    shown = rules(capsys)
    assert (shown["selection"]["max_open"], shown["selection"]["audit_share"]) == (2000, 0.5)
    assert shown["selection"]["reviewers"] == []
    assert [problem.partition(" must be")[0] for problem in shown["problems"]] == ["max_open", "reviewers", "language"]
