"""Settings -> the object store they name: a directory, or any S3 server."""

from __future__ import annotations

from pathlib import Path

from ml_backend.settings import Settings
from ml_backend.storage.object_store import ObjectStore


def open_store(settings: Settings) -> ObjectStore:
    """The store that the settings name. Opens no connection and creates nothing; `check()` does."""
    if settings.objects == "s3://":
        from ml_backend.storage.s3_store import S3Store

        return S3Store(
            settings.minio_endpoint,
            access_key=settings.minio_access_key.get_secret_value(),
            secret_key=settings.minio_secret_key.get_secret_value(),
            secure=settings.minio_secure,
            region=settings.minio_region,
            ca_file=settings.ca_file,
            min_free_mb=settings.min_free_disk_mb,
        )
    from ml_backend.storage.local_store import LocalStore

    return LocalStore(Path(settings.objects), min_free_mb=settings.min_free_disk_mb)
