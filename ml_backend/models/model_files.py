"""A version's location -> its files on this machine.

Every machine needs the files, so a version that is trained or registered is put into the object store, and its row says
`store:models/served/VERSION`. A directory store is read in place. From S3 the files are fetched once into
DATA_DIR/models and verified against their manifest. Two other locations are used as they are: the folder that an
operator named in ASR_MODEL, and `hub:NAME`.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, PermanentError, RetryableError
from ml_backend.models import manifest

STORED, HUB = "store:", "hub:"
FOLDER, WEIGHTS = "models/served", "models/weights"  # the form for serving, and the form for further training
_ABANDONED_S = 24 * 3600.0


def publish(context: Context, folder: Path, key: str) -> str:
    """Put a folder with a manifest into the store; returns its location. Safe to repeat: the manifest goes last.

    The key contains the digest of its content, so a complete upload is not repeated.
    """
    described = manifest.verify(folder)
    bucket = context.settings.audio_bucket
    context.store.ensure_bucket(bucket)
    if context.store.stat(bucket, f"{key}/{manifest.FILE}") is not None:
        return f"{STORED}{key}"
    for name in (*sorted(described.files), manifest.FILE):
        context.store.put_file(bucket, f"{key}/{name}", folder / name)
    return f"{STORED}{key}"


def place(context: Context, location: str) -> str:
    """What to load: a folder on this machine, fetched if needed, or `hub:NAME`.

    Raises ConfigurationError `model-not-found`; RetryableError if the store does not answer.
    """
    if location.startswith(HUB):
        return location
    folder = _folder(context, location)
    if not folder.is_dir():
        raise _missing(folder.name)
    return str(folder)


def present(context: Context, location: str, files: dict[str, Any]) -> str | None:
    """The first file that is missing or has another length, else None. Fetches nothing and checks no digest."""
    if location.startswith(HUB):
        return None
    folder, key = Path(location), location.removeprefix(STORED)
    if location.startswith(STORED):
        folder = _cached(context, key)
        if not folder.is_dir():
            return _missing_of_store(context, key, files)
    for name, entry in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != entry["size_bytes"]:
            return name
    return None


def remove(context: Context, location: str) -> bool:
    """Remove a fetched copy, so that it is fetched again; returns whether there was one."""
    if not location.startswith(STORED):
        return False
    folder = _cached(context, location.removeprefix(STORED))
    if not folder.is_dir():
        return False
    _remove(folder)
    return True


def _folder(context: Context, location: str) -> Path:
    if not location.startswith(STORED):
        return Path(location)
    key = location.removeprefix(STORED)
    cached = _cached(context, key)
    if cached.is_dir():
        return cached
    try:
        inside = context.store.open_local(context.settings.audio_bucket, f"{key}/{manifest.FILE}")
    except (PermanentError, ConfigurationError) as error:
        raise _missing(cached.name) from error
    return inside.parent if inside is not None else _fetched(context, key, cached)


def _fetched(context: Context, key: str, target: Path) -> Path:
    """Fetch a verified folder, completely or not at all; several processes may do this at once."""
    bucket = context.settings.audio_bucket
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(".fetched-*"):
        if time.time() - left.stat().st_mtime > _ABANDONED_S:  # left by a killed process
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".fetched-", dir=target.parent) as aside:
        folder = Path(aside) / target.name
        folder.mkdir()
        try:
            context.store.fetch(bucket, f"{key}/{manifest.FILE}", folder / manifest.FILE)
        except PermanentError as error:
            raise _missing(target.name) from error
        for name in manifest.read(folder).files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            context.store.fetch(bucket, f"{key}/{name}", path)
        manifest.verify(folder)
        try:
            folder.replace(target)
        except OSError:
            if not target.is_dir():  # else another process was first
                raise
    return target


def _missing_of_store(context: Context, key: str, files: dict[str, Any]) -> str | None:
    for name, entry in files.items():
        try:
            found = context.store.stat(context.settings.audio_bucket, f"{key}/{name}")
        except RetryableError:  # the store is unavailable: machines with a copy serve it, the others fetch it later
            return None
        except ConfigurationError:  # there is no such bucket
            return name
        if found is None or found.size_bytes != entry["size_bytes"]:
            return name
    return None


def _remove(folder: Path) -> None:
    """Rename the folder first, so that no process loads a partly deleted one."""
    with tempfile.TemporaryDirectory(prefix=".fetched-", dir=folder.parent) as aside:
        folder.replace(Path(aside) / folder.name)


def _cached(context: Context, key: str) -> Path:
    return context.settings.data_dir / key


def _missing(name: str) -> ConfigurationError:
    return ConfigurationError(
        "model-not-found", f"The model folder {name} does not exist.", "Correct ASR_MODEL, or fetch the model."
    )
