"""Arguments -> nothing, or the error that this machine cannot train so. Called before anything is loaded."""

from __future__ import annotations

import importlib.util

import torch

from ml_backend.errors import ConfigurationError
from training.runs.arguments import Arguments
from training.trainers.asr import loop

_TRACKERS = {"tensorboard": ("tensorboard", "tensorboardX"), "mlflow": ("mlflow",)}


def require(arguments: Arguments) -> None:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if arguments.device == "cuda" and not gpus:
        raise ConfigurationError(
            "gpu-absent", "This run wants a GPU and this machine shows none.", "Use --device auto, or another machine."
        )
    on_gpu = bool(gpus) and arguments.device != "cpu"
    if arguments.precision == "fp16" and not on_gpu:
        raise ConfigurationError(
            "precision-needs-gpu", "Half precision (fp16) needs a GPU.", "Use --precision auto, or fp32."
        )
    if arguments.precision == "bf16" and not loop.bfloat16_pays(on_gpu):
        raise ConfigurationError(
            "precision-emulated",
            "This processor has no bfloat16 arithmetic: emulated, it is many times slower than fp32.",
            "Use --precision auto, or fp32.",
        )
    if on_gpu and arguments.processes > gpus:
        raise ConfigurationError(
            "too-few-gpus",
            f"This run wants {arguments.processes} GPUs and the machine has {gpus}.",
            "Lower --processes and raise --accumulation by the same factor.",
        )
    names = _TRACKERS.get(arguments.report_to, ())
    if names and not any(importlib.util.find_spec(name) for name in names):
        raise ConfigurationError(
            "tracker-missing",
            f"{arguments.report_to} is not installed.",
            f"pip install {names[0]}, or --report-to none.",
        )


def limit_memory(arguments: Arguments, share: float) -> None:
    """Use no more than this share of the memory of a GPU that also serves calls."""
    if arguments.device != "cpu" and torch.cuda.is_available():
        for device in range(torch.cuda.device_count()):
            torch.cuda.set_per_process_memory_fraction(share, device)
