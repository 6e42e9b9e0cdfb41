"""`make gpu` on a machine without a GPU says so, and runs nothing; what it would run holds on a processor."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_prepared_script_says_what_is_missing_and_runs_nothing(tmp_path):
    for tool in ("dirname", "sed"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    command = ["/bin/sh", str(ROOT / "scripts" / "gpu.sh")]
    ran = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "no NVIDIA GPU" in ran.stdout


def test_fetching_wheels_says_so_when_the_index_gives_a_torch_without_cuda(tmp_path):
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    for name in ("gpu.sh", "environment.py"):
        shutil.copy(ROOT / "scripts" / name, scripts)
    pip = tmp_path / "python"  # stands for an interpreter whose index has processor builds only
    pip.write_text("#!/bin/sh\nmkdir -p build/gpu-wheels\n: > build/gpu-wheels/torch-2.13.0+cpu-cp311-any.whl\n")
    pip.chmod(0o755)
    command = ["/bin/sh", str(scripts / "gpu.sh"), "wheels"]
    ran = subprocess.run(command, env={"PATH": "/usr/bin:/bin", "PYTHON": str(pip)}, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "torch without CUDA" in ran.stdout


@pytest.mark.timeout(600)  # half a minute of work, on a machine that may have others
def test_what_a_gpu_would_be_measured_with_runs_to_its_end_on_a_processor(tmp_path):
    """The other parts of the script are the trainer of these with other options."""
    pytest.importorskip("torch")
    parts = ("transcription", "training lora", "conversion and parity", "swap")
    only = [argument for part in parts for argument in ("--only", part)]
    results = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "bench.gpu", "--cpu", *only, "--results", str(results)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=580)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(results.read_text())["parts"]
    assert tuple(found) == parts
    assert found["training lora"]["clips_per_s"] > 0
    assert found["training lora"]["peak_mb"] > 0
    assert found["conversion and parity"]["parity"]["verdict"] == "passed"
