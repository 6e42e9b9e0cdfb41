"""What happens at intervals is wanted only while there is something to do, on both kinds of database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds, schedules


def insert(context: Context, table: sa.Table, **values: Any) -> int:
    with context.db.transaction() as connection:
        return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())


def recording(context: Context, name: str, **values: Any) -> int:
    return insert(context, tables.recordings, source="exotel", source_identity=name, **values)


def ended(context: Context, recording_id: int, branch: str) -> None:
    """An ingest of this recording that has failed for good."""
    with context.db.transaction() as connection:
        job_id = enqueueing.enqueue(
            connection, job_kinds.INGEST_RECORDING, key=str(recording_id), recording_id=recording_id
        )
        failed = sa.update(tables.jobs).where(tables.jobs.c.id == job_id)
        connection.execute(failed.values(state="failed", error_branch=branch))


def test_an_ingest_that_gave_up_because_the_store_was_down_is_tried_again_later(context: Context) -> None:
    waits = recording(context, "a", state="stored")
    refused = recording(context, "b", state="refused")
    wrong = recording(context, "c", state="stored")
    recording(context, "d", state="stored")
    ended(context, waits, "retryable")
    ended(context, refused, "retryable")
    ended(context, wrong, "configuration")
    with context.db.reading() as connection:
        assert schedules.ingests_given_up(connection) == [{"recording_id": waits}]


def test_the_spool_is_looked_at_only_while_something_is_in_it(context: Context) -> None:
    with context.db.reading() as connection:
        assert schedules.waiting_spool(connection) == []
    recording(context, "a", state="spooled")
    with context.db.reading() as connection:
        assert schedules.waiting_spool(connection) == [{}]


def test_legs_are_learnt_only_while_a_number_has_none(context: Context) -> None:
    insert(context, tables.company_numbers, pseudonym="a", agent_channel=1)
    with context.db.reading() as connection:
        assert schedules.numbers_without_a_channel(connection) == []
    insert(context, tables.company_numbers, pseudonym="b")
    with context.db.reading() as connection:
        assert schedules.numbers_without_a_channel(connection) == [{}]
