"""A promotion reaches every process that serves, within a second, and no answer mixes two versions."""

from __future__ import annotations

import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.asr import engine
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile, Segment
from ml_backend.context import Context, open_context
from ml_backend.errors import ConfigurationError, KaanError, PermanentError, RetryableError
from ml_backend.models import manifest, registry, routing
from ml_backend.serving import alias_follower, loaded_models
from ml_backend.settings import Settings
from tests import models, sounds
from tests.ml_backend import swaps
from tests.patience import until

ROOT = Path(__file__).parents[3]
REQUEST = Request(sounds.speech("hello, where is my order")[None], DecodingProfile(language="en"))


def version_of(context: Context, folder: Path, *, seed: int) -> registry.Version:
    shutil.copytree(models.cached(seed=seed), folder)
    manifest.write(
        folder, name=folder.name, languages=("en",), window=manifest.WindowPolicy.stock(), trained_on="nothing"
    )
    return registry.register(context, str(folder))


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    """On SQLite: what serves asks the database for one row."""
    settings = Settings(_env_file=None, data_dir=tmp_path, asr_device="cpu", asr_threads=1)
    db.upgrade(settings.database)
    opened = open_context(settings)
    yield opened
    opened.kept.clear()
    opened.db.dispose()


@pytest.fixture
def one(context: Context, tmp_path: Path) -> registry.Version:
    made = version_of(context, tmp_path / "one", seed=0)
    registry.move_alias(context, made, expected_revision=0, who="asha", why="first")
    return made


@pytest.fixture
def two(context: Context, tmp_path: Path) -> registry.Version:
    return version_of(context, tmp_path / "two", seed=1)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alias_follower, "POLL_S", 0.02)


@pytest.fixture
def unfit(two: registry.Version) -> Iterator[registry.Version]:
    """A version whose files were cut after it was registered."""
    weights = Path(two.location) / "model.bin"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    yield two
    weights.write_bytes(whole)


def serves(context: Context) -> str:
    with loaded_models.using(context) as transcriber:
        return transcriber.model_version


def fixed(context: Context, most: int) -> Context:
    settings = context.settings.model_copy(update={"asr_models_loaded": most})
    return Context(settings, context.db, context.store)


def test_a_version_is_loaded_once(context: Context, one: registry.Version) -> None:
    with loaded_models.using(context) as first, loaded_models.using(context) as second:
        assert first is second
        assert first.model_version == one.version


@pytest.mark.parametrize("most", [1, 2])
def test_a_moved_alias_is_served_within_a_second_though_nobody_asks(
    context: Context, one: registry.Version, two: registry.Version, most: int
) -> None:
    here = fixed(context, most)
    assert serves(here) == one.version
    registry.move_alias(here, two, expected_revision=1, who="ravi", why="better")
    until(lambda: two.version in loaded_models.of(here)._loaded, "the new version is loaded before anybody asks")
    until(lambda: serves(here) == two.version, "the new version serves")
    assert set(loaded_models.of(here)._loaded) == {two.version}, "the old model is let go"


