"""A model that was made on one machine serves on all, and survives a moved installation and a restored backup."""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, PermanentError, RetryableError
from ml_backend.models import manifest, model_files, registry
from ml_backend.serving import adoption, default_model
from ml_backend.storage import object_store
from ml_backend.storage.s3_store import S3Store
from tests.training import spoken


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Context]:
    opened = spoken.opened(tmp_path / "here")
    yield opened
    opened.db.dispose()


@pytest.fixture
def s3(moto_endpoint: str) -> S3Store:
    return S3Store(moto_endpoint, access_key="anyone", secret_key="moto-does-not-check-this", secure=False)


@pytest.fixture
def trainer(here: Context, s3: S3Store) -> Context:
    """A machine with an S3 store; every test has a bucket of its own."""
    settings = here.settings.model_copy(update={"audio_bucket": f"kaan-{uuid.uuid4().hex[:12]}"})
    return replace(here, settings=settings, store=s3, kept={})


@pytest.fixture
def server(trainer: Context, tmp_path: Path) -> Context:
    """Another machine: the same database and store, a DATA_DIR of its own."""
    settings = trainer.settings.model_copy(update={"data_dir": tmp_path / "there"})
    return replace(trainer, settings=settings, kept={})


def made(context: Context) -> registry.Version:
    described = manifest.read(registry.BUNDLED)
    return registry.register(
        context, model_files.publish(context, registry.BUNDLED, f"{model_files.FOLDER}/{described.name}")
    )


def test_what_was_made_on_one_machine_is_fetched_once_by_another_and_serves_without_the_store(trainer, server):
    version = made(trainer)
    folder = Path(registry.verified(server, version))
    assert folder.is_relative_to(server.settings.data_dir / model_files.FOLDER)
    assert manifest.verify(folder).model_version == version.version
    away = replace(server, store=S3Store("127.0.0.1:9", access_key="a", secret_key="b" * 8, secure=False))
    assert registry.verified(away, version) == str(folder)


def test_a_store_that_is_a_directory_is_read_where_it_lies(here):
    folder = Path(registry.verified(here, made(here)))
    assert folder.is_relative_to(here.settings.data_dir / "objects")
    assert not (here.settings.data_dir / model_files.FOLDER).exists()


def test_a_copy_that_changed_on_this_machine_is_fetched_anew(trainer, server):
    version = made(trainer)
    path = Path(registry.verified(server, version)) / "model.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"!")
    registry.verified(server, version)
    assert path.read_bytes() == whole


def test_what_was_altered_in_the_store_is_refused_and_leaves_nothing_behind(trainer, server):
    version = made(trainer)
    key = f"{version.location.removeprefix('store:')}/model.bin"
    server.store.delete(server.settings.audio_bucket, key)
    server.store.put_bytes(server.settings.audio_bucket, key, b"another model")
    with pytest.raises(PermanentError) as refused:
        registry.verified(server, version)
    assert refused.value.code == "model-file-changed"
    assert list((server.settings.data_dir / model_files.FOLDER).iterdir()) == []


def test_a_store_that_breaks_off_leaves_nothing_half_and_the_next_try_succeeds(trainer, server):
    version = made(trainer)

    class Breaking:
        def __getattr__(self, name: str) -> Any:
            return getattr(server.store, name)

        def fetch(self, bucket: str, key: str, target: Path) -> str:
            if key.endswith("model.bin"):
                raise RetryableError("store-away", "The store went away.", "Try again.")
            return server.store.fetch(bucket, key, target)

    with pytest.raises(RetryableError):
        registry.verified(replace(server, store=Breaking()), version)
    assert list((server.settings.data_dir / model_files.FOLDER).iterdir()) == []
    registry.verified(server, version)


def test_what_a_killed_process_left_is_removed_a_day_later(trainer, server):
    version = made(trainer)
    models = server.settings.data_dir / model_files.FOLDER
    for name, age_s in ((".fetched-old", 2 * 86400), (".fetched-now", 0)):
        (models / name / "half").mkdir(parents=True)
        os.utime(models / name, (time.time() - age_s,) * 2)
    registry.verified(server, version)
    assert sorted(path.name for path in models.iterdir() if path.name.startswith(".")) == [".fetched-now"]


