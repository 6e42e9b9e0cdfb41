"""Base, arguments and rows -> Estimate: a run's memory, time and disk, to refuse it before it starts.

The batches of one epoch are planned like the run's, so the largest is known; memory is the sum of what it needs, within
a third of the peak measured (`make bench`, `make real`). Time is the number of operations divided by one core's speed
in CPU seconds, because the current load says nothing about the whole run.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from ml_backend import quantities
from ml_backend.errors import PermanentError
from ml_backend.models.manifest import WindowPolicy
from training.runs import workload
from training.runs.arguments import Arguments
from training.runs.bases import Size
from training.runs.batches import Order
from training.runs.workspace import Row, Workspace

_LIBRARIES_MB = 810.0  # torch, transformers, ctranslate2 and their buffers
_POSITIONS_PER_S = 50  # of the encoder
_FLOAT = 4  # bytes
_KEPT = 17  # values that a layer keeps per position for the backward pass, in units of the model's width
_KEPT_CROSS = 5  # in addition per token, by cross-attention
_KEPT_BEFORE = 6  # by the two convolutions, per position
_PASSING = 12  # gradients of the current layer
_BESIDE_ADAPTERS = 1.5  # factor: each adapter's path is kept too (measured)
_MIXED = 0.56  # factor in bfloat16
_MIB = 1.048576
_SAMPLE = 20_000  # rows that an epoch is planned from
_OF_PEAK = 0.55  # part of a plain matrix product's speed that a training step reaches
_OF_PEAK_DECODING = 0.12  # validation writes token by token
_BFLOAT16_GAIN = 1.5
_GPU_GFLOPS = 60_000.0


@dataclass(frozen=True)
class RunEstimate:
    """Memory of one device's process; `hours` of the whole run on this machine."""

    memory_mb: float
    available_mb: float
    hours: float
    disk_mb: float
    free_disk_mb: float
    device: str
    steps: int
    batch_windows: int = 0
    window_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {name: round(value, 2) if isinstance(value, float) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Load:
    """The planned batches of one epoch: the largest, and all together. Seconds are padded ones."""

    windows: int
    window_s: float
    tokens: int  # of one window in the batch with the most
    batches: int
    epoch_s: float
    epoch_tokens: int
    audio_s: float
    validated: int = 0

    @property
    def batch_s(self) -> float:
        return self.windows * self.window_s

    @classmethod
    def of(cls, rows: Sequence[Row], window: WindowPolicy, arguments: Arguments) -> Load:
        """`rows` are those of the workspace; only lengths, texts and splits are used."""
        train = [row for row in rows if row.split == "train"]
        some = train[:: max(1, len(train) // _SAMPLE)]
        labels = [workload.labels_of(row.text) for row in some]
        order = Order(
            list(some), arguments.seed, arguments.batch_s, window, arguments.several_share, arguments.replay_share,
            arguments.tempo, labels,
        )  # fmt: skip
        planned = [
            (len(batch), max(map(order.padded_s, batch)), max(order.tokens(pick.rows) for pick in batch))
            for batch in order.epoch(0)
        ] or [(1, window.pad_to_s or window.max_s, workload.FRAME)]
        windows, window_s, _ = max(planned, key=lambda one: (one[0] * one[1], one[2]))
        near = [one for one in planned if one[0] * one[1] >= 0.9 * windows * window_s]
        scale = len(train) / max(1, len(some))
        return cls(
            windows, window_s, max(count * tokens for count, _, tokens in near) // windows,
            max(1, round(len(planned) * scale)), scale * sum(count * length for count, length, _ in planned),
            round(scale * sum(count * tokens for count, _, tokens in planned)),
            sum(row.duration_s for row in rows),
            min(len(rows) - len(train), 2 * arguments.validation_clips),
        )  # fmt: skip


def estimate(size: Size, arguments: Arguments, load: Load, *, folder: Path, memory_share: float = 1.0) -> RunEstimate:
    """`memory_share` is the share of a GPU's memory that may be used."""
    together = arguments.accumulation * arguments.processes
    steps = arguments.steps or max(1, math.ceil(math.ceil(load.batches * arguments.epochs) / together))
    gpu_mb = _gpu_mb(memory_share) if arguments.device != "cpu" else None
    weights_mb = size.parameters * _FLOAT / 1e6
    checkpoint_mb = weights_mb * (0.15 if arguments.method == "lora" else 3)
    audio_mb = (load.audio_s * 32_000 + (load.audio_s * 16_000 if arguments.cached_features else 0)) / 1e6
    return RunEstimate(
        memory_mb=_memory_mb(size, arguments, load, on_gpu=gpu_mb is not None),
        available_mb=gpu_mb or psutil.virtual_memory().available / 1e6,
        hours=_hours(size, arguments, load, steps, on_gpu=gpu_mb is not None),
        disk_mb=3 * checkpoint_mb + 2.5 * weights_mb + audio_mb,
        free_disk_mb=shutil.disk_usage(folder).free / 1e6,
        device="cuda" if gpu_mb else "cpu",
        steps=steps,
        batch_windows=load.windows,
        window_s=load.window_s,
    )


def refuse_what_cannot_fit(
    found: RunEstimate, arguments: Arguments, *, min_free_disk_mb: float, padded_s: float | None = None
) -> None:
    """PermanentError with the needed and available amounts and the next step."""
    needed = found.memory_mb * (arguments.processes if found.device == "cpu" else 1)
    if needed > found.available_mb:
        raise PermanentError(
            "training-memory", f"Training needs about {_gb(needed)} of memory and {_gb(found.available_mb)} are free.",
            advice(arguments, padded_s, windows=found.batch_windows),
        )  # fmt: skip
    if found.hours > arguments.max_hours:
        raise PermanentError(
            "training-time",
            f"Training takes about {quantities.duration(3600 * found.hours)} on this machine and may take "
            f"{quantities.duration(3600 * arguments.max_hours)}.",
            "Lower --epochs, use a smaller base or another machine, or raise --max-hours.",
        )
    if found.disk_mb > found.free_disk_mb - min_free_disk_mb:
        raise PermanentError(
            "training-disk",
            f"Training needs about {_gb(found.disk_mb)} of disk and {_gb(found.free_disk_mb)} are free.",
            "Free some space, or set DATA_DIR to a larger disk.",
        )  # fmt: skip


def _memory_mb(size: Size, arguments: Arguments, load: Load, *, on_gpu: bool) -> float:
    """Peak memory: in a step, or while the result is averaged, converted and compared."""
    mixed = arguments.precision in ("bf16", "fp16") or (arguments.precision == "auto" and (on_gpu or _bfloat16()))
    factor = _MIXED if mixed else 1.0
    unit = size.width * _FLOAT * factor
    positions, tokens = load.batch_s * _POSITIONS_PER_S, load.windows * load.tokens
    encoder, decoder = positions * _KEPT * unit, tokens * (_KEPT + _KEPT_CROSS) * unit + positions * 2 * unit
    if arguments.gradient_checkpointing:  # the input of each layer, and one complete layer
        kept = positions * size.width * _FLOAT
        states = encoder + decoder + size.encoder_layers * kept + size.decoder_layers * tokens * size.width * _FLOAT
    else:
        states = size.encoder_layers * encoder + size.decoder_layers * decoder
    states += positions * (_KEPT_BEFORE + _PASSING) * unit
    if arguments.method == "lora":
        states *= _BESIDE_ADAPTERS
    logits = tokens * size.vocabulary * _FLOAT * 3
    held, gradients = _held(size, arguments)
    if mixed:
        held += size.parameters * 2
    step = max(held + states + logits + (gradients if arguments.accumulation > 1 else 0), held + gradients)
    after = size.parameters * _FLOAT * (3 if arguments.average else 1.6)
    return (max(step, after) / 1e6) + _LIBRARIES_MB * (0.6 if on_gpu else 1.0)


def _held(size: Size, arguments: Arguments) -> tuple[float, float]:
    """(weights and optimiser state, gradients), in bytes."""
    weights = size.parameters * _FLOAT
    if arguments.method != "lora":
        return weights * 3.75, weights  # including a copy while the best step is written
    adapters = 14 * arguments.lora_rank * size.width * (size.encoder_layers + 1.6 * size.decoder_layers)
    return weights + adapters * _FLOAT * 3.0, adapters * _FLOAT


def _hours(size: Size, arguments: Arguments, load: Load, steps: int, *, on_gpu: bool) -> float:
    """Operations of all steps and validations, divided by this device's operations per hour."""
    together = arguments.accumulation * arguments.processes
    epochs = steps * together / load.batches
    forward = _forward(size, load.epoch_s, load.epoch_tokens, window_s=load.window_s)
    times = (2.1 if arguments.method == "lora" else 3.0) + (1.0 if arguments.gradient_checkpointing else 0.0)
    training = forward * times * epochs / arguments.processes
    share = load.validated / max(1e-9, load.epoch_s / load.window_s)
    validations = 3 + (min(10, steps) if not arguments.validate_every else steps // arguments.validate_every)
    validations += 5 if arguments.average < 0 else 0
    validation = forward * share * validations
    if on_gpu:
        return (training / _GPU_GFLOPS + validation / _GPU_GFLOPS * 4) / 1e9 / 3600
    cores = (arguments.threads or _cores()) / (arguments.processes if arguments.threads else 1)
    rate = _core_gflops() * cores * 1e9
    gain = _BFLOAT16_GAIN if arguments.precision in ("auto", "bf16") and _bfloat16() else 1.0
    return (training / (rate * _OF_PEAK * gain) + validation / (rate * _OF_PEAK_DECODING)) / 3600


def _forward(size: Size, seconds: float, tokens: int, *, window_s: float) -> float:
    """Operations of one forward pass over this audio and text."""
    width, positions, window = size.width, seconds * _POSITIONS_PER_S, window_s * _POSITIONS_PER_S
    encoder = positions * size.encoder_layers * (24 * width**2 + 4 * window * width)
    crossing = positions * size.decoder_layers * 4 * width**2
    decoder = tokens * size.decoder_layers * (28 * width**2 + 4 * window * width)
    return encoder + crossing + decoder + tokens * 2 * size.vocabulary * width


def _cores() -> int:
    """Physical cores, because a core's second thread adds little to arithmetic."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def _bfloat16() -> bool:
    """Whether this processor has bfloat16 arithmetic, by the same test as the trainer's library."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _core_gflops() -> float:
    """One core's speed per CPU second, measured on small matrix products, which use one thread.

    The best of several tries counts, because other load will not last for the whole run.
    """
    side, count = 64, 64
    a = np.ones((count, side, side), dtype=np.float32)
    best = 0.0
    for _ in range(8):
        began = time.thread_time()
        for _ in range(4):
            a @ a
        best = max(best, 4 * count * 2 * side**3 / max(1e-6, time.thread_time() - began) / 1e9)
    return max(0.5, best)


def _gpu_mb(share: float) -> float | None:
    """Free memory of the first GPU, at most the permitted share; None without a GPU."""
    command = ["nvidia-smi", "--query-gpu=memory.free,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        free, total = (float(each) for each in done.stdout.splitlines()[0].split(","))
        return min(free, total * share) * _MIB
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _gb(mb: float) -> str:
    return f"{mb / 1000:.1f} GB" if mb >= 1000 else f"{mb:.0f} MB"


OUT_OF_MEMORY = "training-out-of-memory"
_LEAST_BATCH_S = 10.0


def advice(arguments: Arguments, padded_s: float | None, *, windows: int = 0) -> str:
    """`padded_s`: the padded length of every window, None where each keeps its own. `windows`: of the largest batch."""
    found = []
    if padded_s and (count := windows or int(arguments.batch_s / padded_s)) > 1:
        found.append(f"--batch-s {max(1, count // 2) * padded_s:g} --accumulation {arguments.accumulation * 2}")
    elif not padded_s and arguments.batch_s > _LEAST_BATCH_S:
        found.append(f"--batch-s {arguments.batch_s / 2:g} --accumulation {arguments.accumulation * 2}")
    if not arguments.gradient_checkpointing:
        found.append("--gradient-checkpointing")
    if arguments.method != "lora":
        found.append("--method lora")
    return f"Use {', '.join(found)}, or a smaller base." if found else "Use a smaller base, or a larger machine."


def too_large(workspace: Workspace, sentence: str) -> PermanentError:
    """The error for a run that is out of memory: a retry would fail too, so it says what to reduce."""
    plan = workspace.plan()
    if workspace.learnt() is not None:
        return PermanentError(OUT_OF_MEMORY, sentence, "The weights are kept: give the machine more memory.")
    if not plan:
        return PermanentError(OUT_OF_MEMORY, sentence, advice(Arguments(), 30.0))
    padded_s = (plan.get("window") or {}).get("pad_to_s")
    return PermanentError(OUT_OF_MEMORY, sentence, advice(Arguments.from_json(plan["arguments"]), padded_s))
