"""A bucket as other people use it: they write over, delete and name objects as they like, around our store's rules."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend.context import Context
from ml_backend.storage.local_store import LocalStore
from ml_backend.storage.s3_store import S3Store
from sync.objects import scan

CALLS = Path(__file__).resolve().parents[2] / "ml_backend" / "bundled" / "calls"
SPEECH = (CALLS / "en-short-price.mp3").read_bytes()
OTHER_SPEECH = (CALLS / "en-delivery-noisy.wav").read_bytes()


@dataclass
class Outside:
    """The object store as the voice server and people see it, and a look at our rows."""

    context: Context

    def put(self, bucket: str, key: str, data: bytes, *, modified_ns: int | None = None) -> None:
        """Write an object, over another one too."""
        store = self.context.store
        store.ensure_bucket(bucket)
        if isinstance(store, LocalStore):
            path = store.root / bucket / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            if modified_ns is not None:
                os.utime(path, ns=(modified_ns, modified_ns))
        else:
            assert isinstance(store, S3Store)
            store._client.put_object(bucket, key, io.BytesIO(data), len(data))

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object."""
        self.context.store.delete(bucket, key)

    def scan(self, bucket: str = "call-recordings", *, full: bool = True, **options: Any) -> dict[str, int]:
        """Scan a bucket here and now; gives the counts."""
        return dict(scan.run(self.context, bucket, full=full, **options).counts)

    def rows(self, table: sa.Table, **wanted: Any) -> list[Any]:
        """Rows of a table, in the order of their keys."""
        statement = sa.select(table).order_by(*table.primary_key.columns)
        return list(self.context.db.rows(statement.filter_by(**wanted)))

    def one(self, table: sa.Table, **wanted: Any) -> Any:
        """The only such row."""
        [row] = self.rows(table, **wanted)
        return row
