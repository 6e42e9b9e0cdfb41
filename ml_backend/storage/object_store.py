"""The interface of an object store, and the code that both stores share.

Objects are written completely or not at all, and never changed afterwards, but for `replace_file`. Keys are validated
here because S3 accepts `..` and a directory must not.
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

CHECKS = "kaan-check/"  # prefix of the objects that test a store, in our own buckets


class ObjectInfo(NamedTuple):
    """One object as a listing reports it. A tuple: comparing a bucket makes hundreds of thousands of them."""

    bucket: str
    key: str
    size_bytes: int
    etag: str
    modified_at: datetime


class ObjectStore(Protocol):
    """A missing object raises PermanentError `object-missing`, an unavailable store RetryableError."""

    def put_file(self, bucket: str, key: str, source: Path, *, content_type: str = ...) -> str:
        """Store a file; returns its SHA-256. Storing the same bytes again is a no-op; other bytes under an existing
        key raise PermanentError `object-exists`."""

    def put_bytes(self, bucket: str, key: str, data: bytes, *, content_type: str = ...) -> str:
        """`put_file` for bytes in memory."""

    def replace_file(self, bucket: str, key: str, source: Path, *, content_type: str = ...) -> str:
        """Store a file in place of whatever the key holds, in one step; returns its SHA-256. Only for what another
        program reads under a fixed key, after the old bytes were kept elsewhere."""

    def fetch(self, bucket: str, key: str, target: Path) -> str:
        """Copy an object to `target` by way of a temporary file; returns its SHA-256."""

    def open_local(self, bucket: str, key: str) -> Path | None:
        """The object's path if it is a local file, which saves a copy; else None."""

    def read_part(self, bucket: str, key: str, *, start: int, length: int) -> Iterator[bytes]:
        """`length` bytes from `start` on, in pieces; the object is opened, or its error raised, before this returns.

        Close the iterator when it is not read to its end."""

    def stat(self, bucket: str, key: str) -> ObjectInfo | None:
        """None if there is no such object."""

    def metadata(self, bucket: str, key: str) -> dict[str, str]:
        """What the object's writer said about it, names in lower case; empty where the store keeps none."""

    def list(self, bucket: str, *, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        """Objects in key order."""

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object if it exists."""

    def ensure_bucket(self, bucket: str) -> None:
        """Create the bucket if it does not exist."""

    def check(self, bucket: str, *, writes: bool = True) -> None:
        """Raise if listing and reading the bucket fails, or, with `writes`, writing and deleting."""

    def keeps_first(self, bucket: str, *, size_bytes: int) -> bool:
        """Whether the first of two concurrent writes of a key is kept. If not, name objects by their digest.

        Tested in our own `bucket`, once per process.
        """

    def sweep(self, older_than_s: float) -> int:
        """Remove unfinished files of killed writers older than that; returns how many. Objects are not changed."""


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


def free_space_mb(folder: Path) -> float:
    """What is free on the disk of a folder, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / 1e6


def need_space(folder: Path, *, more_bytes: int, least_mb: float) -> None:
    """Raise RetryableError `disk-full` unless `least_mb` stay free on the folder's disk after `more_bytes`."""
    free_mb = free_space_mb(folder)
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
