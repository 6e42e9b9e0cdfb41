"""`make gpu` on a machine without a GPU says so, and runs nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_prepared_script_says_what_is_missing_and_runs_nothing(tmp_path):
    for tool in ("dirname", "sed"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    command = ["/bin/sh", str(ROOT / "scripts" / "gpu.sh")]
    ran = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "no NVIDIA GPU" in ran.stdout
