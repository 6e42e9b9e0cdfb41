"""Checkpoint folder -> sealed checkpoint: one that is complete, byte by byte, and may be gone on from.

The trainer's library writes a checkpoint file by file; a process killed meanwhile leaves a folder that looks like one.
So a seal with the digest of every file is written last, and whoever resumes deletes what has no seal or breaks it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from training.runs.workspace import read_json, write_json

SEAL = "seal.json"


def seal(folder: Path) -> None:
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != SEAL:
            with path.open("rb") as stream:
                files[path.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
                os.fsync(stream.fileno())
    write_json(folder / SEAL, {"files": files})


def whole(folder: Path) -> bool:
    """Every file is there and is what was sealed."""
    try:
        sealed = read_json(folder / SEAL)
        if sealed is None:
            return False
        for name, digest in sealed["files"].items():
            with (folder / name).open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
                    return False
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return bool(sealed["files"])


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint; the others newer than it are deleted, so that nobody goes on from half of one."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for path in found:
        if whole(path):
            return path
        shutil.rmtree(path, ignore_errors=True)
    return None
