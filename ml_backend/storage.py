"""Objects. Two stores behind one door: a directory, or any S3 server through the minio client.

Objects are written whole or not at all, and never changed once written. Keys are validated here because S3
accepts `..` and a directory must not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ml_backend.errors import InvalidInput


@dataclass(frozen=True)
class ObjectInfo:
    """One object as a listing reports it."""

    bucket: str
    key: str
    size_bytes: int
    etag: str
    modified_at: datetime


class ObjectStore(Protocol):
    """What both stores do. Missing objects raise PermanentError `object-missing`, trouble RetryableError."""

    def put_file(self, bucket: str, key: str, source: Path, *, content_type: str = ...) -> str:
        """Store a file whole; gives its SHA-256. Storing the same bytes again is a no-op; other bytes under an
        existing key raise PermanentError `object-exists`."""

    def put_bytes(self, bucket: str, key: str, data: bytes, *, content_type: str = ...) -> str:
        """The same for bytes in memory."""

    def fetch(self, bucket: str, key: str, target: Path) -> str:
        """Copy an object into `target` (written aside, then renamed); gives its SHA-256."""

    def open_local(self, bucket: str, key: str) -> Path | None:
        """The object's own path when it is a local file, else None: saves a copy."""

    def stat(self, bucket: str, key: str) -> ObjectInfo | None:
        """None when there is no such object."""

    def list(self, bucket: str, *, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        """Objects in key order."""

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; a missing one is fine."""

    def ensure_bucket(self, bucket: str) -> None:
        """Create the bucket when it is not there."""

    def check(self) -> None:
        """Raise when the store cannot be used now."""


def valid_key(key: str) -> str:
    """The key itself, or InvalidInput: relative, no empty, `.` or `..` part, no control character, <= 900 bytes."""
    parts = key.split("/")
    if (
        not key
        or len(key.encode()) > 900
        or any(part in ("", ".", "..") for part in parts)
        or any(ord(c) < 32 or ord(c) == 127 or c == "\\" for c in key)
    ):
        raise InvalidInput("bad-object-key", "The object key is not a plain relative path.", "Rename the object.")
    return key


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
