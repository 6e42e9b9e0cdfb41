"""Permissions of DATA_DIR: only the user who runs this may read its calls, texts and keys."""

from __future__ import annotations

import stat
from pathlib import Path

UMASK = 0o077
_OTHERS = 0o077
_OURS = ("kaan.db", "objects", "spool", "models", "pseudonym.key")


def folder(path: Path) -> None:
    """Make DATA_DIR, closed to others; close one that is ours and open. What others use too is left to `doctor`."""
    if not path.exists():
        path.mkdir(mode=0o700, parents=True)
    found = path.stat()
    shared = found.st_mode & stat.S_ISVTX or path == path.parent
    ours = any((path / name).exists() for name in _OURS) or not any(path.iterdir())
    if found.st_mode & _OTHERS and ours and not shared:
        _close(path, 0o700)


def file(path: Path) -> None:
    """Close a file to other users, if we own it."""
    if is_open(path):
        _close(path, 0o600)


def is_open(path: Path) -> bool:
    """Whether other users may read or write it; False if it does not exist."""
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False


def _close(path: Path, mode: int) -> None:
    try:
        path.chmod(mode)
    except OSError:  # another user's: `doctor` says so
        return
