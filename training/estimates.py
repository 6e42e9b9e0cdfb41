"""Base, arguments and rows -> Estimate: memory, time and disk a run will need, so that it is refused before it starts.

Sums of what must be held, with factors measured on small models; right within a factor of two, which is what a refusal
needs. The time left is measured once a run has begun.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from ml_backend.errors import PermanentError
from training.arguments import Arguments
from training.bases import Size

_LIBRARIES_MB = 900.0  # torch, transformers and their buffers
_STATES_PER_S = 50  # of the encoder, per second of audio
_TOKENS_PER_S = 5
_KEPT_PER_STATE = 34 * 4  # bytes of one layer per state and unit of width, in float32
_STEP_S = 0.3  # of one step beside arithmetic
_OF_PEAK = 0.35  # of a plain matrix product's speed
_GPU_GFLOPS = 30_000.0


@dataclass(frozen=True)
class Estimate:
    """Memory of one device's process; `hours` of the whole run on this machine."""

    memory_mb: float
    available_mb: float
    hours: float
    disk_mb: float
    free_disk_mb: float
    device: str
    steps: int

    def to_json(self) -> dict[str, Any]:
        return {name: round(value, 2) if isinstance(value, float) else value for name, value in asdict(self).items()}


def estimate(
    size: Size, arguments: Arguments, *, train_s: float, max_s: float, padded_s: float | None, clips: int, folder: Path,
    memory_share: float = 1.0,
) -> Estimate:  # fmt: skip
    """`padded_s` is the length every window is padded to, None when windows keep their own. `memory_share` is the part
    of a GPU's memory that may be taken."""
    seen_s = clips * padded_s if padded_s else train_s * 1.15
    batch_s = max(arguments.batch_s, padded_s or max_s)
    per_step = batch_s * arguments.accumulation * arguments.processes
    steps = arguments.steps or max(1, math.ceil(seen_s * arguments.epochs / per_step))
    gpu_mb = _gpu_mb(memory_share) if arguments.device != "cpu" else None
    flops = 6.0 * size.parameters * steps * per_step * (_STATES_PER_S * 0.55 + _TOKENS_PER_S * 0.45)
    rate = _GPU_GFLOPS if gpu_mb else _cpu_gflops() * _OF_PEAK
    hours = (flops / (rate * 1e9) / arguments.processes + steps * _STEP_S) / 3600
    weights_mb = size.parameters * 4 / 1e6
    checkpoint_mb = weights_mb * (0.15 if arguments.method == "lora" else 3)
    audio_mb = (train_s * 32_000 + (train_s * 16_000 if arguments.cached_features else 0)) / 1e6
    return Estimate(
        memory_mb=_memory_mb(size, arguments, batch_s),
        available_mb=gpu_mb or psutil.virtual_memory().available / 1e6,
        hours=hours,
        disk_mb=3 * checkpoint_mb + 2.5 * weights_mb + audio_mb,
        free_disk_mb=shutil.disk_usage(folder).free / 1e6,
        device="cuda" if gpu_mb else "cpu",
        steps=steps,
    )


def refuse_what_cannot_fit(found: Estimate, arguments: Arguments, *, min_free_disk_mb: float) -> None:
    """PermanentError with the two numbers and the way out."""
    needed = found.memory_mb * (arguments.processes if found.device == "cpu" else 1)
    if needed > found.available_mb:
        raise PermanentError(
            "training-memory", f"Training needs about {_gb(needed)} of memory and {_gb(found.available_mb)} are free.",
            "Use --method lora, --gradient-checkpointing, a smaller --batch-s with more --accumulation, or a smaller "
            "base.",
        )  # fmt: skip
    if found.hours > arguments.max_hours:
        raise PermanentError(
            "training-time",
            f"Training takes about {found.hours:.1f} h on this machine and may take {arguments.max_hours:g} h.",
            "Lower --epochs, use a smaller base or another machine, or raise --max-hours.",
        )
    if found.disk_mb > found.free_disk_mb - min_free_disk_mb:
        raise PermanentError(
            "training-disk",
            f"Training needs about {_gb(found.disk_mb)} of disk and {_gb(found.free_disk_mb)} are free.",
            "Free some space, or set DATA_DIR to a larger disk.",
        )  # fmt: skip


def _memory_mb(size: Size, arguments: Arguments, batch_s: float) -> float:
    """Weights, what the optimiser keeps, and what the backward pass needs of the forward one."""
    mixed = arguments.precision in ("bf16", "fp16")
    if arguments.method == "lora":
        layers = size.encoder_layers + 1.6 * size.decoder_layers
        adapters = 14 * arguments.lora_rank * size.width * layers
        held = size.parameters * 4 + adapters * 16
    else:
        held = size.parameters * 16
    states = batch_s * _STATES_PER_S * size.width * size.encoder_layers * _KEPT_PER_STATE
    states += batch_s * _TOKENS_PER_S * size.width * size.decoder_layers * _KEPT_PER_STATE * 1.5
    if arguments.gradient_checkpointing:
        states /= max(2.0, size.encoder_layers * 0.7)
    if mixed:
        states, held = states * 0.55, held + size.parameters * 2
    logits = batch_s * _TOKENS_PER_S * 52_000 * 4 * 3 if size.width > 256 else 0
    return (held + states + logits) / 1e6 + _LIBRARIES_MB


def _cpu_gflops() -> float:
    """Measured now, because a busy machine is slow: a moment of plain matrix products."""
    side = 512
    a = np.ones((side, side), dtype=np.float32)
    a @ a
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < 0.15:
        a @ a
        done += 1
    return max(0.5, 2 * side**3 * done / (time.perf_counter() - began) / 1e9)


def _gpu_mb(share: float) -> float | None:
    """What is free of the first GPU's memory, at most the share of it that may be taken; None without a GPU."""
    command = ["nvidia-smi", "--query-gpu=memory.free,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        free, total = (float(each) for each in done.stdout.splitlines()[0].split(","))
        return min(free, total * share) * 1.048576
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _gb(mb: float) -> str:
    return f"{mb / 1000:.1f} GB" if mb >= 1000 else f"{mb:.0f} MB"
