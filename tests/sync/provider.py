"""A service beside a scripted Exotel, without Label Studio: jobs run here, and time is moved by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ml_backend import db, tables
from ml_backend.calls import ledger, pseudonyms
from ml_backend.calls.events import of_call, parse_request
from ml_backend.context import Context, open_context
from ml_backend.jobs import job_kinds, leases, runner
from ml_backend.settings import Settings
from tests.ledger_rules import violations
from tests.servers import exotel

CALLS = Path(__file__).resolve().parents[2] / "ml_backend" / "bundled" / "calls"
SPEECH = (CALLS / "en-short-price.mp3").read_bytes()
KINDS = ("fetch-recording", "look-up-call", "reconcile-calls")  # the jobs run here; what follows from them waits


@dataclass
class Beside:
    """Our side: the context, and what a test does with it."""

    context: Context
    provider: exotel.Exotel
    moved: timedelta = timedelta(0)

    def now(self) -> datetime:
        return _real_now() + self.moved

    def settings(self, **values: Any) -> None:
        """Other settings from now on, as after a restart."""
        object.__setattr__(self.context, "settings", self.context.settings.model_copy(update=values))
        self.context.kept.clear()

    def told(self, row: dict[str, Any], source: str = "status_callback", **values: Any) -> sa.Row[Any]:
        """A callback about a call, as the ledger has it after the event was read."""
        event = of_call({**row, **values}, source=source)
        with self.context.db.transaction() as connection:
            return ledger.record(connection, event, key=pseudonyms.key_of(self.context.settings))

    def called_back(self, fields: dict[str, Any]) -> sa.Row[Any]:
        """A callback as it comes: JSON in a request."""
        event = parse_request("POST", "application/json", b"", json.dumps(fields).encode())
        assert event is not None
        with self.context.db.transaction() as connection:
            return ledger.record(connection, event, key=pseudonyms.key_of(self.context.settings))

    def run(self) -> list[Any]:
        """Everything of ours that is due now, once."""
        only = {name: kind for name, kind in job_kinds.KINDS.items() if name in KINDS}
        outcomes = []
        while due := self._due():
            ran = [one for job_id in due for one in runner.Runner(self.context, kinds=only).run(job_id)]
            assert ran, "due jobs that nobody may run"
            outcomes += ran
        return outcomes

    def _due(self) -> list[int]:
        row = tables.jobs
        open_ = sa.and_(row.c.state.in_(("waiting", "queued")), row.c.due_at <= tables.now(), row.c.name.in_(KINDS))
        return [found.id for found in self.context.db.rows(sa.select(row.c.id).where(open_).order_by(row.c.id))]

    def later(self, **span: float) -> list[Any]:
        """Time passes; then everything that is due."""
        self.moved += timedelta(**span)
        return self.run()

    def rows(self, table: sa.Table, **wanted: Any) -> list[Any]:
        return list(self.context.db.rows(sa.select(table).filter_by(**wanted).order_by(*table.primary_key.columns)))

    def one(self, table: sa.Table, **wanted: Any) -> Any:
        [row] = self.rows(table, **wanted)
        return row

    def waiting(self, name: str) -> list[Any]:
        return [job for job in self.rows(tables.jobs, name=name) if job.state in ("waiting", "queued")]

    def sound(self) -> None:
        """The ledger keeps its promise."""
        with self.context.db.reading() as connection:
            assert violations(connection) == []


def _real_now() -> datetime:
    from datetime import UTC

    return datetime.now(UTC)


@contextmanager
def beside(folder: Path, monkeypatch: pytest.MonkeyPatch, **values: Any) -> Iterator[Beside]:
    """A provider and a service that knows it, over an empty database, with a clock that can be moved."""
    with exotel.running() as provider:
        settings = Settings(
            _env_file=None,
            data_dir=folder,
            exotel_account_sid=provider.account,
            exotel_api_key=SecretStr(provider.key),
            exotel_api_token=SecretStr(provider.token),
            exotel_api_url=provider.api_url,
            exotel_recording_origins=provider.environment["EXOTEL_RECORDING_ORIGINS"],
            min_free_disk_mb=0,
        ).model_copy(update={"exotel_requests_per_minute": 10**7, **values})
        db.upgrade(settings.database)
        context = open_context(settings)
        here = Beside(context, provider)
        provider.now = here.now
        monkeypatch.setattr(tables, "now", here.now)
        monkeypatch.setattr(leases, "clock", lambda connection: here.now())  # PostgreSQL has a clock of its own
        yield here
        context.db.dispose()
