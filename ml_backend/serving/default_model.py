"""ASR_MODEL -> the champion of a deployment without a promotion."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.errors import RetryableError
from ml_backend.models import kinds, manifest, model_files, registry
from ml_backend.models.registry import ANY_LANGUAGE, BUNDLED, CHAMPION, Version
from ml_backend.settings import Settings

_WHY = {kinds.ASR: "ASR_MODEL names it"}
_OURSELVES = "kaan"  # in the history: set from ASR_MODEL at start, not by a person or a promotion


def ensure(context: Context, kind: str = kinds.ASR) -> None:
    """Make the model in ASR_MODEL the champion, unless a person or a promotion chose another.

    For the other kinds it is the bundled model.

    Safe to race and to repeat. A new bundled model or a changed ASR_MODEL moves an alias that this function set; an
    alias that a person or a promotion moved stays.
    """
    serving = registry.aliased(context, kind)
    if serving is not None and _moved_by(context, kind) != _OURSELVES:
        return
    version = _default(context, kind)
    if serving is not None and serving.id == version.id:
        return
    try:
        revision = serving.revision if serving else 0
        registry.move_alias(
            context, version, expected_revision=revision, who=_OURSELVES, why=_WHY.get(kind, "it is bundled")
        )
    except RetryableError:
        if registry.aliased(context, kind) is None:
            raise


def ensure_every(context: Context) -> None:
    """The same for every kind, so that each has a champion to be named."""
    for kind in kinds.names():
        ensure(context, kind)


def _moved_by(context: Context, kind: str) -> str | None:
    """Who last moved the champion for every language."""
    history = tables.alias_history
    where = (history.c.kind == kind, history.c.language == ANY_LANGUAGE, history.c.alias == CHAMPION)
    with context.db.reading() as connection:
        return connection.execute(
            sa.select(history.c.who).where(*where).order_by(history.c.id.desc()).limit(1)
        ).scalar()


def _default(context: Context, kind: str) -> Version:
    if kind != kinds.ASR:
        return _bundled(context, kinds.BUNDLED[kind])
    name = context.settings.asr_model
    if (version := registry.named(context, name)) is not None:
        return version
    return (
        _bundled(context, BUNDLED) if name == "bundled" else registry.register(context, location_of(context.settings))
    )


def _bundled(context: Context, folder: Path) -> Version:
    """The bundled model of this release, put into the store because the next release may bundle another.

    It is put there again if it is missing, for example after a change of the store.
    """
    name = manifest.read(folder).model_version
    version = registry.named(context, name)
    stored = version is not None and version.location.startswith(model_files.STORED)
    if version and stored and model_files.present(context, version.location, version.manifest["files"]) is None:
        return version
    return registry.register(context, model_files.publish(context, folder, f"{model_files.FOLDER}/{name}"))


def location_of(settings: Settings) -> str:
    """ASR_MODEL as a location for the engine: the bundled folder, a folder, or `hub:` and a name."""
    name = settings.asr_model
    if name == "bundled":
        return str(BUNDLED)
    return (
        str(Path(name).absolute()) if Path(name).is_dir() else f"{model_files.HUB}{name.removeprefix(model_files.HUB)}"
    )
