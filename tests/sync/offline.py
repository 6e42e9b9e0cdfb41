"""A service without Label Studio and Redis: database, directory store and jobs run here, for tests of audio."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context, open_context
from ml_backend.jobs import enqueueing, job_kinds, runner
from ml_backend.jobs.leases import Settled
from ml_backend.settings import Settings

STARTED = datetime(2026, 3, 4, 22, 10, tzinfo=UTC)
_numbers = itertools.count(1)


@dataclass
class Offline:
    """A context, and short ways to what tests of audio ask for."""

    context: Context

    def call(self, **known: Any) -> int:
        """A call's row; gives its id."""
        values = {"provider": "exotel", "call_sid": f"call{next(_numbers):04d}", "started_at": STARTED, **known}
        values = {"state": "to-fetch", "next_action": "fetch", "due_at": tables.now(), **values}
        return self._insert(tables.calls, values)

    def recording(self, call_id: int | None = None, **known: Any) -> sa.Row[Any]:
        """A recording's row, of a call when one is given."""
        values = {"source": "exotel", "source_identity": f"exotel:one:{next(_numbers)}", "state": "found", **known}
        if call_id is not None:
            call = self.context.db.row(tables.calls, call_id)
            values = {"call_id": call_id, "call_sid": call.call_sid, "call_duration_s": call.talk_seconds, **values}
        return self.row(tables.recordings, self._insert(tables.recordings, values))

    def row(self, table: sa.Table, row_id: int) -> sa.Row[Any]:
        """One row as it is now."""
        return self.context.db.row(table, row_id)

    def update(self, recording: sa.Row[Any], **values: Any) -> sa.Row[Any]:
        """Change a recording; gives it as it is then."""
        self.context.db.update(tables.recordings, recording.id, **values)
        return self.row(tables.recordings, recording.id)

    def run(self, kind: job_kinds.JobKind, **arguments: Any) -> list[Settled]:
        """Enqueue one job and run it, and nothing else."""
        key = str(next(iter(arguments.values()), "all"))
        with self.context.db.transaction() as connection:
            job_id = enqueueing.enqueue(connection, kind, key=key, **arguments)
        return runner.Runner(self.context).run(job_id)

    def waiting(self, kind: str) -> list[sa.Row[Any]]:
        """Jobs of a kind that were not run yet."""
        mine = sa.and_(tables.jobs.c.name == kind, tables.jobs.c.state == "waiting")
        return list(self.context.db.rows(sa.select(tables.jobs).where(mine).order_by(tables.jobs.c.id)))

    def _insert(self, table: sa.Table, values: dict[str, Any]) -> int:
        with self.context.db.transaction() as connection:
            return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())


def opened(folder: Path, **settings: Any) -> Offline:
    """An empty service in a folder."""
    values = {"data_dir": folder / "data", "min_free_disk_mb": 0, **settings}
    made = Settings(_env_file=None, **values)
    made.data_dir.mkdir(parents=True, exist_ok=True)
    db.upgrade(made.database)
    return Offline(open_context(made))
