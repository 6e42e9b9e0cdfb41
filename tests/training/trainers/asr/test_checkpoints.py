"""Only a checkpoint that is whole, byte by byte, is gone on from."""

import pytest

from training.trainers import checkpoints


def made(folder, step):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(bytes(range(200)))
    (path / "trainer_state.json").write_text("{}")
    return path


def test_the_newest_sealed_checkpoint_is_found_and_a_newer_half_one_is_deleted(tmp_path):
    for step in (2, 10, 9):
        checkpoints.seal(made(tmp_path, step))
    half = made(tmp_path, 11)
    assert checkpoints.newest(tmp_path).name == "checkpoint-10"
    assert not half.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "model.safetensors").unlink(),
        lambda path: (path / "model.safetensors").write_bytes(b""),
        lambda path: (path / "model.safetensors").write_bytes(bytes([1, *range(1, 200)])),
        lambda path: (path / "seal.json").write_text('{"files": {}}'),
        lambda path: (path / "seal.json").write_text("{"),
        lambda path: (path / "seal.json").write_text("[]"),
    ],
)
def test_a_damaged_checkpoint_is_never_gone_on_from(damage, tmp_path):
    checkpoints.seal(made(tmp_path, 4))
    path = made(tmp_path, 8)
    checkpoints.seal(path)
    damage(path)
    assert checkpoints.newest(tmp_path).name == "checkpoint-4"


def test_a_folder_without_checkpoints_begins_at_the_beginning(tmp_path):
    assert checkpoints.newest(tmp_path) is None
