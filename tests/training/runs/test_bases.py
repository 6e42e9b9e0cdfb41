"""What a run may start from, what it needs, and what this machine cannot do, are known before anything is loaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, PermanentError
from ml_backend.models import manifest, registry
from tests.training import spoken
from training.runs import bases, estimates
from training.runs.arguments import Arguments
from training.runs.bases import TWIN_FOLDER
from training.runs.workspace import RATE_HZ, Row
from training.trainers.asr import machine


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    opened = spoken.opened(tmp_path / "data")
    yield opened
    opened.db.dispose()


def test_the_champion_of_a_new_deployment_is_trained_from_its_weights_and_fed_as_its_manifest_says(context):
    base = bases.find(context, "champion")
    assert base.location == str(TWIN_FOLDER)
    assert base.version == registry.champion(context).version
    assert base.window == manifest.read(registry.BUNDLED).window
    assert set(base.languages) == {"hi", "en", "mr"}
    size = bases.size_of(base)
    assert 1_500_000 < size.parameters < 2_500_000


@pytest.mark.parametrize(
    ("name", "location"),
    [
        ("large-v3-turbo", "openai/whisper-large-v3-turbo"), ("turbo", "openai/whisper-large-v3-turbo"),
        ("openai/whisper-small", "openai/whisper-small"), ("somebody/whisper-hindi", "somebody/whisper-hindi"),
    ],
)  # fmt: skip
def test_published_models_are_taken_by_name_with_thirty_second_windows(name, location, context):
    base = bases.find(context, name)
    assert base.location == location
    assert base.window == manifest.WindowPolicy.stock()


def test_an_unknown_base_is_told_what_there_is(context):
    bases.find(context, "champion")
    with pytest.raises(PermanentError, match="no model version"):
        bases.find(context, "nonesuch")


def test_a_folder_with_a_pickle_or_without_safetensors_is_no_base(context, tmp_path):
    folder = Path(shutil.copytree(TWIN_FOLDER, tmp_path / "mine"))
    assert bases.find(context, str(folder)).name == "mine"
    (folder / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(PermanentError) as refused:
        bases.find(context, str(folder))
    assert refused.value.code == "model-file-pickle"
    (folder / "pytorch_model.bin").unlink()
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match="safetensors"):
        bases.find(context, str(folder))


def test_a_version_that_is_there_only_as_it_is_served_cannot_be_trained_and_says_so(context, tmp_path):
    folder = Path(shutil.copytree(registry.BUNDLED, tmp_path / "served"))
    (folder / manifest.FILE).unlink()
    version = registry.register(context, str(folder))
    with pytest.raises(ConfigurationError) as refused:
        bases.find(context, version.version)
    assert refused.value.code == "no-weights"


ROWS = [Row(f"r{n}", "please send it to the new address " * 4, "en", 0, 9 * RATE_HZ) for n in range(400)]


def guess(name: str, folder: Path, memory_share: float = 1.0, **options):
    found, arguments = bases._published(name), Arguments(**options).settled(30.0)
    load = estimates.Load.of(ROWS, found.window, arguments)
    return estimates.estimate(bases.size_of(found), arguments, load, folder=folder, memory_share=memory_share)


def test_a_large_model_needs_what_it_is_known_to_need_and_adapters_need_less(tmp_path):
    full, adapters = (
        guess("large-v3", tmp_path, method=method, device="cpu", batch_s=30.0) for method in ("full", "lora")
    )
    assert 25_000 < full.memory_mb < 60_000
    assert 6_000 < adapters.memory_mb < 0.6 * full.memory_mb
    recomputed, kept = (
        guess("large-v3", tmp_path, gradient_checkpointing=each, device="cpu", batch_s=120.0) for each in (True, False)
    )
    assert recomputed.memory_mb < kept.memory_mb
    assert guess("small", tmp_path, device="cpu").hours < full.hours
    assert adapters.disk_mb < full.disk_mb


def test_time_is_estimated_by_the_processor_s_own_seconds_not_by_how_busy_it_is_now(monkeypatch):
    """A clock on the wall that jumps, as on a machine where everybody computes, changes nothing."""
    quiet = estimates._core_gflops()
    monkeypatch.setattr(estimates.time, "perf_counter", lambda: next(jumping))
    monkeypatch.setattr(estimates.time, "monotonic", lambda: next(jumping))
    jumping = iter(range(0, 100_000, 1000))
    assert 0.2 < estimates._core_gflops() / quiet < 5


def test_a_batch_of_a_published_whisper_is_estimated_by_its_padded_windows(tmp_path):
    few, many = (guess("base", tmp_path, device="cpu", batch_s=seconds) for seconds in (60.0, 240.0))
    assert (few.batch_windows, many.batch_windows) == (2, 8)
    assert few.window_s == many.window_s == 30.0
    assert few.steps == 4 * many.steps


def test_of_a_gpu_only_the_part_that_training_may_take_is_counted(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 60000, 80000\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = [guess("tiny", tmp_path, memory_share=share) for share in (1.0, 0.5)]
    assert [round(one.available_mb / 1.048576) for one in found] == [60_000, 40_000]


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"d_model": 4, "encoder_layers": 2, "decoder_layers": 2}'])
def test_a_folder_that_is_no_whisper_is_said_so(damage, tmp_path):
    (tmp_path / "config.json").write_text(damage)
    (tmp_path / "model.safetensors").write_bytes(b"not tensors at all")
    with pytest.raises(ConfigurationError, match="no Whisper"):
        bases.size_of(bases._of_folder(tmp_path, version=None))


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"precision": "fp16", "device": "cpu"}, "precision-needs-gpu"),
        ({"device": "cuda"}, "gpu-absent"),
        ({"report_to": "mlflow"}, "tracker-missing"),
    ],
)
def test_what_this_machine_cannot_do_is_said_before_anything_is_loaded(options, code, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError) as refused:
        machine.require(Arguments(**options))
    assert refused.value.code == code
