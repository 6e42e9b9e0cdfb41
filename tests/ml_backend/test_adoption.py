"""A model made elsewhere becomes a version only after every file was looked at; nothing in it can run code."""

from __future__ import annotations

import pickle
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend import adoption, manifest, registry
from ml_backend.context import Context
from ml_backend.errors import InvalidInput, KaanError, PermanentError
from tests.training import spoken


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    opened = spoken.opened(tmp_path / "data")
    yield opened
    opened.db.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(registry.BUNDLED, tmp_path / "elsewhere"))


def test_a_folder_with_its_manifest_is_copied_tried_out_and_registered_once(context, folder):
    version = adoption.adopt(context, folder)
    assert version.version == manifest.read(folder).model_version
    shutil.rmtree(folder)
    registry.verify(registry.find(context, version.version))


def test_a_folder_without_a_manifest_gets_one_for_thirty_second_windows(context, folder):
    (folder / manifest.FILE).unlink()
    version = adoption.adopt(context, folder, name="other")
    described = manifest.verify(Path(version.location))
    assert version.version.startswith("other-")
    assert described.window == manifest.Window.stock()
    assert {"hi", "mr", "en"} <= set(described.languages)
    assert "transcribe" not in described.languages
    assert adoption.adopt(context, folder, name="other").id == version.id


TRAP = Path(tempfile.gettempdir()) / "kaan-trap"


class Trap:
    def __reduce__(self):
        return (Path.touch, (TRAP,))


def damages() -> dict[str, object]:
    trap = pickle.dumps(Trap())

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))

    return {
        "pickle by name": lambda f: (f / "extra.pkl").write_bytes(b"harmless"),
        "torch weights": lambda f: (f / "pytorch_model.bin").write_bytes(b"x"),
        "pickle by first bytes": lambda f: (f / "vocabulary.json").write_bytes(trap),
        "pickle as safetensors": lambda f: (f / "model.safetensors").write_bytes(trap),
        "zip archive": lambda f: (f / "model.bin").write_bytes(b"PK\x03\x04" + bytes(100)),
        "pickle in a folder": lambda f: ((f / "sub").mkdir(), (f / "sub" / "a.json").write_bytes(trap)),
        "link": lambda f: (f / "link.json").symlink_to("/etc/hostname"),
        "truncated": lambda f: (f / "model.bin").write_bytes((f / "model.bin").read_bytes()[:1000]),
        "one bit": lambda f: flip(f / "model.bin"),
        "missing": lambda f: (f / "tokenizer.json").unlink(),
        "empty": lambda f: (f / "model.bin").write_bytes(b""),
        "unlisted": lambda f: (f / "more.json").write_text("{}"),
        "path in the manifest": lambda f: (f / manifest.FILE).write_text(
            (f / manifest.FILE).read_text().replace("config.json", "../config.json")
        ),
    }


@pytest.mark.parametrize("kind", list(damages()))
def test_what_is_damaged_or_could_run_code_is_refused_and_nothing_is_left_behind(kind, context, folder):
    damages()[kind](folder)
    with pytest.raises(PermanentError):
        adoption.adopt(context, folder)
    models = context.settings.data_dir / "models"
    assert not models.is_dir() or not list(models.iterdir())
    assert not TRAP.exists()


def test_truncated_weights_without_a_manifest_are_found_when_they_are_tried_out(context, folder):
    (folder / manifest.FILE).unlink()
    (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:100_000])
    with pytest.raises(KaanError):
        adoption.adopt(context, folder)


def test_a_folder_that_is_not_there_is_said_so(context, tmp_path):
    with pytest.raises(InvalidInput):
        adoption.adopt(context, tmp_path / "nowhere")
