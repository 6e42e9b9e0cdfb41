"""Objects as files: `root/bucket/key`. The default store, and the replacement of S3 in tests.

A file appears under its key only when it is complete: it is written in `root/.incoming`, synced, then hard-linked. The
link fails if the key exists, so two writers cannot overwrite each other. Keys and symbolic links cannot lead out of the
root.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from ml_backend.errors import ConfigurationError, InvalidInput, PermanentError, RetryableError
from ml_backend.storage.object_store import ObjectInfo, need_space, sha256_of, valid_bucket, valid_key

_PIECE, _SMALL_BYTES = 1 << 20, 1 << 16


class LocalStore:
    """An ObjectStore in a directory."""

    def __init__(self, root: Path, *, min_free_mb: float = 0.0) -> None:
        self.root, self._min_free_mb = root.absolute(), min_free_mb

    def put_file(self, bucket: str, key: str, source: Path, *, content_type: str = "") -> str:
        """See ObjectStore; a directory does not store the content type."""
        with source.open("rb") as stream:
            return self._put(bucket, key, iter(lambda: stream.read(_PIECE), b""), source.stat().st_size)

    def put_bytes(self, bucket: str, key: str, data: bytes, *, content_type: str = "") -> str:
        """See ObjectStore."""
        return self._put(bucket, key, iter((data,)), len(data))

    def replace_file(self, bucket: str, key: str, source: Path, *, content_type: str = "") -> str:
        """See ObjectStore; whoever reads the old file goes on reading it."""
        self._bucket(bucket)
        path = self._path(bucket, key)
        need_space(self.root, more_bytes=source.stat().st_size, least_mb=self._min_free_mb)
        with _errors(), source.open("rb") as stream:
            aside, digest = _write_aside(iter(lambda: stream.read(_PIECE), b""), self._incoming())
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                aside.replace(path)
                _sync_folder(path.parent)
            finally:
                aside.unlink(missing_ok=True)
        return digest

    def fetch(self, bucket: str, key: str, target: Path) -> str:
        """See ObjectStore."""
        path = self._existing(bucket, key)
        need_space(target.parent, more_bytes=path.stat().st_size, least_mb=self._min_free_mb)
        with _errors(), path.open("rb") as stream:
            aside, digest = _write_aside(iter(lambda: stream.read(_PIECE), b""), target.parent)
            aside.replace(target)
        return digest

    def open_local(self, bucket: str, key: str) -> Path | None:
        """The object's own path: read it, never write to it."""
        return self._existing(bucket, key)

    def read_part(self, bucket: str, key: str, *, start: int, length: int) -> Iterator[bytes]:
        """See ObjectStore. A file that is deleted meanwhile is read to its end."""
        path = self._existing(bucket, key)
        with _errors():
            stream = path.open("rb")
            stream.seek(start)
        return _part(stream, length)

    def stat(self, bucket: str, key: str) -> ObjectInfo | None:
        """See ObjectStore."""
        path = self._path(bucket, key)
        with _errors():
            return _info(bucket, key, path.stat()) if path.is_file() else None

    def metadata(self, bucket: str, key: str) -> dict[str, str]:
        """See ObjectStore: a folder keeps none."""
        self._path(bucket, key)
        return {}

    def list(self, bucket: str, *, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        """See ObjectStore; the order is S3's, by the bytes of the whole key."""
        folder = self._bucket(bucket)
        yield from self._walk(bucket, folder, "", prefix, start_after.encode())

    def delete(self, bucket: str, key: str) -> None:
        """See ObjectStore; also removes folders that become empty, because S3 has none."""
        path = self._path(bucket, key)
        top = self.root / bucket
        with _errors():
            path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == top or not folder.is_relative_to(top):
                break
            try:
                folder.rmdir()
            except OSError:
                break

    def ensure_bucket(self, bucket: str) -> None:
        """See ObjectStore."""
        with _errors():
            (self.root / valid_bucket(bucket)).mkdir(parents=True, exist_ok=True)

    def check(self, bucket: str, *, writes: bool = True) -> None:
        """See ObjectStore."""
        if writes:
            with _errors():
                aside, _ = _write_aside(iter((b"check",)), self._incoming())
                aside.unlink()
        next(self.list(bucket), None)
        if writes:
            with _errors():
                handle, name = tempfile.mkstemp(dir=self.root / bucket, prefix=".check-")
                os.close(handle)
                Path(name).unlink()

    def keeps_first(self, bucket: str, *, size_bytes: int) -> bool:
        """See ObjectStore: always true, because a hard link fails if the key exists."""
        return True

    def sweep(self, older_than_s: float) -> int:
        """See ObjectStore."""
        removed, now = 0, time.time()
        with _errors():
            for aside in self._incoming().iterdir():
                if now - aside.stat().st_mtime > older_than_s:
                    aside.unlink(missing_ok=True)
                    removed += 1
        return removed

    # --- inside

    def _incoming(self) -> Path:
        folder = self.root / ".incoming"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _bucket(self, bucket: str) -> Path:
        folder = self.root / valid_bucket(bucket)
        if not folder.is_dir():
            raise ConfigurationError(
                "bucket-missing", f"The bucket {bucket} does not exist.", "Create it, or correct the bucket's name."
            )
        return folder

    def _path(self, bucket: str, key: str) -> Path:
        """The path of the key; refuses one that a symbolic link leads out of the root."""
        path = self.root / valid_bucket(bucket) / valid_key(key)
        with _errors():
            if not path.resolve().is_relative_to(self.root.resolve()):
                raise InvalidInput(
                    "bad-object-key", "The object lies outside the object store.", "Remove the symbolic link."
                )
        return path

    def _existing(self, bucket: str, key: str) -> Path:
        self._bucket(bucket)
        path = self._path(bucket, key)
        if not path.is_file():
            raise PermanentError(
                "object-missing", f"There is no object {bucket}/{key[:80]}.", "Check whether it was moved or deleted."
            )
        return path

    def _put(self, bucket: str, key: str, pieces: Iterator[bytes], size_bytes: int) -> str:
        self._bucket(bucket)
        path = self._path(bucket, key)
        if size_bytes > _SMALL_BYTES:  # small notes and reports are always written: erasure needs them
            need_space(self.root, more_bytes=size_bytes, least_mb=self._min_free_mb)
        with _errors():
            aside, digest = _write_aside(pieces, self._incoming())
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.link(aside, path)
                _sync_folder(path.parent)
            except FileExistsError:
                if not path.is_file() or sha256_of(path) != digest:
                    raise PermanentError(
                        "object-exists",
                        f"{bucket}/{key[:80]} already holds other bytes.",
                        "Objects are never overwritten: choose another key or delete the old object.",
                    ) from None
            finally:
                aside.unlink(missing_ok=True)
        return digest

    def _walk(self, bucket: str, folder: Path, base: str, prefix: str, after: bytes) -> Iterator[ObjectInfo]:
        entries = []
        with _errors(), os.scandir(folder) as scan:
            for entry in scan:
                if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(self.root.resolve()):
                    continue
                key = base + entry.name + ("/" if entry.is_dir() else "")
                try:
                    entries.append((key.encode(), key, entry))
                except UnicodeEncodeError:  # a file name that is not UTF-8 cannot be an S3 key
                    continue
        for raw, key, entry in sorted(entries, key=lambda item: item[0]):
            if key.endswith("/"):
                reaches = key.startswith(prefix) or prefix.startswith(key)
                if reaches and not (raw < after and not after.startswith(raw)):
                    yield from self._walk(bucket, Path(entry.path), key, prefix, after)
            elif key.startswith(prefix) and raw > after:
                try:
                    yield _info(bucket, key, entry.stat())
                except FileNotFoundError:  # deleted during the listing
                    continue


def _part(stream: IO[bytes], length: int) -> Iterator[bytes]:
    with stream, _errors():
        while length > 0 and (piece := stream.read(min(_SMALL_BYTES, length))):
            length -= len(piece)
            yield piece


def _info(bucket: str, key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(
        bucket=bucket,
        key=key,
        size_bytes=status.st_size,
        etag=f"{status.st_mtime_ns:x}-{status.st_size:x}",
        modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
    )


def _write_aside(pieces: Iterator[bytes], folder: Path) -> tuple[Path, str]:
    """(synced temporary file in `folder` with these bytes, their SHA-256)."""
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(dir=folder, prefix=".incoming-")
    try:
        with os.fdopen(handle, "wb") as out:
            for piece in pieces:
                digest.update(piece)
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        Path(name).chmod(0o644)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name), digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _errors() -> Iterator[None]:
    """Map file system errors to ours."""
    try:
        yield
    except (NotADirectoryError, IsADirectoryError) as error:
        raise PermanentError(
            "object-exists", "A part of the key is taken by another object.", "Choose another key."
        ) from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidInput("bad-object-key", "A part of the object key is too long.", "Shorten it.") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RetryableError("store-full", "The object store is full.", "Free some disk space.") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ConfigurationError(
                "store-refused",
                "The object store may not be written or read.",
                "Correct the folder's owner and rights.",
            ) from error
        raise RetryableError(
            "store-unavailable",
            f"The object store did not answer ({error.strerror}).",
            "Check the disk that holds the object store.",
        ) from error
