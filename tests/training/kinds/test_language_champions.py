"""A language may have a champion of its own, of every kind: promoted, asked, drafted from and rolled back alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.commands import command_line
from ml_backend.context import Context
from ml_backend.models import kinds, manifest, model_files, registry
from ml_backend.serving import default_model
from tests.training.utterances import rows
from training.promotion import promotion


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    opened = rows.open_in(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(opened.settings.data_dir))
    default_model.ensure_every(opened)
    yield opened
    opened.db.dispose()


@pytest.fixture
def marathi(context: Context, tmp_path: Path) -> Callable[[str], registry.Version]:
    """The bundled model of a kind under another name, forced to be the champion of Marathi."""

    def promoted(kind: str) -> registry.Version:
        folder = tmp_path / f"{kind}-mr"
        shutil.copytree(kinds.BUNDLED[kind], folder)
        before = json.loads((folder / manifest.FILE).read_text())
        manifest.write(
            folder, name=folder.name, languages=tuple(before["languages"]), window=None, kind=kind,
            trained_on=before["trained_on"], needs=before["needs"],
        )  # fmt: skip
        place = model_files.publish(context, folder, f"{model_files.FOLDER}/{folder.name}")
        version = registry.register(context, place)
        promotion.promote(context, version, who="asha", why="for Marathi", language="mr", force=True)
        return version

    return promoted


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert command_line.main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_parser_for_one_language_is_asked_for_it_only(
    context: Context, marathi: Callable[[str], registry.Version], capsys: pytest.CaptureFixture[str]
) -> None:
    version = marathi("nlu")
    usual = registry.champion(context, "nlu")
    assert told(capsys, "parse", "माझी ऑर्डर कुठे आहे", "--language", "mr")["model_version"] == version.version
    assert told(capsys, "parse", "where is my order", "--language", "hi")["model_version"] == usual.version
    assert told(capsys, "parse", "where is my order")["model_version"] == usual.version
    shown = told(capsys, "models", "list", "--kind", "nlu")
    names = {one["version"]: [(each["alias"], each["language"]) for each in one["aliases"]] for one in shown["models"]}
    assert names == {version.version: [("champion", "mr")], usual.version: [("champion", "*")]}


def test_a_voice_for_one_language_speaks_it_and_its_prompts_only(
    context: Context, marathi: Callable[[str], registry.Version], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = marathi("tts")
    usual = registry.champion(context, "tts")
    said = {
        language: told(capsys, "speak", text, "--language", language, "--out", str(tmp_path / "a.wav"))["model_version"]
        for language, text in (("mr", "नमस्कार"), ("en", "hello"))
    }
    assert said == {"mr": version.version, "en": usual.version}
    for language, text in (("mr", "नमस्कार"), ("en", "hello")):
        told(capsys, "speak", text, "--language", language, "--keep", "--model", usual.version)
    assert told(capsys, "prompts", "render")["before"] == 1, "the Marathi prompt is left to its own champion"
    rendered = told(capsys, "prompts", "render", "--language", "mr")
    assert (rendered["version"], rendered["new"]) == (version.version, 1)
    switched = told(capsys, "prompts", "switch", "--language", "mr")
    assert (switched["version"], switched["already"]) == (version.version, 1), "its bytes are those of the bundled one"
    assert told(capsys, "prompts", "switch")["already"] == 1


@pytest.mark.parametrize("kind", ["nlu", "tts"])
def test_a_rollback_of_a_language_goes_to_the_version_that_is_named_and_touches_no_other(
    context: Context, marathi: Callable[[str], registry.Version], kind: str
) -> None:
    version = marathi(kind)
    usual = registry.champion(context, kind)
    promotion.rollback(context, who="asha", why="it mumbles", kind=kind, language="mr", to=usual.version)
    assert registry.champion(context, kind, "mr").version == usual.version
    assert registry.champion(context, kind).revision == usual.revision
    assert registry.find(context, version.version).rolled_back


def test_the_first_champion_of_a_language_has_the_open_tasks_drafted_anew(
    context: Context, marathi: Callable[[str], registry.Version]
) -> None:
    row = {"instance_url": "http://ls.example", "ls_project_id": 1, "state": "attached"}
    with context.db.transaction() as connection:
        connection.execute(sa.insert(tables.projects).values(**row))
    marathi("nlu")
    jobs = context.db.rows(sa.select(tables.jobs).where(tables.jobs.c.name == "redraft-project"))
    assert len(jobs) == 1
