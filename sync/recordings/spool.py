"""Recordings that wait on the local disk while the object store is down.

DATA_DIR/spool has one file per recording, complete or absent, at most SPOOL_MAX_MB together. Above that limit nothing
more is fetched and the error says so, because a full disk would stop the callbacks too.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ml_backend import log
from ml_backend.context import Context
from ml_backend.errors import RetryableError
from ml_backend.jobs import failpoints
from ml_backend.storage.object_store import need_space

_FULL_AFTER_S = 300.0
_log = log.get("spool")


def add(context: Context, recording_id: int, path: Path, *, extension: str) -> None:
    """Keep a copy of the file for this recording; RetryableError `spool-full` when there is no room for it."""
    folder = _folder(context)
    need_room(context, more_bytes=path.stat().st_size)
    need_space(folder, more_bytes=path.stat().st_size, least_mb=context.settings.min_free_disk_mb)
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".incoming-{recording_id}"
    try:
        with path.open("rb") as source, aside.open("wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
            out.flush()
            os.fsync(out.fileno())
        failpoints.hit("spool.before-rename")
        remove(context, recording_id)
        aside.replace(folder / f"{recording_id}.{extension}")
    finally:
        aside.unlink(missing_ok=True)
    _log.warning("object store is down: recording kept on disk", recording=recording_id, waiting=len(waiting(context)))


def need_room(context: Context, *, more_bytes: int = 0) -> None:
    """RetryableError `spool-full` when the spool holds all it may."""
    used = sum(path.stat().st_size for path in waiting(context))
    limit_mb = context.settings.spool_max_mb
    if used + more_bytes > limit_mb * 1e6 or (used and used >= limit_mb * 1e6):
        _log.error("spool is full: recordings are not fetched", used_mb=round(used / 1e6), limit_mb=round(limit_mb))
        raise RetryableError(
            "spool-full",
            f"The object store is down and {used / 1e6:.0f} MB wait for it, so no more recordings are fetched.",
            "Bring the object store back, or raise SPOOL_MAX_MB: the provider deletes its recordings after some time.",
            after_s=_FULL_AFTER_S,
        )


def waiting(context: Context) -> list[Path]:
    """The files in the spool, oldest first."""
    folder = _folder(context)
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.stem.isdecimal()]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, int(path.stem)))


def remove(context: Context, recording_id: int) -> None:
    """Delete a recording's file."""
    for path in _folder(context).glob(f"{recording_id}.*"):
        path.unlink(missing_ok=True)


def _folder(context: Context) -> Path:
    return context.settings.data_dir / "spool"
