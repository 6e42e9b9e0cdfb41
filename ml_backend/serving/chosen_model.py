"""`--model` of a command -> where its files lie: the champion of this deployment, a version, a folder, or `bundled`."""

from __future__ import annotations

from pathlib import Path

from ml_backend import settings
from ml_backend.context import Context, open_context
from ml_backend.errors import PermanentError
from ml_backend.models import kinds, registry
from ml_backend.serving import default_model

BUNDLED = "bundled"
MODEL_HELP = "champion, a version from `models list`, a folder, or bundled; the champion by default."
"""The help of every command's `--model`."""


def location(kind: str, model: str = "", *, language: str = registry.ANY_LANGUAGE) -> Path | str:
    """Without a name: the champion of a language where this deployment has a database, else the bundled model."""
    if model == BUNDLED:
        return kinds.BUNDLED[kind]
    if model and Path(model).is_dir():
        return Path(model)
    chosen = settings.load()
    if chosen.database.startswith("sqlite") and not (chosen.data_dir / "kaan.db").is_file():
        if not model:
            return kinds.BUNDLED[kind]
        raise PermanentError(  # opening the database would make an empty one, and the next command would look there
            "unknown-model-version", f"There is no model version {model[:80]!r}: no database is here yet.",
            "Name a folder, or `bundled`.",
        )  # fmt: skip
    return of_version(open_context(chosen), kind, model, language=language)


def of_version(context: Context, kind: str, version: str = "", *, language: str = registry.ANY_LANGUAGE) -> str:
    """The verified files of a registered version of this kind; of the language's champion without one."""
    default_model.ensure(context, kind)
    found = registry.find(context, version or registry.CHAMPION, kind=kind, language=language)
    kinds.require(found, kind)
    return registry.verified(context, found)
