"""Objects in any S3 server, through the minio client: the only file that knows it.

Every object we write carries its SHA-256 in user metadata (tags, versioning and notifications are missing from too
many servers to rely on), and is read back by HEAD before the write counts. Foreign errors become ours in one place.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from ml_backend.errors import ConfigurationError, PermanentError, RetryableError
from ml_backend.storage import ObjectInfo, sha256_of, valid_bucket, valid_key

_PIECE = 1 << 20
_SHA256 = "sha256"
_MISSING = ("NoSuchKey", "NoSuchObject", "ResourceNotFound", "NotFound")
_REFUSED = (
    "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled", "AccountProblem",
    "AuthorizationHeaderMalformed", "InvalidToken", "ExpiredToken",
)  # fmt: skip


class S3Store:
    """An ObjectStore on an S3 server."""

    def __init__(self, endpoint: str, *, access_key: str, secret_key: str, secure: bool = True) -> None:
        pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=5, read=60),
            maxsize=10,
            # a redirect is an answer like others: followed, it would take the signature and the audio along
            retries=urllib3.Retry(total=2, redirect=False, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504)),
        )
        self.endpoint = endpoint
        self._client = Minio(endpoint, access_key=access_key, secret_key=secret_key, secure=secure, http_client=pool)

    def put_file(self, bucket: str, key: str, source: Path, *, content_type: str = "application/octet-stream") -> str:
        """See ObjectStore."""
        digest = sha256_of(source)
        with source.open("rb") as stream:
            return self._put(bucket, key, stream, source.stat().st_size, digest, content_type)

    def put_bytes(self, bucket: str, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> str:
        """See ObjectStore."""
        digest = hashlib.sha256(data).hexdigest()
        return self._put(bucket, key, io.BytesIO(data), len(data), digest, content_type)

    def fetch(self, bucket: str, key: str, target: Path) -> str:
        """See ObjectStore. A body shorter than its announced length is an error, never a short file."""
        valid_bucket(bucket), valid_key(key)
        digest = hashlib.sha256()
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".incoming-")
        try:
            with os.fdopen(handle, "wb") as out, _errors(bucket, key):
                response = self._client.get_object(bucket, key)
                try:
                    for piece in response.stream(_PIECE):
                        digest.update(piece)
                        out.write(piece)
                finally:
                    response.close()
                    response.release_conn()
                out.flush()
                os.fsync(out.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return digest.hexdigest()

    def open_local(self, bucket: str, key: str) -> Path | None:
        """Never local: use `fetch`."""
        return None

    def stat(self, bucket: str, key: str) -> ObjectInfo | None:
        """See ObjectStore."""
        found = self._head(bucket, key)
        return None if found is None else _info(bucket, found)

    def list(self, bucket: str, *, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        """See ObjectStore; one request per 1,000 keys."""
        valid_bucket(bucket)
        with _errors(bucket, prefix):
            found = self._client.list_objects(bucket, prefix=prefix, recursive=True, start_after=start_after or None)
            for item in found:
                if not item.is_dir and item.object_name > start_after:  # some servers ignore start-after
                    yield _info(bucket, item)

    def delete(self, bucket: str, key: str) -> None:
        """See ObjectStore."""
        valid_bucket(bucket), valid_key(key)
        with _errors(bucket, key):
            try:
                self._client.remove_object(bucket, key)
            except S3Error as error:
                if error.code not in _MISSING:
                    raise

    def ensure_bucket(self, bucket: str) -> None:
        """See ObjectStore."""
        valid_bucket(bucket)
        with _errors(bucket, ""):
            if self._client.bucket_exists(bucket):
                return
            try:
                self._client.make_bucket(bucket)
            except S3Error as error:
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise

    def check(self) -> None:
        """One signed request: proves address, credentials and clock."""
        with _errors("", ""):
            self._client.list_buckets()

    def sweep(self, older_than_s: float) -> int:
        """Nothing here: the server removes unfinished uploads, by the bucket's lifecycle rule."""
        return 0

    # --- inside

    def _head(self, bucket: str, key: str) -> Any:
        valid_bucket(bucket), valid_key(key)
        with _errors(bucket, key):
            try:
                return self._client.stat_object(bucket, key)
            except S3Error as error:
                if error.code in _MISSING:
                    return None
                raise

    def _put(self, bucket: str, key: str, stream: Any, size_bytes: int, digest: str, content_type: str) -> str:
        existing = self._head(bucket, key)
        if existing is not None:
            if existing.size == size_bytes and self._digest_of(bucket, key, existing) == digest:
                return digest
            raise PermanentError(
                "object-exists",
                f"{bucket}/{key[:80]} already holds other bytes.",
                "Objects are never overwritten: choose another key or delete the old object.",
            )
        with _errors(bucket, key):
            self._client.put_object(
                bucket, key, stream, size_bytes, content_type=content_type, metadata={_SHA256: digest}
            )
        stored = self._head(bucket, key)
        if stored is None or stored.size != size_bytes:
            raise RetryableError(
                "object-incomplete",
                f"{bucket}/{key[:80]} did not read back whole after it was written.",
                "Check the S3 server's disk; the write is tried again.",
            )
        return digest

    def _digest_of(self, bucket: str, key: str, head: Any) -> str:
        """The recorded SHA-256, else (an object others wrote, or a server without metadata) that of the bytes."""
        recorded = {name.lower(): value for name, value in dict(head.metadata or {}).items()}
        found = recorded.get(f"x-amz-meta-{_SHA256}")
        if found:
            return str(found)
        with tempfile.TemporaryDirectory(prefix="kaan-") as folder:
            return self.fetch(bucket, key, Path(folder) / "object")


