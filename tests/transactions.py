"""No write transaction of ours does more than about fifty rows of work (design D3): counted in every test, by SQLite.

SQLite lets one writer in at a time, so whoever writes ten thousand rows at once keeps every callback and webhook out
for seconds. Rows are counted from the beginning of a transaction to its commit, for transactions that our own code
opened; what a test writes to set its stage is not counted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

ROOT = Path(__file__).resolve().parents[1]
MOST_ROWS = 100  # fifty rows of work, each with the job that follows from it
OURS = ("ml_backend", "sync", "training")
# Transactions that may write more, and why nobody waits for them longer than for a short one.
LARGER = {
    "sync/commands/backup_database.py:save": "a new file that nobody else writes to",
    "sync/commands/backup_database.py:load": "an empty database, whole or not at all, before anybody works with it",
    "sync/commands/privacy.py:import_consent": "a file of consents is imported whole or not at all, by a person",
    "sync/demo/bundled_calls.py:bring_in": "the demo's few calls, once, before anything else runs",
}
_found: list[str] = []


def owner() -> str:
    """`file:function` of ours that opened the transaction; empty when a test did."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and ".venv" not in path.parts:
            name = path.relative_to(ROOT).as_posix()
            if name != "ml_backend/db.py":
                return f"{name}:{frame.f_code.co_name}" if name.split("/")[0] in OURS else ""
        frame = frame.f_back
    return ""


def begun(connection: Connection) -> None:
    """A transaction begins."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        connection.info["kaan_rows"] = (driver.total_changes, owner())


def committed(connection: Connection) -> None:
    """It ends well: how much it wrote is held against its owner."""
    if connection.dialect.name != "sqlite" or "kaan_rows" not in connection.info:
        return
    before, who = connection.info.pop("kaan_rows")
    driver: Any = connection.connection.driver_connection
    rows = driver.total_changes - before
    if who and rows > MOST_ROWS and who not in LARGER:
        _found.append(f"{who} wrote {rows} rows in one transaction")


@pytest.fixture(autouse=True)
def _short_transactions() -> Iterator[None]:
    """Fails the test in which a transaction of ours was too long."""
    _found.clear()
    yield
    assert not _found, "; ".join(dict.fromkeys(_found))


def watch() -> None:
    """Count from here on, in every database this process opens."""
    sa.event.listen(Engine, "begin", begun)
    sa.event.listen(Engine, "commit", committed)
