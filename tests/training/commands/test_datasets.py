"""`export` and `datasets`: what a person sees."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.commands import command_line
from tests.training.datasets import speech
from tests.training.datasets.speech import Service
from tests.training.datasets.test_dataset import fill


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    opened = speech.opened(tmp_path)
    fill(opened)
    yield opened
    opened.context.db.dispose()


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert command_line.main(list(words)) == 0
    return capsys.readouterr().out


def test_an_export_says_what_is_in_it_and_why_the_rest_is_not(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run(capsys, "export", "calls")
    assert "calls version 1: 4 rows" in said
    assert "left out" in said
    assert "test-caller" in said


def test_a_version_is_copied_into_a_folder(
    service: Service, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = json.loads(run(capsys, "export", "calls", "--form", "text,nemo", "--to", str(tmp_path / "out"), "--json"))
    assert found["version"] == 1
    assert found["folder"] == str(tmp_path / "out")
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"README.md", "manifest.jsonl", "text/train-00000.parquet", "nemo/test.jsonl"} <= names
    assert (tmp_path / "out" / "README.md").read_text().startswith("---\nlanguage: [hi]\n")


def test_a_folder_holds_one_version_and_keeps_what_is_not_ours(
    service: Service, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = json.loads(run(capsys, "export", "calls", "--form", "text,nemo", "--to", str(out), "--json"))
    (out / "text" / "train-00001.parquet").write_bytes(b"a part that the next version does not have")
    (out / "notes.txt").write_text("mine")
    with service.context.db.transaction() as connection:
        connection.execute(sa.update(tables.samples).where(tables.samples.c.text == "जी").values(text="ना"))  # as long
    second = json.loads(run(capsys, "export", "calls", "--form", "text", "--to", str(out), "--json"))
    assert (first["version"], second["version"]) == (1, 2)
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    parts = {f"text/{split}-00000.parquet" for split in ("train", "validation", "test")}
    assert names == parts | {"notes.txt", "README.md", "manifest.jsonl", "exclusions.jsonl"}
    for file in second["renderings"]["text"]["files"]:
        assert hashlib.sha256((out / "text" / Path(file["key"]).name).read_bytes()).hexdigest() == file["sha256"]


def test_a_place_that_can_be_no_folder_is_told_in_a_sentence(
    service: Service, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("mine")
    assert command_line.main(["export", "calls", "--form", "text", "--to", str(tmp_path / "taken")]) != 0
    assert "bad-folder" in capsys.readouterr().err


def test_later_means_a_job(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    said = json.loads(run(capsys, "export", "calls", "--languages", "hi", "--later", "--json"))
    job = service.context.db.row(tables.jobs, said["job"])
    assert (job.name, job.arguments["languages"]) == ("export-dataset", "hi")


def test_versions_are_listed_shown_and_compared(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "export", "calls", "--form", "text")
    with service.context.db.transaction() as connection:
        connection.execute(sa.update(tables.samples).where(tables.samples.c.text == "जी").values(text="जी हाँ"))
    run(capsys, "export", "calls", "--form", "text")

    listed = json.loads(run(capsys, "datasets", "list", "--json"))["datasets"]
    assert [(each["name"], each["version"]) for each in listed] == [("calls", 2), ("calls", 1)]
    assert "calls@2" in run(capsys, "datasets", "list")
    assert "test-caller" in run(capsys, "datasets", "show", "calls@1")
    card = run(capsys, "datasets", "show", "calls", "--card")
    assert "| test-caller | 1 |" in card
    assert re.search(r"\d utterances, [1-9][\d.]* (s|min)[,.]", card)  # not 0.00 hours
    assert "hours" not in card

    said = run(capsys, "datasets", "diff", "calls@1", "calls@2")
    assert "1 changed in validation" in said
    assert "The test set is the same." in said
    found = json.loads(run(capsys, "datasets", "diff", "calls@1", "calls@2", "--json"))
    assert found["rows"][0]["before"] == {"text": "जी"}
    assert found["same_test_set"]


def test_a_name_that_is_not_there_is_told_with_the_known_ones(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "export", "calls", "--form", "text")
    assert command_line.main(["datasets", "show", "cals"]) != 0
    assert "Known: calls" in capsys.readouterr().err


def test_an_export_of_a_project_nobody_knows_names_the_known_ones(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in ([], ["--later"]):
        assert command_line.main(["export", "mine", "--projects", "999", *more]) == 1
        said = capsys.readouterr().err
        assert "There is no project 999. [no-such-project]" in said
        assert "Known: 7." in said


def test_where_nothing_was_annotated_an_export_says_so_and_blames_no_filter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    assert command_line.main(["db", "upgrade"]) == 0
    assert command_line.main(["export", "mine"]) == 1
    said = capsys.readouterr().err
    assert "No annotation has become a sample yet. [dataset-empty]" in said
    assert "filter" not in said
