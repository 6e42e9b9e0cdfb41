"""Checks for optional packages, made before a command starts or writes anything.

The serving set (`make demo`, the serving image) runs every command but training; the training set adds torch and what
it needs. A missing module gives a sentence that names the set, not an ImportError in the middle of the work.
"""

from __future__ import annotations

import importlib.util

from ml_backend.errors import ConfigurationError

VERSION = "0.1.0"  # of this release, as in pyproject.toml: a checkout has no package metadata
TRAINING_SET = ("torch", "transformers", "accelerate", "peft", "datasets", "scipy", "safetensors", "soundfile")
TRAINER = ("torch", "transformers", "accelerate")  # without these no trainer starts
_TRAINING_STEP = "Install it: `make environment-training`; in containers, use the training image."
_SERVING_STEP = "Install it again: `make environment-demo`; in containers, build the image anew."


def missing(*modules: str) -> list[str]:
    """Those of the modules that cannot be imported here; none of them is imported for that."""
    return [name for name in modules if not _is_here(name)]


def require(what: str, *modules: str) -> None:
    """ConfigurationError `not-installed` unless all modules are here; `what` begins the sentence, e.g. `Training`."""
    if lacking := missing(*modules):
        raise not_installed(what, *lacking)


def not_installed(what: str, *lacking: str) -> ConfigurationError:
    """The error that names the set to install."""
    training = any(name in TRAINING_SET for name in lacking)
    return ConfigurationError(
        "not-installed",
        f"{what} needs the {'training' if training else 'serving'} set, and {', '.join(lacking)} "
        f"{'is' if len(lacking) == 1 else 'are'} not installed here.",
        _TRAINING_STEP if training else _SERVING_STEP,
    )


def _is_here(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # its parent is missing, or `sys.modules` blocks it
        return False