def test_while_the_database_is_away_it_is_said_once_and_what_serves_goes_on(
    context: Context,
    one: registry.Version,
    two: registry.Version,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, looks, real = fixed(context, 2), list[int](), routing.champion
    assert serves(here) == one.version

    def away(asked: Context) -> registry.Version:
        if asked is not here:  # the thread of another test, which ends when its models are collected
            return real(asked)
        looks.append(1)
        raise RetryableError("database-busy", "The database is away.", "It is tried again.")

    def said(what: str) -> int:
        return sum(what in str(record.msg) for record in caplog.records)

    with caplog.at_level("INFO"):
        monkeypatch.setattr(routing, "champion", away)
        until(lambda: len(looks) > 10, "it looks again and again")
        assert said("The database is away.") == 1
        assert serves(here) == one.version
        monkeypatch.setattr(routing, "champion", real)
        until(lambda: said("aliases_read_again"), "the trouble is over")
        registry.move_alias(here, two, expected_revision=1, who="ravi", why="better")
        until(lambda: serves(here) == two.version, "and the aliases are followed")


def test_who_works_with_the_old_model_ends_with_it(
    context: Context, one: registry.Version, two: registry.Version
) -> None:
    here = fixed(context, 2)
    with loaded_models.using(here) as old:
        registry.move_alias(here, two, expected_revision=1, who="ravi", why="better")
        until(lambda: set(loaded_models.of(here)._loaded) == {two.version}, "nobody new gets the old model")
        assert serves(here) == two.version
        [heard] = old.transcribe([REQUEST])
    assert heard.model_version == one.version


def test_where_memory_holds_one_the_swap_waits_for_who_works_with_the_old(
    context: Context, one: registry.Version, two: registry.Version
) -> None:
    here = fixed(context, 1)
    with loaded_models.using(here) as old:
        registry.move_alias(here, two, expected_revision=1, who="ravi", why="better")
        until(lambda: not loaded_models.of(here)._loaded, "nobody new gets the old model")
        [heard] = old.transcribe([REQUEST])
        assert heard.model_version == one.version
        assert not loaded_models.of(here)._loaded
    assert serves(here) == two.version


@pytest.mark.parametrize("most", [1, 2])
def test_a_new_version_that_will_not_load_leaves_the_old_one_serving(
    context: Context, one: registry.Version, unfit: registry.Version, most: int
) -> None:
    here = fixed(context, most)
    assert serves(here) == one.version
    registry.move_alias(here, unfit, expected_revision=1, who="ravi", why="better")
    until(lambda: unfit.version in loaded_models.of(here)._failed, "it was tried")
    with loaded_models.using(here) as transcriber:
        assert transcriber.model_version == one.version
        assert transcriber.transcribe([REQUEST])[0].model_version == one.version


def test_where_memory_holds_one_nobody_who_asks_during_a_failing_swap_is_turned_away(
    context: Context, one: registry.Version, unfit: registry.Version
) -> None:
    here = fixed(context, 1)
    assert serves(here) == one.version
    answers: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                answers.append(serves(here))
            except KaanError as error:
                answers.append(error.code)
            time.sleep(0.002)

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for each in asking:
        each.start()
    registry.move_alias(here, unfit, expected_revision=1, who="ravi", why="better")
    until(lambda: unfit.version in loaded_models.of(here)._failed, "it was tried")
    over.set()
    for each in asking:
        each.join(30)
    assert set(answers) == {one.version}


@pytest.mark.parametrize("most", [1, 2])
def test_a_challenger_that_will_not_load_is_withdrawn_and_the_champion_hears_its_calls(
    context: Context, one: registry.Version, unfit: registry.Version, most: int
) -> None:
    here = fixed(context, most)
    assert serves(here) == one.version
    values = {"name": "e", "champion": one.version, "challenger": unfit.version, "traffic_share": 0.5, "salt": "s"}
    with context.db.transaction() as connection:
        connection.execute(sa.insert(tables.experiments).values(**values))
    with pytest.raises(RetryableError) as caught, loaded_models.using(here, unfit):
        pass
    assert caught.value.code == "challenger-withdrawn"
    [ended] = context.db.rows(sa.select(tables.experiments))
    assert (ended.state, ended.reason.startswith("It does not load")) == ("withdrawn", True)
    assert {routing.Routes(here).choose(f"call-{n}").version.version for n in range(50)} == {one.version}
    assert serves(here) == one.version
    with pytest.raises(PermanentError), loaded_models.using(here, unfit):
        pass


def test_a_version_that_hears_words_in_silence_is_not_served(
    context: Context, one: registry.Version, two: registry.Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = fixed(context, 2)
    assert serves(here) == one.version
    real = engine.Transcriber.transcribe

    def inventing(self: engine.Transcriber, requests: list[Request]) -> list[object]:
        answers = real(self, requests)
        if self.model_version == two.version and not requests[-1].samples.any():
            answers[-1] = dataclasses.replace(answers[-1], segments=(Segment(0.0, 1.0, "thank you"),))
        return answers

    monkeypatch.setattr(engine.Transcriber, "transcribe", inventing)
    registry.move_alias(here, two, expected_revision=1, who="ravi", why="better")
    until(lambda: two.version in loaded_models.of(here)._failed, "it was tried")
    assert serves(here) == one.version


def test_a_first_version_that_will_not_load_is_an_error(context: Context, one: registry.Version) -> None:
    weights = Path(one.location) / "model.bin"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(PermanentError) as caught:
        serves(context)
    assert caught.value.code == "model-file-changed"


def test_a_database_that_is_away_leaves_what_serves(
    context: Context, one: registry.Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert serves(context) == one.version
    looked: list[int] = []

    def away(*_: object, **__: object) -> registry.Version:
        looked.append(1)
        raise sa.exc.OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(loaded_models.routing, "champion", away)
    until(lambda: len(looked) > 2, "the aliases were looked at in vain")
    assert serves(context) == one.version


def test_a_named_version_serves_beside_the_champion(
    context: Context, one: registry.Version, two: registry.Version
) -> None:
    here = fixed(context, 2)
    with loaded_models.using(here) as champion, loaded_models.using(here, two) as other:
        assert (champion.model_version, other.model_version) == (one.version, two.version)


def test_the_models_of_a_process_are_not_for_its_children(context: Context, one: registry.Version) -> None:
    here = loaded_models.of(context)
    assert serves(context) == one.version
    here._pid = os.getpid() + 1
    with pytest.raises(ConfigurationError) as caught, here.using():
        pass
    assert caught.value.code == "model-after-fork"


def test_swaps_under_load_in_several_processes_lose_no_answer_and_mix_no_versions(
    context: Context, one: registry.Version, two: registry.Version
) -> None:
    served = swaps.under_load(context, (one, two), swaps=6, processes=2, rate=20)
    assert (served.failed, served.mixed) == (0, 0)
    assert {answer["version"] for answer in served.all} == {one.version, two.version}
    assert context.db.rows(sa.select(tables.aliases.c.revision))[0].revision == 7