def _info(bucket: str, item: Any) -> ObjectInfo:
    return ObjectInfo(bucket, item.object_name, int(item.size), (item.etag or "").strip('"'), item.last_modified)


@contextmanager
def _errors(bucket: str, key: str) -> Iterator[None]:
    """The client's errors as ours, once. No message of the library goes out: they can quote requests."""
    try:
        yield
    except S3Error as error:
        raise _translated(error, f"{bucket}/{key[:80]}" if key else bucket) from None
    except (urllib3.exceptions.HTTPError, ServerError, InvalidResponseError, ParseError) as error:
        raise RetryableError(
            "store-unavailable",
            f"The S3 server did not answer properly ({type(error).__name__}).",
            "Check MINIO_ENDPOINT, MINIO_SECURE and that the server runs.",
        ) from None
    except (MinioException, ValueError) as error:
        raise ConfigurationError(
            "store-refused", f"The S3 request is not possible ({type(error).__name__}).", "Check the MINIO_ settings."
        ) from None


def _translated(error: S3Error, what: str) -> Exception:
    code = error.code or ""
    if code in _MISSING:
        return PermanentError("object-missing", f"There is no object {what}.", "Check whether it was moved or deleted.")
    if code == "NoSuchBucket":
        return ConfigurationError(
            "bucket-missing", f"The bucket of {what} does not exist.", "Create it, or correct the bucket's name."
        )
    if code == "RequestTimeTooSkewed":
        return ConfigurationError(
            "clock-skew",
            "The S3 server refuses this machine's clock: it is more than 15 minutes off.",
            "Set the clock (for example with chrony or systemd-timesyncd) and try again.",
        )
    if code in _REFUSED:
        return ConfigurationError(
            "store-refused",
            f"The S3 server refused access to {what or 'the account'} ({code}).",
            "Check MINIO_ACCESS_KEY, MINIO_SECRET_KEY and the rights of that key.",
        )
    return RetryableError(
        "store-unavailable", f"The S3 server answered {code} for {what}.", "It is tried again; check the server's log."
    )
