"""Checkpoints that a killed trainer can trust: a folder counts only when each of its files has its sealed digest.

For every kind of trainer, so it needs no training library.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from training.runs.workspace import read_json, write_json

SEAL = "seal.json"


def seal(folder: Path) -> None:
    """Write the digest of every file in a finished checkpoint, durably."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != SEAL:
            with path.open("rb") as stream:
                files[path.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
                os.fsync(stream.fileno())
    write_json(folder / SEAL, {"files": files})


def whole(folder: Path) -> bool:
    """Whether every file exists with its sealed digest."""
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
    """The newest complete checkpoint; deletes newer, incomplete ones, so that no run resumes from them."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for path in found:
        if whole(path):
            return path
        shutil.rmtree(path, ignore_errors=True)
    return None
