"""Recording -> the model version that transcribes it. For now: the champion, for every recording."""

from __future__ import annotations

from ml_backend import registry
from ml_backend.context import Context


def choose(context: Context, kind: str = "asr", *, language: str = "*", key: str = "") -> registry.Version:
    """The version for one recording; `key` (call id or audio digest) will keep one call on one side of a comparison."""
    return registry.champion(context, kind, language=language)
