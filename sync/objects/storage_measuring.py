"""Buckets, database and disk -> their sizes today, kept for `ml_backend/reports/storage_growth.py`.

The buckets are listed, not summed from rows: what nobody knows of takes room too.
"""

from __future__ import annotations

import socket
from datetime import UTC
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import KaanError
from ml_backend.reports import storage_growth

MOST_OBJECTS = 5_000_000  # of one bucket; a larger one is said to hold at least so much
_NOT_THERE = ("bucket-missing", "object-missing")


def measure_storage(context: JobContext) -> None:
    """The daily job. Repeated on one day, the later numbers stay; a bucket that does not exist has none."""
    settings, day = context.settings, tables.now().astimezone(UTC).date()
    found = {f"disk:{socket.gethostname()[:40]}": storage_growth.disk_now(settings.data_dir)}
    scanned = (name.strip() for name in settings.scan_buckets.split(","))
    buckets = sorted({settings.audio_bucket, settings.recordings_bucket, *filter(None, scanned)})
    for number, bucket in enumerate(buckets):
        context.report(number / len(buckets), f"measuring {bucket}")
        try:
            found[f"bucket:{bucket}"] = _bucket(context, bucket)
        except KaanError as error:
            if error.code not in _NOT_THERE:
                raise
    with context.db.reading() as connection:
        found["database"] = {"used_bytes": _database_bytes(connection)}
    for place, measured in found.items():
        with context.db.transaction() as connection:
            storage_growth.keep(connection, place, day, measured)
    context.report(1.0, f"{len(found)} places measured")


def _bucket(context: Context, bucket: str) -> dict[str, Any]:
    size = objects = 0
    for one in context.store.list(bucket):
        size, objects = size + one.size_bytes, objects + 1
        if objects >= MOST_OBJECTS:
            break
    return {"used_bytes": size, "objects": objects, "at_least": objects >= MOST_OBJECTS}


def _database_bytes(connection: sa.Connection) -> int:
    if connection.dialect.name == "postgresql":
        return int(connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one())
    pages, size = (connection.execute(sa.text(f"PRAGMA {name}")).scalar_one() for name in ("page_count", "page_size"))
    return int(pages) * int(size)
