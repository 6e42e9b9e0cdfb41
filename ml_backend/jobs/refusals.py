"""How many messages were removed from Redis because they were not ours, by queue: a row of `summaries` each."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.tables import now, summaries

_NAME = "refused-messages:"


def count(connection: Connection, queue: str) -> None:
    """One more."""
    here = summaries.c.name == f"{_NAME}{queue}"
    found = connection.execute(sa.select(summaries.c.body).where(here).with_for_update()).scalar()
    values = {"body": {"queue": queue, "number": (found or {}).get("number", 0) + 1}, "made_at": now()}
    if found is None:
        connection.execute(sa.insert(summaries).values(name=f"{_NAME}{queue}", **values))
    else:
        connection.execute(sa.update(summaries).where(here).values(**values))


def counts(connection: Connection) -> dict[str, int]:
    """queue -> messages removed so far."""
    rows = connection.execute(sa.select(summaries.c.body).where(summaries.c.name.startswith(_NAME)))
    return {row.body["queue"]: int(row.body["number"]) for row in rows}
