"""What live requests sent, on this machine's disk until the object store and the database have it.

DATA_DIR/spool/live has one folder per request, complete or absent: `audio` and `facts.json`. All together they hold at
most SPOOL_MAX_MB, and MIN_FREE_DISK_MB stay free. The folder's name begins with the time, and holds a keyed hash of the
call's id, so that an erasure finds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from ml_backend.calls.live_recordings import LiveAudio, name_of
from ml_backend.errors import RetryableError
from ml_backend.settings import Settings
from ml_backend.storage.object_store import need_space

AUDIO, FACTS = "audio", "facts.json"
_UNFINISHED = ".incoming-"


def add(settings: Settings, audio: LiveAudio, data: bytes, *, key: bytes, used_bytes: int) -> None:
    """Write it, so that it outlives this process; RetryableError when there is no room, OSError when the disk fails.

    `used_bytes` wait already: whoever writes many does not count them all each time.
    """
    folder = folder_of(settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    need_space(folder, more_bytes=len(data), least_mb=settings.min_free_disk_mb)
    if used_bytes + len(data) > settings.spool_max_mb * 1e6:
        raise RetryableError(
            "spool-full", "SPOOL_MAX_MB of live requests' audio wait for the object store.",
            "Bring the object store back, or raise SPOOL_MAX_MB.",
        )  # fmt: skip
    name = f"{round(audio.at.timestamp() * 1e6):016d}-{name_of(audio.call, key)}-{audio.sha256[:24]}"
    made = Path(tempfile.mkdtemp(dir=folder, prefix=_UNFINISHED))
    try:
        _write(made / AUDIO, data)
        facts = asdict(audio) | {"at": audio.at.isoformat()}
        _write(made / FACTS, json.dumps(facts).encode())
        if not (folder / name).exists():
            made.replace(folder / name)
        _sync(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def waiting(settings: Settings) -> list[Path]:
    """The requests' folders, oldest first."""
    folder = folder_of(settings)
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name[:1].isdigit())


def size_bytes(settings: Settings) -> int:
    """Bytes of audio that wait."""
    total = 0
    for path in waiting(settings):
        with contextlib.suppress(OSError):  # another process has just stored it
            total += (path / AUDIO).stat().st_size
    return total


def read(path: Path) -> LiveAudio:
    """The facts of one request; OSError or ValueError when the folder is gone or damaged."""
    facts = json.loads((path / FACTS).read_bytes())
    return LiveAudio(**{**facts, "at": datetime.fromisoformat(facts["at"])})


def came_at(path: Path) -> datetime:
    """When a request came, by its folder's name."""
    microseconds = path.name.partition("-")[0]
    return datetime.fromtimestamp(int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0, UTC)


def remove(path: Path) -> None:
    """Delete one request's folder."""
    shutil.rmtree(path, ignore_errors=True)


def remove_call(settings: Settings, call: str, *, key: bytes) -> None:
    """Delete what waits of a call."""
    for path in waiting(settings):
        if path.name.split("-")[1:2] == [name_of(call, key)]:
            remove(path)


def remove_caller(settings: Settings, caller: str) -> None:
    """Delete what waits of a person, by pseudonym."""
    for path in waiting(settings):
        with contextlib.suppress(OSError, ValueError, TypeError):
            if read(path).caller == caller:
                remove(path)


@contextlib.contextmanager
def alone(settings: Settings) -> Iterator[bool]:
    """Whether this process is the only one that empties the spool now."""
    folder = folder_of(settings)
    with (folder / ".lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def sweep(settings: Settings, *, older_than_s: float, now_s: float) -> None:
    """Remove what killed processes had begun to write."""
    for path in folder_of(settings).glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if now_s - path.stat().st_mtime > older_than_s:
                remove(path)


def folder_of(settings: Settings) -> Path:
    return settings.data_dir / "spool" / "live"


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
