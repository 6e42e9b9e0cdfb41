"""A base, a window and options -> the trainer run for a few steps: memory against its estimate, and clips per second.

The rows are noise with words: what is measured is work, not learning. Peak memory is what the system counted for the
trainer's process; on a GPU what nvidia-smi saw, polled.
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend.models.manifest import WindowPolicy
from training.runs import bases, estimates
from training.runs.arguments import Arguments
from training.runs.workspace import RATE_HZ, Row, Workspace

ROOT = Path(__file__).parents[1]
_WORDS = "the parcel did not arrive please send another order to my address".split()  # noqa: SIM905
_WORDS_PER_S = 2.5
MEDIAN_S, MOST_S = 4.0, 30.0


def lengths(count: int, *, seed: int = 1, most_s: float = MOST_S) -> list[float]:
    """Of samples as projects have them: half of them up to 4 s, some up to 30 s."""
    draw = random.Random(seed)
    return [min(most_s, max(0.5, draw.lognormvariate(np.log(MEDIAN_S), 0.7))) for _ in range(count)]


def measured(
    folder: Path, base: Path, window: WindowPolicy, seconds: list[float], *, until: str = "", limit_s: float = 600.0,
    **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """`until` is the phase that is waited for; empty: the end, with conversion and parity."""
    workspace, arguments = Workspace(folder), _arguments(window, options)
    folder.mkdir(parents=True)
    rows = workspace.write_rows(_rows(seconds))
    workspace.write_plan(
        {
            "arguments": arguments.to_json(), "base": str(base), "base_version": None, "base_name": "base",
            "name": "measured", "window": asdict(window), "languages": ["en"], "memory_share": 1.0,
            "trained_on": "noise",
        }
    )  # fmt: skip
    size = bases.size_of(bases.Base(str(base), "base", window))
    assert size is not None  # noqa: S101 - a folder
    guess = estimates.estimate(size, arguments, estimates.Load.of(rows, window, arguments), folder=folder)
    peak_mb = _run(workspace, on_gpu=guess.device == "cuda", until=until, limit_s=limit_s)
    result = workspace.result() or {}
    steps = [line for line in workspace.progress() if line["phase"] == "training" and line.get("at")]
    took = steps[-1]["at"] - steps[0]["at"] if len(steps) > 1 else None
    clips = guess.batch_windows * arguments.accumulation * (steps[-1]["step"] - steps[0]["step"]) if took else 0
    return {
        "estimate_mb": round(guess.memory_mb), "peak_mb": round(peak_mb),
        "ratio": round(guess.memory_mb / max(1.0, peak_mb), 2), "windows": guess.batch_windows,
        "clips_per_s": round(clips / took, 2) if took else None, "state": result.get("state"),
        "parity": result.get("parity"), "device": guess.device,
    }  # fmt: skip


def _arguments(window: WindowPolicy, options: dict[str, Any]) -> Arguments:
    usual = {"steps": 3, "validate_every": 3, "validation_clips": 2, "noise_share": 0.0}
    return Arguments(**{**usual, **options}).settled(window.pad_to_s)


def _rows(seconds: list[float]) -> Iterator[tuple[Row, npt.NDArray[np.float32]]]:
    draw, noise = random.Random(1), np.random.default_rng(1)
    for number, length in enumerate([*seconds, 3.0, 3.0]):
        text = " ".join(draw.choice(_WORDS) for _ in range(max(1, int(length * _WORDS_PER_S))))
        split = "train" if number < len(seconds) else "validation"
        wave = (noise.standard_normal(int(length * RATE_HZ)) * 0.05).astype(np.float32)
        yield Row(f"row-{number}", text, "en", 0, 0, split, speaker=f"s{number % 3}"), wave


def _run(workspace: Workspace, *, on_gpu: bool, until: str, limit_s: float) -> float:
    """Megabytes at the most."""
    command = [sys.executable, "-m", "training.trainers.asr", str(workspace.folder), "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    deadline, peak_mb = time.monotonic() + limit_s, 0.0
    before_mb = _gpu_mb() if on_gpu else 0.0
    with (workspace.folder / "trainer.log").open("wb") as log:
        trainer = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        while trainer.poll() is None:
            peak_mb = max(peak_mb, _gpu_mb() - before_mb if on_gpu else _resident_mb(trainer.pid))
            reached = until and any(line["phase"] == until for line in workspace.progress())
            if reached or time.monotonic() > deadline:
                trainer.kill()
                trainer.wait()
            time.sleep(0.05)
    return peak_mb


def _resident_mb(pid: int) -> float:
    """The high-water mark, which the system keeps: nothing is missed between two looks."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6


def _gpu_mb() -> float:
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return float(done.stdout.splitlines()[0]) * 1.048576
