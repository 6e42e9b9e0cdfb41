"""One device, two uses: training holds a lease, bulk waits, live calls never do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, RetryableError
from ml_backend.jobs import devices, enqueueing, job_kinds
from ml_backend.jobs.relay import Relay
from tests.servers.redis import RedisServer

KOLKATA = "Asia/Kolkata"


def owner(context: Context) -> str | None:
    mine = tables.device_leases.c.device == "cuda:0"
    return context.db.rows(sa.select(tables.device_leases.c.owner).where(mine))[0].owner


def test_a_device_has_one_owner_until_it_is_given_back(context: Context) -> None:
    with devices.held(context, "cuda:0", "run-1"):
        assert owner(context) == "run-1"
        with pytest.raises(RetryableError) as caught, devices.held(context, "cuda:0", "run-2"):
            pass
        assert caught.value.code == "device-busy"
        with devices.held(context, "cuda:1", "run-2"):
            pass
    assert owner(context) is None
    with devices.held(context, "cuda:0", "run-2"):
        assert owner(context) == "run-2"


def test_a_lease_whose_owner_died_ends_by_itself(context: Context) -> None:
    with context.db.transaction() as connection:
        assert devices.take(connection, "cpu", "dead", hold_s=-1)
        assert not devices.is_training(connection)
        assert devices.take(connection, "cpu", "next")
        assert devices.is_training(connection)
        devices.give_back(connection, "cpu", "dead")
        assert devices.is_training(connection), "who has lost it cannot give it back"


def test_while_a_model_trains_live_calls_are_handed_over_and_bulk_waits(
    context: Context, redis_server: RedisServer
) -> None:
    here = Context(context.settings.model_copy(update={"redis_url": redis_server.url}), context.db, context.store)
    with here.db.transaction() as connection:
        live = enqueueing.enqueue(connection, job_kinds.TRANSCRIBE_RECORDING, key="1", recording_id=1)
        bulk = enqueueing.enqueue(
            connection, job_kinds.TRANSCRIBE_RECORDING, key="2", priority=job_kinds.BULK, recording_id=2
        )
    relay = Relay(here, schedules=())
    with devices.held(here, "cuda:0", "run-1"):
        relay.step()
        assert here.db.row(tables.jobs, live).state == "queued"
        assert here.db.row(tables.jobs, bulk).state == "waiting"
    relay.step()
    assert here.db.row(tables.jobs, bulk).state == "queued"


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        ("", "12:00", "12:00"),
        ("22:00-06:00", "23:30", "23:30"),
        ("22:00-06:00", "05:59", "05:59"),
        ("22:00-06:00", "06:00", "22:00"),
        ("01:00-05:00", "00:30", "01:00"),
        ("01:00-05:00", "05:00", "next 01:00"),
    ],
)
def test_training_waits_for_its_hours(window: str, now: str, opens: str) -> None:
    def at(clock: str) -> datetime:
        """That time in India, on a Sunday."""
        hour, minute = map(int, clock.rpartition(" ")[2].split(":"))
        day = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(days=clock.startswith("next"))
        return day + timedelta(hours=hour - 5, minutes=minute - 30)

    assert devices.opens_at(window, at(now), zone=KOLKATA) == at(opens)


@pytest.mark.parametrize("window", ["at night", "25:00-26:00", "1-2"])
def test_hours_that_are_none_are_a_mistake_in_the_settings(window: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        devices.opens_at(window, tables.now(), zone=KOLKATA)
    assert caught.value.code == "bad-window"
