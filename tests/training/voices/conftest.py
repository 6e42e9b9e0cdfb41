"""A service without Label Studio: an empty database, a folder as object store, and its jobs run in this process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context, open_context
from ml_backend.jobs import runner
from ml_backend.settings import Settings
from sync.objects import scan
from tests import sounds
from training.voices import clip_collection


@dataclass
class Voices:
    """What tests do with it."""

    context: Context
    folder: Path

    def wav(self, said: str, *, rate_hz: int = 16_000, **options: Any) -> bytes:
        """A recording of `said` as a WAV file."""
        return sounds.write_wav(self.folder / "one.wav", sounds.speech(said), rate_hz=rate_hz, **options).read_bytes()

    def put(self, place: str, data: bytes | str) -> None:
        """Write an object `bucket/key` as another program would."""
        bucket, _, key = place.partition("/")
        path = self.context.store.root / bucket / key  # type: ignore[attr-defined]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    def find(self) -> dict[str, int]:
        """Scan the buckets, ingest what is new, and bring the clips up to date; gives what changed."""
        for bucket in scan.buckets(self.context):
            scan.run(self.context, bucket, full=True)
        self.run_jobs()
        return dict(clip_collection.collect(self.context))

    def run_jobs(self) -> None:
        summary = runner.run_due(self.context, queues=("sync",))
        assert not summary.failed, summary.failed

    def clips(self, **wanted: Any) -> list[Any]:
        statement = sa.select(tables.voice_clips).order_by(tables.voice_clips.c.id)
        return list(self.context.db.rows(statement.filter_by(**wanted)))

    def clip(self, key: str) -> Any:
        [row] = self.clips(key=key)
        return row


@pytest.fixture(scope="session")
def voices_schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An up-to-date database file to copy."""
    path = tmp_path_factory.mktemp("schema") / "kaan.db"
    db.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def voices(voices_schema: Path, tmp_path: Path) -> Iterator[Voices]:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    shutil.copy(voices_schema, data / "kaan.db")
    context = open_context(Settings(_env_file=None, data_dir=data, min_free_disk_mb=0))
    yield Voices(context, tmp_path)
    context.db.dispose()
