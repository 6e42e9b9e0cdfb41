"""How large each place is, how it grows and how many days are left: from one number a day, measured by a job."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from ml_backend.context import Context, JobContext
from ml_backend.reports import storage_growth
from ml_backend.views.queries import Query
from sync.objects import storage_measuring

GB = 10**9


def days(context: Context, place: str, *used: int, free: int | None = None) -> None:
    for number, each in enumerate(used):
        measured = {"used_bytes": each} | ({} if free is None else {"free_bytes": free, "total_bytes": free + each})
        with context.db.transaction() as connection:
            storage_growth.keep(connection, place, date(2026, 11, 1) + timedelta(days=number), measured)


def place(context: Context, name: str) -> dict:
    return next(one for one in storage_growth.of(context, Query())["places"] if one["place"] == name)


def test_a_disk_that_fills_by_two_gigabytes_a_day_says_how_long_it_lasts(context: Context) -> None:
    days(context, "disk:a", 10 * GB, 12 * GB, 14 * GB, 16 * GB, free=20 * GB)
    found = place(context, "disk:a")
    assert found["bytes_per_day"] == pytest.approx(2 * GB)
    assert found["days_left"] == 10
    assert found["points"][-1] == ["2026-11-04", 16 * GB]


def test_without_enough_days_or_growth_it_says_why_there_are_no_days_left(context: Context) -> None:
    days(context, "disk:new", 10 * GB, 11 * GB, free=GB)
    days(context, "disk:shrinks", 9 * GB, 8 * GB, 7 * GB, free=GB)
    days(context, "bucket:calls", 1, 2, 3)
    assert "fewer than 3 days" in place(context, "disk:new")["why_no_days_left"]
    assert place(context, "disk:shrinks")["why_no_days_left"] == "it does not grow"
    assert "does not say" in place(context, "bucket:calls")["why_no_days_left"]


def test_a_day_measured_twice_counts_once_and_old_days_go(context: Context) -> None:
    days(context, "bucket:calls", 5)
    days(context, "bucket:calls", 7)
    assert place(context, "bucket:calls")["points"] == [["2026-11-01", 7]]
    with context.db.transaction() as connection:
        storage_growth.keep(connection, "bucket:calls", date(2028, 1, 1), {"used_bytes": 9})
    assert place(context, "bucket:calls")["points"] == [["2028-01-01", 9]]


def test_the_job_measures_every_bucket_the_database_and_the_disk(context: Context) -> None:
    assert storage_growth.of(context, Query())["why_none"]
    context.store.ensure_bucket("call-recordings")
    context.store.put_bytes("call-recordings", "recordings/a.wav", b"x" * 700)
    context.store.put_bytes("call-recordings", "recordings/b.wav", b"x" * 300)
    storage_measuring.measure_storage(JobContext(context.settings, context.db, context.store))
    found = {one["place"].partition(":")[0]: one for one in storage_growth.of(context, Query())["places"]}
    assert set(found) == {"bucket", "database", "disk"}, "a bucket that does not exist has no row"
    assert (found["bucket"]["used_bytes"], found["bucket"]["objects"]) == (1000, 2)
    assert found["database"]["used_bytes"] > 10_000
    assert found["disk"]["free_bytes"] > 0
    assert any("call-recordings" in line for line in storage_growth.lines(storage_growth.of(context, Query())))
