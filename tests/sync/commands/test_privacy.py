"""`calls erase|hold|release|consent` and `retention`, as a person types them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_backend import tables
from ml_backend.calls.consent import PURPOSES
from ml_backend.commands import command_line
from tests.sync.persons import ANNA, BERT, COMPANY, People


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[People]:
    world = People(tmp_path / "data")
    world.call("anna1", ANNA)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    yield world
    world.context.db.dispose()


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert command_line.main([*words, "--json"]) == code
    said = capsys.readouterr()
    return json.loads(said.out) if said.out else said.err


def test_a_dry_run_says_what_would_go_and_changes_nothing(people: People, capsys: pytest.CaptureFixture[str]) -> None:
    before = people.everything()
    said = run(capsys, "calls", "erase", "--caller", ANNA, "--dry-run")
    assert (said["calls"], said["recordings"], said["tasks"]) == (1, 1, 1)
    assert ANNA not in json.dumps(said)
    assert people.everything() == before


def test_erasing_with_yes_says_what_went_without_the_number(people: People, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["calls", "erase", "--caller", ANNA, "--yes", "--who", "tester"]) == 0
    said = capsys.readouterr().out
    assert "Erased 1 calls" in said
    assert ANNA[1:] not in said
    assert people.objects() == []


def test_a_number_can_be_given_without_the_shell_remembering_it(
    people: People, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{ANNA}\n".encode())))
    assert run(capsys, "calls", "erase", "--caller", "-", "--dry-run")["calls"] == 1


def test_a_held_call_is_not_erased_until_released(people: People, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "calls", "hold", "--call", "anna1", "--why", "case 17")
    assert "case 17" in run(capsys, "calls", "erase", "--caller", ANNA, "--yes", code=1)
    run(capsys, "calls", "release", "--call", "anna1")
    assert "no-hold" in run(capsys, "calls", "release", "--call", "anna1", code=1)
    assert run(capsys, "calls", "erase", "--caller", ANNA, "--yes")["counts"]["calls"] == 1


@pytest.mark.parametrize("words", [(), ("--caller", ANNA, "--call", "anna1")])
def test_exactly_one_of_caller_and_call_is_named(
    people: People, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert "which-subject" in run(capsys, "calls", "erase", *words, "--yes", code=1)


def test_consent_is_imported_from_a_file(people: People, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(f"company_number,purpose\n{COMPANY},training\n")
    assert run(capsys, "calls", "consent", "import", "c.csv") == {"rows": 1, "numbers": 1, "calls": 1}
    assert people.rows(tables.calls)[0].consent_purpose == "training"


def test_a_file_of_consents_that_is_not_there_is_said_so_with_what_it_would_hold(
    people: People, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    for name, words in (("consent.csv", "There is no file consent.csv."), ("folder", "folder cannot be read")):
        said = run(capsys, "calls", "consent", "import", name, code=1)
        assert words in said
        assert "company_number,purpose,name" in said
        assert "Usage" not in said


def test_help_and_page_show_a_file_of_consents_that_can_be_imported(
    people: People, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = (Path(__file__).parents[3] / "docs/explanation/privacy.md").read_text()
    rows = [line.strip() for line in page.partition("    company_number,")[2].splitlines()]
    (tmp_path / "c.csv").write_text("company_number," + "\n".join(rows[: rows.index("")]))
    assert run(capsys, "calls", "consent", "import", "c.csv")["rows"] == 2
    command_line.main(["calls", "consent", "import", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "company_number,purpose,name" in said
    assert all(purpose in said for purpose in PURPOSES)


@pytest.mark.parametrize(
    ("whom", "words"), [(("--caller", BERT), "1 callers are known"), (("--call", "nobody"), "calls list")]
)
def test_a_dry_run_that_finds_nobody_says_where_to_look(
    people: People, capsys: pytest.CaptureFixture[str], whom: tuple[str, str], words: str
) -> None:
    assert command_line.main(["calls", "erase", *whom, "--dry-run"]) == 0
    assert words in capsys.readouterr().out


def test_where_no_call_came_from_exotel_an_erasure_says_what_to_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a demo."""
    world = People(tmp_path / "empty")
    world.context.db.dispose()
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "empty"))
    monkeypatch.chdir(tmp_path)
    assert command_line.main(["calls", "erase", "--caller", ANNA, "--dry-run"]) == 0
    assert "Use --call with the id of a recording" in capsys.readouterr().out


def test_a_period_is_set_shown_and_confirmed(people: People, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "retention", "set", "call-recordings", "1")["state"] == "reported"
    [row] = run(capsys, "retention", "show")["buckets"]
    assert (row["days"], row["state"], row["recordings"]) == (1, "reported", 1)
    assert "other-period" in run(capsys, "retention", "confirm", "call-recordings", "2", code=1)
    assert run(capsys, "retention", "confirm", "call-recordings", "1")["state"] == "confirmed"
    assert run(capsys, "retention", "set", "call-recordings", "forever")["state"] == "kept"
    assert "bad-days" in run(capsys, "retention", "set", "call-recordings", "0", code=1)


def test_a_misspelt_bucket_gets_no_period_and_the_known_ones_are_named(
    people: People, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run(capsys, "retention", "set", "call-recording", "365", code=1)
    assert "bucket-missing" in said
    assert "call-recordings" in said
    assert [row["bucket"] for row in run(capsys, "retention", "show")["buckets"]] == ["call-recordings"]
