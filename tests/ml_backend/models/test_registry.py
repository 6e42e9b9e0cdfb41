"""Exactly one champion, moved by compare-and-set, with a history; and the process that serves it follows."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.asr import engine
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, KaanError, PermanentError, RetryableError
from ml_backend.models import manifest, registry
from ml_backend.serving import default_model
from tests import models, sounds


def version_folder(parent: Path, name: str, *, seed: int = 0, trained_on: str = "nothing") -> Path:
    folder = parent / name
    shutil.copytree(models.cached(seed=seed), folder)
    manifest.write(
        folder, name=name, languages=("en", "hi"), window=manifest.WindowPolicy.stock(), trained_on=trained_on
    )
    return folder


@pytest.fixture
def one(context: Context, tmp_path: Path) -> registry.Version:
    return registry.register(context, str(version_folder(tmp_path, "one")))


@pytest.fixture
def two(context: Context, tmp_path: Path) -> registry.Version:
    return registry.register(context, str(version_folder(tmp_path, "two", seed=1)))


def history(context: Context) -> list[tuple[str | None, str, str]]:
    table = tables.alias_history
    rows = context.db.rows(sa.select(table.c.from_version, table.c.to_version, table.c.who).order_by(table.c.id))
    return [tuple(row) for row in rows]


def test_without_a_champion_the_error_says_what_to_do(context):
    with pytest.raises(ConfigurationError) as caught:
        registry.champion(context)
    assert caught.value.code == "no-champion"
    assert caught.value.next_step


def test_the_same_folder_registered_twice_is_one_version(context, one):
    assert registry.register(context, one.location).id == one.id
    assert registry.find(context, one.version).languages == ("en", "hi")


def test_an_unknown_version_lists_the_known_ones(context, one):
    with pytest.raises(PermanentError) as caught:
        registry.find(context, "three")
    assert one.version in caught.value.next_step


def test_moving_the_champion_is_written_down(context, one, two):
    assert registry.move_alias(context, one, expected_revision=0, who="asha", why="first") == 1
    assert registry.move_alias(context, two, expected_revision=1, who="ravi", why="better", numbers={"wer": 7.8}) == 2
    assert registry.champion(context).version == two.version
    assert history(context) == [(None, one.version, "asha"), (one.version, two.version, "ravi")]


def test_a_decision_based_on_an_old_state_changes_nothing(context, one, two):
    registry.move_alias(context, one, expected_revision=0, who="asha", why="first")
    for stale in (0, 7):
        with pytest.raises((RetryableError, sa.exc.IntegrityError)):
            registry.move_alias(context, two, expected_revision=stale, who="ravi", why="better")
    assert registry.champion(context).version == one.version
    assert len(history(context)) == 1


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(context, one, two):
    registry.move_alias(context, one, expected_revision=0, who="asha", why="first")
    outcomes: list[object] = []

    def promote(version: registry.Version) -> None:
        try:
            outcomes.append(registry.move_alias(context, version, expected_revision=1, who="x", why="y"))
        except KaanError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=promote, args=(version,)) for version in (one, two, one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["2", "alias-moved", "alias-moved", "alias-moved"]
    assert len(history(context)) == 2


def test_a_language_may_have_a_champion_of_its_own(context, one, two):
    registry.move_alias(context, one, expected_revision=0, who="asha", why="first")
    registry.move_alias(context, two, expected_revision=0, who="asha", why="hindi", language="hi")
    assert registry.champion(context, language="hi").version == two.version
    assert registry.champion(context, language="mr").version == one.version


def test_the_default_model_becomes_champion_once_and_a_promotion_is_left_alone(context, one, two):
    named = context.settings.model_copy(update={"asr_model": one.location})
    started = Context(named, context.db, context.store)
    threads = [threading.Thread(target=default_model.ensure, args=(started,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.champion(context).version == one.version
    assert len(history(context)) == 1
    registry.move_alias(context, two, expected_revision=1, who="ravi", why="better")
    default_model.ensure(started)
    assert registry.champion(context).version == two.version


def test_a_changed_asr_model_takes_over_from_the_one_it_set_before(context, one, two):
    for number, version in enumerate((one, two, two), 1):
        named = context.settings.model_copy(update={"asr_model": version.location})
        default_model.ensure(Context(named, context.db, context.store))
        assert registry.champion(context).version == version.version
        assert registry.champion(context).revision == min(number, 2)


def test_asr_model_may_name_a_registered_version(context, one):
    named = context.settings.model_copy(update={"asr_model": one.version})
    default_model.ensure(Context(named, context.db, context.store))
    assert registry.champion(context).id == one.id


def test_a_folder_without_a_manifest_is_named_by_its_content(context, tmp_path):
    shutil.copytree(models.cached(), tmp_path / "whisper")
    version = registry.register(context, str(tmp_path / "whisper"))
    assert version.version.startswith("whisper-")
    (tmp_path / "whisper" / "tokenizer.json").write_text("{}")
    with pytest.raises(PermanentError) as caught:
        registry.verified(context, version)
    assert caught.value.code == "model-file-changed"


def test_a_pickle_is_never_registered(context, tmp_path):
    shutil.copytree(models.cached(), tmp_path / "whisper")
    (tmp_path / "whisper" / "extra.bin").write_bytes(b"\x80\x04\x95pickle")
    with pytest.raises(PermanentError) as caught:
        registry.register(context, str(tmp_path / "whisper"))
    assert caught.value.code == "model-file-pickle"


def test_the_bundled_model_answers_silence_with_silence():
    from ml_backend.settings import Settings

    transcriber = engine.Transcriber.load(registry.BUNDLED, settings=Settings(_env_file=None, asr_device="cpu"))
    quiet = [Request(np.zeros((1, 16000 * 8), np.float32), DecodingProfile())]
    quiet += [Request(sounds.music(10, seed=seed)[None], DecodingProfile()) for seed in range(4)]
    assert [answer.text for answer in transcriber.transcribe(quiet)] == [""] * 5
