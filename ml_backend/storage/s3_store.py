"""Objects in any S3 server, through the minio client: the only file that uses it.

Every object carries its SHA-256 in user metadata (too many servers lack tags, versioning and notifications), and a HEAD
request confirms each write. Objects are written with `If-None-Match: *`, so that the first of two concurrent writes is
kept, if the server supports it (`keeps_first` tests that). The key needs only the rights to list, read, write and
delete in the buckets of the settings: the region is a setting, and the account's buckets are never listed. The client's
errors are mapped to ours in one place.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import urllib3
from minio import Minio
from minio.datatypes import Part
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from ml_backend import certificates
from ml_backend.errors import ConfigurationError, KaanError, PermanentError, RetryableError
from ml_backend.storage.object_store import CHECKS, ObjectInfo, need_space, sha256_of, valid_bucket, valid_key

_PIECE, _SMALL_PIECE = 1 << 20, 1 << 16
_SHA256 = "sha256"
_MISSING = ("NoSuchKey", "NoSuchObject", "ResourceNotFound", "NotFound")
_REFUSED = (
    "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled", "AccountProblem",
    "InvalidToken", "ExpiredToken",
)  # fmt: skip
_TAKEN = ("PreconditionFailed",)
_NO_CONDITIONS = (
    "NotImplemented",
    "MethodNotAllowed",
    "InvalidArgument",
)  # from a server without support for the header
_MULTIPART_FROM_BYTES = 5 << 20  # the client's own threshold
_REGION_IN_HOST = re.compile(r"(?:^|\.)s3[.-](?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com")
_REGION_WANTED = re.compile(r"(?:expecting '|use region )([a-z0-9-]{2,40})")
_first_only: ContextVar[bool] = ContextVar("first_only", default=False)


class _Pool(urllib3.PoolManager):
    """Connections that add `If-None-Match: *` to requests that create an object, if asked to.

    The client has no option for this header, and S3's signature does not cover it.
    """

    def urlopen(self, method: str, url: str, redirect: bool = True, **options: Any) -> Any:  # type: ignore[override]
        makes = (method == "PUT" and "partNumber=" not in url) or (method == "POST" and "uploadId=" in url)
        if makes and _first_only.get():
            options["headers"] = urllib3.HTTPHeaderDict(options.get("headers") or {}) | {"If-None-Match": "*"}
        return super().urlopen(method, url, redirect, **options)


class S3Store:
    """An ObjectStore on an S3 server."""

    def __init__(
        self,
        endpoint: str,
        *,
        access_key: str,
        secret_key: str,
        secure: bool = True,
        region: str = "",
        ca_file: str = "",
        min_free_mb: float = 0.0,
    ) -> None:
        pool = _Pool(
            ssl_context=certificates.context(ca_file) if secure else None,
            timeout=urllib3.Timeout(connect=5, read=60),
            maxsize=10,
            # redirects are not followed: they would receive the signature and the audio
            retries=urllib3.Retry(total=2, redirect=False, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504)),
        )
        self.endpoint, self._min_free_mb = endpoint, min_free_mb
        self._keeps_first: dict[bool, bool] = {}
        in_host = _REGION_IN_HOST.search(endpoint.lower())
        region = region or (in_host[1] if in_host else "us-east-1")  # without one the client calls GetBucketLocation
        self._client = Minio(
            endpoint, access_key=access_key, secret_key=secret_key, secure=secure, http_client=pool, region=region
        )

    def put_file(self, bucket: str, key: str, source: Path, *, content_type: str = "application/octet-stream") -> str:
        """See ObjectStore."""
        digest = sha256_of(source)
        with source.open("rb") as stream:
            return self._put(bucket, key, stream, source.stat().st_size, digest, content_type)

    def put_bytes(self, bucket: str, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> str:
        """See ObjectStore."""
        digest = hashlib.sha256(data).hexdigest()
        return self._put(bucket, key, io.BytesIO(data), len(data), digest, content_type)

    def replace_file(
        self, bucket: str, key: str, source: Path, *, content_type: str = "application/octet-stream"
    ) -> str:
        """See ObjectStore: one request without the condition."""
        valid_bucket(bucket), valid_key(key)
        digest, size_bytes = sha256_of(source), source.stat().st_size
        with _errors(bucket, key), source.open("rb") as stream:
            self._client.put_object(
                bucket, key, stream, size_bytes, content_type=content_type, metadata={_SHA256: digest}
            )
        self._require_whole(bucket, key, size_bytes)
        return digest

    def fetch(self, bucket: str, key: str, target: Path) -> str:
        """See ObjectStore. Raises if the body is shorter than its announced length."""
        valid_bucket(bucket), valid_key(key)
        digest = hashlib.sha256()
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".incoming-")
        try:
            with os.fdopen(handle, "wb") as out, _errors(bucket, key):
                response = self._client.get_object(bucket, key)
                try:
                    length = int(response.headers.get("content-length") or 0)
                    need_space(target.parent, more_bytes=length, least_mb=self._min_free_mb)
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

    def read_part(self, bucket: str, key: str, *, start: int, length: int) -> Iterator[bytes]:
        """See ObjectStore: one request for these bytes."""
        valid_bucket(bucket), valid_key(key)
        with _errors(bucket, key):
            response = self._client.get_object(bucket, key, offset=start, length=length)
        return _part(response, bucket, key)

    def stat(self, bucket: str, key: str) -> ObjectInfo | None:
        """See ObjectStore."""
        found = self._head(bucket, key)
        return None if found is None else _info(bucket, found)

    def metadata(self, bucket: str, key: str) -> dict[str, str]:
        """See ObjectStore."""
        found = self._head(bucket, key)
        said = dict(found.metadata or {}) if found is not None else {}
        marked = {name.lower(): str(value) for name, value in said.items()}
        return {name.removeprefix("x-amz-meta-"): value for name, value in marked.items() if "x-amz-meta-" in name}

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
            try:
                if self._client.bucket_exists(bucket):
                    return
            except S3Error as error:
                if error.code != "AccessDenied":  # it may exist, and writing to it be permitted
                    raise
                return
            try:
                self._client.make_bucket(bucket)
            except S3Error as error:
                if error.code == "AccessDenied":
                    raise ConfigurationError(
                        "bucket-missing",
                        f"The bucket {bucket} does not exist, and this key may not make it.",
                        "Create it, or correct the bucket's name.",
                    ) from None
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise

    def check(self, bucket: str, *, writes: bool = True) -> None:
        """See ObjectStore: makes the same requests as real work, so that a missing right is reported early."""
        valid_bucket(bucket)
        key = f"{CHECKS}{uuid.uuid4().hex}"

        def right(name: str, request: Callable[[], Any]) -> Any:
            try:
                return request()
            except ConfigurationError as error:
                if error.code != "store-refused" or "AccessDenied" not in error.sentence:
                    raise
                raise ConfigurationError(
                    "store-right-missing",
                    f"The key may not do {name} in the bucket {bucket}.",
                    "Allow it: docs/how-to/bucket.md has a policy with all that a key needs.",
                ) from None

        first = right("s3:ListBucket", lambda: next(self.list(bucket), None))
        if not writes:
            right("s3:GetObject", lambda: self.stat(bucket, first.key if first is not None else key))
            return
        right("s3:GetObject", lambda: self.stat(bucket, key))
        right("s3:PutObject", lambda: self.put_bytes(bucket, key, b"check"))
        right("s3:GetObject", lambda: self._read(bucket, key))
        right("s3:DeleteObject", lambda: self.delete(bucket, key))

    def keeps_first(self, bucket: str, *, size_bytes: int) -> bool:
        """See ObjectStore. Two small objects stay in our bucket for this test, so that later one request is enough."""
        in_parts = size_bytes > _MULTIPART_FROM_BYTES
        if in_parts not in self._keeps_first:
            self._keeps_first[in_parts] = self._ask_whether_first_stays(bucket, in_parts=in_parts)
        return self._keeps_first[in_parts]

    def sweep(self, older_than_s: float) -> int:
        """Do nothing: the bucket's lifecycle rule removes unfinished uploads."""
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
        if not self._put_first(bucket, key, stream, size_bytes, digest, content_type):
            return self._put(bucket, key, stream, size_bytes, digest, content_type)  # another writer was first: compare
        self._require_whole(bucket, key, size_bytes)
        return digest

    def _require_whole(self, bucket: str, key: str, size_bytes: int) -> None:
        stored = self._head(bucket, key)
        if stored is None or stored.size != size_bytes:
            raise RetryableError(
                "object-incomplete",
                f"{bucket}/{key[:80]} did not read back whole after it was written.",
                "Check the S3 server's disk; the write is tried again.",
            )

    def _put_first(self, *what: Any) -> bool:
        """Write it unless the key exists by now; returns whether it was written."""
        bucket, key, stream, size_bytes, digest, content_type = what
        for conditional in (True, False):
            with _errors(bucket, key), _only_first(conditional):
                try:
                    stream.seek(0)
                    self._client.put_object(
                        bucket, key, stream, size_bytes, content_type=content_type, metadata={_SHA256: digest}
                    )
                    return True
                except S3Error as error:
                    code = _cause(error).code
                    if code in _TAKEN:
                        return False
                    if code not in _NO_CONDITIONS or not conditional:
                        raise _cause(error) from None
        return True

    def _ask_whether_first_stays(self, bucket: str, *, in_parts: bool) -> bool:
        """Write one object twice. A server without support for the condition accepts the second write or fails.

        Swift supports it, but checks and writes the key in two steps, so several concurrent writes succeed.
        """
        key = f"{CHECKS}first-{'in-parts' if in_parts else 'whole'}"
        for _ in range(2):
            with _errors(bucket, key), _only_first(True):
                try:
                    if in_parts:
                        self._write_in_one_part(bucket, key, b"first")
                    else:
                        self._client.put_object(bucket, key, io.BytesIO(b"first"), 5)
                except S3Error as error:
                    if error.code in _TAKEN:
                        return not any(name.lower() == "x-trans-id" for name in error.response.headers)
                    if error.code in _NO_CONDITIONS:
                        return False
                    raise
        return False

    def _write_in_one_part(self, bucket: str, key: str, data: bytes) -> None:
        upload = self._client._create_multipart_upload(bucket, key, {})
        try:
            etag = self._client._upload_part(bucket, key, data, None, upload, 1)
            self._client._complete_multipart_upload(bucket, key, upload, [Part(1, etag)])
        except S3Error:
            with suppress(S3Error):  # a separate right that not every policy grants
                self._client._abort_multipart_upload(bucket, key, upload)
            raise

    def _read(self, bucket: str, key: str) -> bytes:
        with _errors(bucket, key):
            response = self._client.get_object(bucket, key)
            try:
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

    def _digest_of(self, bucket: str, key: str, head: Any) -> str:
        """The recorded SHA-256, else that of the bytes (another program's object, or a server without metadata)."""
        recorded = {name.lower(): value for name, value in dict(head.metadata or {}).items()}
        found = recorded.get(f"x-amz-meta-{_SHA256}")
        if found:
            return str(found)
        with tempfile.TemporaryDirectory(prefix="kaan-") as folder:
            return self.fetch(bucket, key, Path(folder) / "object")


