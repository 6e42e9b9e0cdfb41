"""A model made elsewhere becomes a version only after every file was looked at; nothing in it can run code."""

from __future__ import annotations

import json
import pickle
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend.asr.engine import Transcriber
from ml_backend.context import Context
from ml_backend.errors import InvalidInput, KaanError, PermanentError
from ml_backend.models import manifest, model_files, registry
from ml_backend.serving import adoption
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
    registry.verified(context, registry.find(context, version.version))


def test_a_folder_without_a_manifest_gets_one_for_thirty_second_windows(context, folder):
    (folder / manifest.FILE).unlink()
    version = adoption.adopt(context, folder, name="other")
    described = manifest.verify(Path(model_files.place(context, version.location)))
    assert version.version.startswith("other-")
    assert described.window == manifest.WindowPolicy.stock()
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
        "old pickle": lambda f: (f / "vocabulary.json").write_bytes(pickle.dumps(Trap(), protocol=0)),
        "old pickle of a list": lambda f: (f / "vocabulary.json").write_bytes(pickle.dumps([Trap()], protocol=0)),
        "old pickle of a table": lambda f: (f / "vocabulary.json").write_bytes(pickle.dumps({"w": Trap()}, protocol=1)),
        "name that is a path": lambda f: (f / manifest.FILE).write_text(
            (f / manifest.FILE).read_text().replace(manifest.read(f).name, "../../away")
        ),
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
    with pytest.raises(PermanentError) as refused:
        adoption.adopt(context, folder)
    if "pickle" in kind:
        assert refused.value.code == "model-file-pickle"
    models = context.settings.data_dir / "models"
    assert not models.is_dir() or not list(models.iterdir())
    assert not TRAP.exists()


def tokenizer(path: Path, **changes: object) -> None:
    body = json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))
    model = {**body["model"], **{name: value for name, value in changes.items() if name in ("vocab", "merges")}}
    body.update({name: value for name, value in changes.items() if name not in model}, model=model)
    (path / "tokenizer.json").write_text(json.dumps(body), encoding="utf-8")


EXCESSES = {
    "a vocabulary of a million": lambda f: (f / "vocabulary.json").write_text(json.dumps(["x"] * 600_000)),
    "a tokenizer of a million": lambda f: tokenizer(f, vocab={str(n): n for n in range(600_000)}),
    "a token of a megabyte": lambda f: tokenizer(f, vocab={"x" * 1_000_000: 1}),
    "a token far down the table": lambda f: tokenizer(f, added_tokens=[{"id": 2**40, "content": "<|hi|>"}]),
    "a token before the table": lambda f: tokenizer(f, vocab={"a": -5}),
    "nested lists": lambda f: (f / "config.json").write_text("[" * 100_000 + "]" * 100_000),
    "nested tables": lambda f: (f / "config.json").write_text('{"a":' * 5_000 + "1" + "}" * 5_000),
    "unclosed lists": lambda f: (f / "preprocessor_config.json").write_text("[" * 10_000),
    "no JSON": lambda f: (f / "config.json").write_text("alignment"),
    "a file of many megabytes": lambda f: (f / "vocabulary.json").write_bytes(b"[" + b" " * (65 << 20) + b"]"),
    "thousands of files": lambda f: [(f / f"{n}.txt").touch() for n in range(1100)],
    "tables of a terabyte": lambda f: (f / "preprocessor_config.json").write_text(
        '{"feature_size": 1e6, "n_fft": 400}'
    ),
    "windows of a year": lambda f: (f / "preprocessor_config.json").write_text('{"chunk_length": 31536000}'),
}


@pytest.mark.parametrize("kind", list(EXCESSES))
def test_what_is_larger_or_deeper_than_any_model_is_refused_before_it_is_parsed(kind, context, folder, monkeypatch):
    (folder / manifest.FILE).unlink()
    EXCESSES[kind](folder)
    monkeypatch.setattr(Transcriber, "load", lambda *a, **k: pytest.fail("it was loaded"))
    with pytest.raises(PermanentError) as refused:
        adoption.adopt(context, folder, name="made-elsewhere")
    assert refused.value.code in ("model-file-too-much", "model-file-broken")
    assert len(str(refused.value)) < 400


def test_brackets_inside_text_are_not_nesting():
    assert adoption._depth(json.dumps({"a": ["[[[", '{{\\"[[', [1]]}).encode()) == 3


def test_truncated_weights_without_a_manifest_are_found_when_they_are_tried_out(context, folder):
    (folder / manifest.FILE).unlink()
    (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:100_000])
    with pytest.raises(KaanError):
        adoption.adopt(context, folder)


@pytest.mark.parametrize("name", ["../away", "a/b", "..", "x" * 300, "two words"])
def test_a_name_that_is_no_name_is_refused_before_anything_is_written_there(name, context, folder, tmp_path):
    (folder / manifest.FILE).unlink()
    with pytest.raises(PermanentError, match="no name for a model"):
        adoption.adopt(context, folder, name=name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "elsewhere"]


def test_a_version_that_would_be_fed_otherwise_than_it_was_registered_is_refused(context, folder):
    version = adoption.adopt(context, folder)
    path = Path(model_files.place(context, version.location)) / manifest.FILE
    for old, new in (('"max_s": 8.0', '"max_s": 30.0'), ('"hi"', '"ta"')):
        whole = path.read_text()
        assert old in whole
        path.write_text(whole.replace(old, new))
        with pytest.raises(PermanentError) as refused:
            registry.verified(context, registry.find(context, version.version))
        assert refused.value.code == "model-file-changed"
        path.write_text(whole)
    registry.verified(context, registry.find(context, version.version))


def test_a_folder_that_is_not_there_is_said_so(context, tmp_path):
    with pytest.raises(InvalidInput):
        adoption.adopt(context, tmp_path / "nowhere")
