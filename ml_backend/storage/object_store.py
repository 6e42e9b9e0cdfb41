"""What a store of objects does, and what both stores have in common.

Objects are written whole or not at all, and never changed once written. Keys are validated here because S3
accepts `..` and a directory must not.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from ml_backend.errors import InvalidInput, RetryableError

CHECKS = "kaan-check/"  # where the store itself is tried, in our own buckets; never an object of anybody


class ObjectInfo(NamedTuple):
    """One object as a listing reports it. A tuple: comparing a bucket makes hundreds of thousands of them."""

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

    def check(self, bucket: str, *, writes: bool = True) -> None:
        """Raise when the bucket cannot be listed and read now, or written to and deleted from with `writes`."""

    def keeps_first(self, bucket: str, *, size_bytes: int) -> bool:
        """Whether the first one's bytes stay when two write a key at once. Where not, name objects by their digest.

        Asked in our own `bucket`, once in a process.
        """

    def sweep(self, older_than_s: float) -> int:
        """Remove what killed writers left unfinished so long ago; gives how many. Objects stay as they are."""


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


def need_space(folder: Path, *, more_bytes: int, least_mb: float) -> None:
    """Raise RetryableError `disk-full` unless so much is free on the folder's disk, after so many bytes more."""
    while not folder.exists():
        folder = folder.parent
    free_mb = shutil.disk_usage(folder).free / 1e6
    if least_mb > 0 and free_mb - more_bytes / 1e6 < least_mb:
        more = f", and {more_bytes / 1e6:.0f} MB are to be written" if more_bytes > 1e6 else ""
        raise RetryableError(
            "disk-full",
            f"Only {free_mb:.0f} MB are free where this would be kept{more}; MIN_FREE_DISK_MB asks for {least_mb:.0f}.",
            "Free some disk space, or lower MIN_FREE_DISK_MB.",
        )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def valid_bucket(bucket: str) -> str:
    """The bucket name itself, or InvalidInput: 3 to 63 of a-z, 0-9, `-` and `.`, as S3 wants it."""
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise InvalidInput(
            "bad-bucket-name", "The bucket name is not valid.", "Use 3 to 63 small letters, digits, `-` or `.`."
        )
    return bucket