def _part(response: Any, bucket: str, key: str) -> Iterator[bytes]:
    try:
        with _errors(bucket, key):
            yield from response.stream(_SMALL_PIECE)
    finally:
        response.close()
        response.release_conn()


def _info(bucket: str, item: Any) -> ObjectInfo:
    return ObjectInfo(bucket, item.object_name, int(item.size), (item.etag or "").strip('"'), item.last_modified)


def _cause(error: S3Error) -> S3Error:
    """The server's first error: the client then removes its unfinished upload, which may fail as well."""
    return error.__context__ if isinstance(error.__context__, S3Error) else error


@contextmanager
def _only_first(on: bool) -> Iterator[None]:
    before = _first_only.set(on)
    try:
        yield
    finally:
        _first_only.reset(before)


@contextmanager
def _errors(bucket: str, key: str) -> Iterator[None]:
    """Map the client's errors to ours, without the library's messages, which can quote requests."""
    try:
        yield
    except S3Error as error:
        raise _translated(error, f"{bucket}/{key[:80]}" if key else bucket) from None
    except (urllib3.exceptions.HTTPError, ServerError, InvalidResponseError, ParseError) as error:
        if (refusal := certificates.reason(error)) is not None:
            raise certificates.refused("the S3 server", refusal) from None
        raise RetryableError(
            "store-unavailable",
            f"The S3 server did not answer properly ({type(error).__name__}).",
            "Check MINIO_ENDPOINT, MINIO_SECURE and that the server runs.",
        ) from None
    except (MinioException, ValueError) as error:
        raise ConfigurationError(
            "store-refused", f"The S3 request is not possible ({type(error).__name__}).", "Check the MINIO_ settings."
        ) from None


def _translated(error: S3Error, what: str) -> KaanError:
    code = error.code or ""
    if wanted := _REGION_WANTED.search(error.message or ""):
        return ConfigurationError(
            "store-region",
            f"The S3 server keeps {what or 'the bucket'} in the region {wanted[1]}, which is not the one set.",
            f"Set MINIO_REGION={wanted[1]}.",
        )
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
    if code in (*_REFUSED, "AuthorizationHeaderMalformed"):
        return ConfigurationError(
            "store-refused",
            f"The S3 server refused access to {what or 'the account'} ({code}).",
            "Check MINIO_ACCESS_KEY, MINIO_SECRET_KEY and the rights of that key.",
        )
    return RetryableError(
        "store-unavailable", f"The S3 server answered {code} for {what}.", "It is tried again; check the server's log."
    )
