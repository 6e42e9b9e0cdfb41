"""The command that makes the model runs through all its stages, and goes on where it stopped."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ml_backend.models import manifest

ROOT = Path(__file__).parents[3]


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "training.demo_model", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.timeout(600)
def test_the_quick_recipe_makes_a_model_that_loads_and_a_second_run_only_exports(tmp_path):
    where = ["--work", str(tmp_path / "work"), "--model", str(tmp_path / "model"), "--twin", str(tmp_path / "twin")]
    said = run("make", "--quick", *where)
    assert "speech:" in said
    assert "step 4 of 4" in said
    first = manifest.verify(tmp_path / "model")
    from ml_backend import settings
    from ml_backend.asr.engine import Transcriber

    Transcriber.load(tmp_path / "model", settings=settings.load(), temperatures=()).self_check()
    said = run("make", "--quick", *where)
    assert "step" not in said
    assert manifest.verify(tmp_path / "model") == first


def test_every_command_has_help():
    for command in ("make", "save", "calls", "evaluate"):
        assert "usage" in run(command, "--help")