def test_processes_that_fetch_at_once_end_with_one_whole_copy(trainer, server):
    version, found = made(trainer), []
    threads = [threading.Thread(target=lambda: found.append(registry.verified(server, version))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert [path.name for path in (server.settings.data_dir / model_files.FOLDER).iterdir()] == [Path(found[0]).name]


def test_presence_is_told_from_the_copy_here_from_the_store_and_never_blocks_while_the_store_is_away(trainer, server):
    version = made(trainer)
    files = version.manifest["files"]
    assert model_files.present(server, version.location, files) is None
    assert not (server.settings.data_dir / model_files.FOLDER).exists(), "looking fetches nothing"
    away = replace(server, store=S3Store("127.0.0.1:9", access_key="a", secret_key="b" * 8, secure=False))
    assert model_files.present(away, version.location, files) is None
    server.store.delete(server.settings.audio_bucket, f"{version.location.removeprefix('store:')}/model.bin")
    assert model_files.present(server, version.location, files) == "model.bin"


def test_the_same_weights_made_twice_are_one_version_whatever_their_manifests_say_of_it(here, tmp_path):
    found = []
    for said in ("one dataset", "another dataset"):
        folder = Path(shutil.copytree(registry.BUNDLED, tmp_path / said))
        was = manifest.read(folder)
        (folder / manifest.FILE).unlink()
        manifest.write(folder, name="twice", languages=was.languages, window=was.window, trained_on=said)
        found.append(adoption.adopt(here, folder))
    assert found[0] == found[1]
    registry.verified(here, found[0])


def test_a_version_whose_files_are_nowhere_says_so(here):
    with pytest.raises(ConfigurationError) as missing:
        model_files.place(here, "store:models/served/nothing-12345678")
    assert missing.value.code == "model-not-found"


def test_the_bundled_model_goes_into_the_store_so_that_the_next_release_can_still_go_back_to_it(here):
    default_model.ensure(here)
    champion = registry.champion(here)
    assert champion.location == f"store:models/served/{manifest.read(registry.BUNDLED).model_version}"
    registry.verified(here, champion)


def test_the_bundled_model_is_put_again_into_a_store_that_lacks_it(here, s3, tmp_path):
    default_model.ensure(here)
    settings = here.settings.model_copy(update={"data_dir": tmp_path / "moved"})
    elsewhere = replace(here, settings=settings, store=s3, kept={})
    default_model.ensure(elsewhere)
    assert registry.verified(elsewhere, registry.champion(elsewhere))


def test_a_version_whose_folder_is_gone_is_found_where_it_is_registered_anew(here, tmp_path):
    old = Path(shutil.copytree(registry.BUNDLED, tmp_path / "installation-1"))
    version = registry.register(here, str(old))
    registry.register(here, str(registry.BUNDLED))
    assert registry.find(here, version.version).location == str(old), "as long as it is there, nothing moves"
    old.rename(tmp_path / "installation-2")
    again = registry.register(here, str(tmp_path / "installation-2"))
    assert (again.id, again.location) == (version.id, str(tmp_path / "installation-2"))
    registry.verified(here, registry.find(here, version.version))
    (tmp_path / "installation-2").rename(tmp_path / "installation-3")
    default_model.ensure(here)
    assert registry.champion(here).location.startswith("store:")


def test_no_name_in_a_version_can_lead_out_of_its_folder(trainer, server):
    bucket = server.settings.audio_bucket
    version = made(trainer)
    key = f"{version.location.removeprefix('store:')}/{manifest.FILE}"
    evil = (registry.BUNDLED / manifest.FILE).read_text().replace("config.json", "../../config.json")
    server.store.delete(bucket, key)
    server.store.put_bytes(bucket, key, evil.encode())
    with pytest.raises(PermanentError) as refused:
        registry.verified(server, version)
    assert refused.value.code == "manifest-broken"
    assert object_store.valid_key(key)
    assert list((server.settings.data_dir / model_files.FOLDER).iterdir()) == []
