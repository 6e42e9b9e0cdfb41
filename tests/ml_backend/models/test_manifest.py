"""A model folder that differs from its manifest is never loaded."""

import json
from pathlib import Path

import pytest

from ml_backend.errors import PermanentError
from ml_backend.models import manifest
from ml_backend.models.manifest import WindowPolicy

WINDOW = WindowPolicy(max_s=8.0, margin_s=0.2, max_padding_s=0.6, split_pause_s=0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.bin").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    write(tmp_path)
    return tmp_path


def write(folder: Path, window: WindowPolicy = WINDOW) -> manifest.Manifest:
    return manifest.write(folder, name="tiny", languages=("hi", "en"), window=window, trained_on="nothing")


def edit(folder: Path, **changes: object) -> None:
    path = folder / manifest.FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refusal(folder: Path) -> str:
    with pytest.raises(PermanentError) as caught:
        manifest.verify(folder)
    assert caught.value.sentence
    assert caught.value.next_step
    return caught.value.code


def test_what_is_written_reads_back_the_same(folder):
    assert manifest.read(folder) == write(folder)
    assert manifest.verify(folder).window == WINDOW


def test_the_same_files_have_the_same_version_and_other_files_another(folder):
    first = manifest.read(folder).model_version
    assert write(folder).model_version == first
    assert first.startswith("tiny-")
    assert len(first) == len("tiny-") + 8
    (folder / "model.bin").write_bytes(b"Weights")
    assert write(folder).model_version != first


def test_a_changed_file_is_refused_even_at_the_same_size(folder):
    (folder / "model.bin").write_bytes(b"Weights")
    assert refusal(folder) == "model-file-changed"


def test_a_truncated_file_is_refused(folder):
    (folder / "model.bin").write_bytes(b"wei")
    assert refusal(folder) == "model-file-changed"


def test_a_missing_file_is_refused(folder):
    (folder / "config.json").unlink()
    assert refusal(folder) == "model-file-missing"


def test_a_file_that_the_manifest_does_not_list_is_refused(folder):
    (folder / "extra.json").write_text("{}")
    assert refusal(folder) == "model-file-unlisted"


def test_a_folder_without_manifest_is_refused(folder):
    (folder / manifest.FILE).unlink()
    assert refusal(folder) == "manifest-missing"


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"format": 2}', '{"format": 1}'])
def test_a_manifest_that_is_not_one_is_refused(folder, text):
    (folder / manifest.FILE).write_text(text)
    assert refusal(folder) == "manifest-broken"


@pytest.mark.parametrize(
    "window",
    [{}, {"max_s": 0}, {"max_s": "8"}, {"max_s": True}, {"max_s": 8, "margin_s": -1}, {"max_s": 8, "pad_to_s": 4},
     {"max_s": 8, "unknown": 1}, None],
)  # fmt: skip
def test_a_window_that_cannot_be_obeyed_is_refused(folder, window):
    edit(folder, window=window)
    assert refusal(folder) == "manifest-broken"


def test_a_version_that_the_files_do_not_have_is_refused(folder):
    edit(folder, model_version="tiny-00000000")
    assert refusal(folder) == "manifest-broken"


@pytest.mark.parametrize("name", ["../model.bin", "/etc/passwd"])
def test_a_path_outside_the_folder_is_refused(folder, name):
    edit(folder, files={name: {"sha256": "0" * 64, "size_bytes": 1}})
    assert refusal(folder) == "manifest-broken"


@pytest.mark.parametrize("name", ["weights.pkl", "model.pt", "pytorch_model.bin", "state.CKPT", "training_args.bin"])
def test_a_pickle_is_refused_by_its_name(folder, name):
    (folder / name).write_bytes(b"harmless")
    assert refusal(folder) == "model-file-pickle"
    with pytest.raises(PermanentError):
        write(folder)


@pytest.mark.parametrize("head", [b"\x80\x04\x95", b"\x80\x02}q", b"PK\x03\x04rest"])
def test_a_pickle_is_refused_by_its_first_bytes_under_an_innocent_name(folder, head):
    (folder / "model.bin").write_bytes(head + b"weights")
    assert refusal(folder) == "model-file-pickle"


def test_a_stock_whisper_is_padded_to_thirty_seconds():
    assert WindowPolicy.stock() == WindowPolicy(max_s=30.0, pad_to_s=30.0)
