"""What ends the trainer's process is told in its result: a full disk, a lost GPU, too little memory."""

import errno
import json

import pytest

from tests.training.trainers.asr.test_checkpoints import made
from training.runs import estimates
from training.runs.arguments import Arguments
from training.runs.workspace import Workspace
from training.trainers import checkpoints, outcome
from training.trainers.asr import __main__ as trainer


@pytest.mark.parametrize(
    ("error", "branch", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "retryable", "disk-full"),
        (Exception("Error while serializing: No space left on device (os error 28)"), "retryable", "disk-full"),
        (
            RuntimeError("CUDA error: launch failure\nCompile with TORCH_USE_CUDA_DSA"),
            "retryable",
            "gpu-lost",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "permanent", "training-out-of-memory"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to "
                "allocate 3686400000 bytes. Error code 12 (Cannot allocate memory)"
            ),
            "permanent",
            "training-out-of-memory",
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "permanent", "training-out-of-memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "permanent", "training-out-of-memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "permanent", "training-out-of-memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "permanent", "training-out-of-memory"),
        (MemoryError(), "permanent", "training-out-of-memory"),
    ],
)
def test_the_reason_is_told_and_the_checkpoint_before_remains(error, branch, code, tmp_path, monkeypatch):
    from training.trainers.asr import fine_tuning

    workspace = Workspace(tmp_path)
    checkpoints.seal(made(workspace.checkpoints, 4))

    def broken(*_, **__):
        made(workspace.checkpoints, 8)
        raise error

    monkeypatch.setattr(fine_tuning, "train", broken)
    assert trainer.main(tmp_path) == 1
    result = workspace.result()
    assert (result["state"], result["branch"], result["code"]) == ("failed", branch, code)
    assert json.dumps(result).count("TORCH_USE") == 0
    if branch == "permanent":
        assert "--gradient-checkpointing" in result["next"]
    assert checkpoints.newest(workspace.checkpoints).name == "checkpoint-4"


def test_a_full_disk_is_known_by_what_is_free_and_half_a_checkpoint_gives_its_room_back(tmp_path, monkeypatch):
    from training.trainers.asr import fine_tuning

    workspace = Workspace(tmp_path)
    checkpoints.seal(made(workspace.checkpoints, 4))
    free = type("Usage", (), {"free": 100})()

    def broken(*_, **__):
        made(workspace.checkpoints, 8)
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 5748160 vs 5748052")

    monkeypatch.setattr(fine_tuning, "train", broken)
    monkeypatch.setattr(outcome.shutil, "disk_usage", lambda folder: free)
    assert trainer.main(tmp_path) == 1
    assert workspace.result()["code"] == "disk-full"
    assert [path.name for path in workspace.checkpoints.iterdir()] == ["checkpoint-4"]


def test_what_nobody_knows_is_left_to_the_log(tmp_path, monkeypatch):
    from training.trainers.asr import fine_tuning

    def broken(*_, **__):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(fine_tuning, "train", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        trainer.main(tmp_path)
    assert Workspace(tmp_path).result() is None


def test_what_to_reduce_is_what_is_not_reduced_yet(tmp_path):
    workspace = Workspace(tmp_path)
    said = []
    for options in (
        {"batch_s": 240.0},
        {"batch_s": 30.0, "method": "lora"},
        {"batch_s": 30.0, "method": "lora", "gradient_checkpointing": True},
    ):
        window = {"max_s": 30.0, "pad_to_s": 30.0}
        workspace.write_plan({"arguments": Arguments(**options).to_json(), "window": window})
        said.append(estimates.too_large(workspace, "Full.").next_step)
    assert said == [
        "Use --batch-s 120 --accumulation 2, --gradient-checkpointing, --method lora, or a smaller base.",
        "Use --gradient-checkpointing, or a smaller base.",
        "Use a smaller base, or a larger machine.",
    ]
