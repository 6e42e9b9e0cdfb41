"""Task data value -> the source its audio may be fetched from, or the reason why not; and its recording row.

A task's data comes from whoever imported it, so it is untrusted. An object is fetched only from our own store and a
bucket that belongs to the project, an upload only from the Label Studio we serve, a web address only from a listed
origin. Everything else is refused here, before any connection is made.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from sqlalchemy.engine import Connection

from ml_backend import db
from ml_backend.errors import KaanError, PermanentError
from ml_backend.settings import Settings
from ml_backend.storage.object_store import valid_bucket, valid_key
from ml_backend.tables import recordings
from sync.outbound import http, origins

LOCAL_FILES = "/data/local-files/"
UPLOAD = "/data/upload/"
MAX_IDENTITY = 1000
_PROXY = re.compile(r"/(?:tasks|projects)/\d+/(?:resolve|presign)/?\?fileuri=([\w%=-]+)", re.ASCII)


@dataclass(frozen=True)
class RecordingSource:
    """A recording's source. `kind` is object, upload or web; `identity` is unique and readable for people."""

    kind: str
    identity: str

    @property
    def object(self) -> tuple[str, str]:
        """(bucket, key) of an object."""
        bucket, _, key = self.identity.removeprefix("s3://").partition("/")
        return bucket, key


def source_of(value: Any, settings: Settings, *, storages: Sequence[Mapping[str, Any]] = ()) -> RecordingSource:
    """The source a data value names. `storages` are the project's in Label Studio.

    Raises PermanentError `audio-missing` for no value, `audio-source-refused` for one we do not fetch.
    """
    if not isinstance(value, str) or not value.strip():
        raise PermanentError("audio-missing", "The task names no audio.", "Give the task an audio address.")
    if len(value) > MAX_IDENTITY:
        raise _refused("The audio address is too long.")
    value = value.strip()
    if value.startswith("s3://"):
        return _object(value, settings, storages)
    path = _in_label_studio(value, settings)
    if proxied := _PROXY.fullmatch(path):
        return source_of(_proxied(proxied[1]), settings, storages=storages)
    if path.startswith(LOCAL_FILES):
        return _local_file(path, settings, storages)
    if path.startswith(UPLOAD):
        return _upload(path, settings)
    try:
        origins.permitted(value, origins.listed(settings))
    except PermanentError:
        raise _refused("The audio is not in the project's storage, in Label Studio or at a listed address.") from None
    return RecordingSource("web", value)


def add_recording(connection: Connection, source: RecordingSource, **known: Any) -> tuple[int, bool]:
    """Upsert the recording row of a source; gives (id, whether it is new). Enqueues nothing."""
    bucket, key = source.object if source.kind == "object" else (None, None)
    values = {
        "source": source.kind,
        "source_identity": source.identity,
        "bucket": bucket,
        "object_key": key,
        "state": "found",
        **known,
    }
    return db.insert_once(connection, recordings, values, key=("source", "source_identity"))


def playable(bucket: str, key: str, settings: Settings) -> str:
    """A data value that Label Studio can play: the object's S3 address, or the address of its local-files view."""
    if settings.objects == "s3://":
        return f"s3://{bucket}/{key}"
    return f"{_prefix(settings)}{LOCAL_FILES}?d={quote(f'{_below_root(settings)}{bucket}/{key}')}"


def storage_path(bucket: str, settings: Settings) -> str:
    """The folder of a bucket as Label Studio's local-files storage sees it."""
    root = settings.label_studio_local_files_root or settings.objects
    return os.path.normpath(f"{root}/{_below_root(settings)}{bucket}")


def _below_root(settings: Settings) -> str:
    """The path of our objects below LOCAL_FILES_DOCUMENT_ROOT, with a trailing slash; empty if it is the root itself.

    A root that does not contain our folder is the same folder under another path (a volume mounted elsewhere).
    """
    objects = PurePosixPath(settings.objects)
    root = PurePosixPath(settings.label_studio_local_files_root or settings.objects)
    below = objects.relative_to(root).as_posix() if objects.is_relative_to(root) else "."
    return "" if below == "." else f"{below}/"


def _prefix(settings: Settings) -> str:
    """The path prefix of Label Studio (`/label-studio` behind some proxies); empty at the root."""
    return urlsplit(settings.label_studio_url).path.rstrip("/")


def _in_label_studio(value: str, settings: Settings) -> str:
    """The path and query of an address within Label Studio, without its prefix; any other address unchanged."""
    path = value
    if settings.label_studio_url and http.origin(value) == http.origin(settings.label_studio_url):
        parts = urlsplit(value)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
    prefix = _prefix(settings)
    return path.removeprefix(prefix) if prefix and path.startswith(f"{prefix}/") else path


def _proxied(encoded: str) -> str:
    """The storage address inside an address of Label Studio's storage proxy."""
    try:
        return base64.urlsafe_b64decode(unquote(encoded)).decode()
    except ValueError:
        raise _refused("The address of Label Studio's storage proxy is damaged.") from None


def _object(value: str, settings: Settings, storages: Sequence[Mapping[str, Any]]) -> RecordingSource:
    source = RecordingSource("object", value)
    bucket, key = source.object
    try:
        valid_bucket(bucket)
        valid_key(key)
    except KaanError as error:
        raise _refused(error.sentence) from None
    known = {settings.audio_bucket, *(str(s.get("bucket")) for s in storages if s.get("type") == "s3")}
    if settings.objects != "s3://":
        known |= {Path(str(s.get("path"))).name for s in storages if s.get("type") == "localfiles"}
    if bucket not in known:
        raise _refused("The audio's bucket is not a storage of this project.")
    return source


def _local_file(path: str, settings: Settings, storages: Sequence[Mapping[str, Any]]) -> RecordingSource:
    """The source of a file that Label Studio serves from a local-files storage, if our directory store contains it."""
    if settings.objects == "s3://":
        raise _refused("The audio is a local file of Label Studio's machine, and our store is S3.")
    name = parse_qs(urlsplit(path).query).get("d", [""])[-1]  # decoded once; the last value counts, as in Django
    below = name.removeprefix(_below_root(settings))
    bucket, _, key = below.partition("/")
    try:
        valid_bucket(bucket)
        valid_key(key)
    except KaanError as error:
        raise _refused(error.sentence) from None
    if not name.startswith(_below_root(settings)):
        raise _refused("The audio is a local file outside our object store.")
    root = settings.label_studio_local_files_root or settings.objects
    served = Path(os.path.normpath(f"{root}/{name}"))
    folders = [str(s.get("path")) for s in storages if s.get("type") == "localfiles"]
    if bucket != settings.audio_bucket and not any(served.is_relative_to(folder) for folder in folders):
        raise _refused("The audio's folder is not a storage of this project.")
    return RecordingSource("object", f"s3://{bucket}/{key}")


def _upload(path: str, settings: Settings) -> RecordingSource:
    clean = unquote(urlsplit(path).path)
    if not settings.label_studio_url or ".." in clean.split("/") or "\\" in clean or any(ord(c) < 32 for c in clean):
        raise _refused("The upload's address is not a plain path.")
    return RecordingSource("upload", f"{settings.label_studio_url}{urlsplit(path).path}")


def _refused(sentence: str) -> PermanentError:
    return PermanentError(
        "audio-source-refused",
        sentence,
        "Connect its bucket as a source storage of the project, upload it, or list its origin.",
    )
