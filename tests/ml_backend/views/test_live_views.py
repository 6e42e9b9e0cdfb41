"""Percentiles of the last hour and uptime come from the minutes of all processes, by numbers that can be counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.latency_buckets import LatencyBuckets
from ml_backend.views import live_views

NOW = datetime(2026, 11, 30, 12, 0, 30, tzinfo=UTC)
MINUTE = NOW.replace(second=0)


def there(context: Context, *minutes_ago: int, process: str = "a") -> None:
    """A process of `serve` was there."""
    for ago in minutes_ago:
        put(context, ago, process=process, route="", kind="")


def put(context: Context, ago: int, *seconds: float, failed: int = 0, process: str = "a", **more: Any) -> None:
    buckets = LatencyBuckets()
    for each in seconds:
        buckets.add(each)
    values = {
        "minute": MINUTE - timedelta(minutes=ago), "process": process, "route": "parse", "kind": "nlu",
        "model_version": "", "requests": len(seconds) + failed, "failed": failed, "seconds": buckets.to_json(),
        "waits": {}, "computes": buckets.to_json(), "first_partials": None, **more,
    }  # fmt: skip
    with context.db.transaction() as connection:
        connection.execute(sa.insert(tables.live_minutes).values(values))


def summary(context: Context) -> dict[str, Any]:
    return live_views.summary(context.db, now=NOW)


def test_before_serve_was_ever_started_there_is_nothing_to_judge(context: Context) -> None:
    put(context, 5, 0.1)  # the web process parses too
    found = summary(context)
    assert found["uptime"]["since"] is None
    assert found["uptime"]["days_400"] == {
        "minutes": 0, "good_minutes": 0, "share": None, "requests": 0, "failed": 0,
    }  # fmt: skip


def test_percentiles_are_of_all_processes_and_versions_of_the_last_hour(context: Context) -> None:
    put(context, 61, *[9.0] * 50)  # older
    put(context, 5, *[0.12] * 50, process="a", model_version="v1")
    put(context, 5, *[0.35] * 50, process="b", model_version="v2", failed=2)
    put(context, 6, 0.02, route="speech", kind="tts")
    parse, speech = summary(context)["last_hour"]
    assert (parse["route"], parse["kind"], parse["requests"], parse["failed"]) == ("parse", "nlu", 102, 2)
    assert parse["answer"] == {"p50_s": 0.15, "p95_s": 0.39, "p99_s": 0.398, "count": 100}
    assert parse["compute"] == parse["answer"]
    assert (parse["queue_wait"], parse["first_partial"]) == (None, None)
    assert (speech["route"], speech["answer"]["count"]) == ("speech", 1)


def test_a_minute_is_good_with_99_percent_of_answers_and_down_without_a_process(context: Context) -> None:
    there(context, 10, 9, 8, 7, 6, 0)  # 5 to 1: nobody; 0 is not over yet
    put(context, 9, *[0.1] * 99, failed=1)  # 99 %
    put(context, 8, *[0.1] * 98, failed=1)  # less
    put(context, 7, *[0.1] * 50, process="a")  # good together, though half of b's failed
    put(context, 7, *[0.1] * 49, process="b", failed=1)
    put(context, 4, 0.1)  # answered by web: `serve` was down all the same
    today = summary(context)["uptime"]["today"]
    assert (today["minutes"], today["good_minutes"]) == (10, 4)
    assert today["share"] == 0.4
    assert (today["requests"], today["failed"]) == (300, 3)


def test_the_first_minute_ever_begins_it_and_days_are_those_of_utc(context: Context) -> None:
    there(context, 721)  # 23:59 yesterday
    found = summary(context)["uptime"]
    assert found["since"] == "2026-11-29T23:59:00+00:00"
    assert (found["today"]["minutes"], found["today"]["good_minutes"]) == (720, 0)
    assert (found["days_30"]["minutes"], found["days_30"]["good_minutes"]) == (721, 1)


def test_a_day_that_was_rolled_up_counts_as_it_was_and_one_that_was_not_from_its_minutes(context: Context) -> None:
    with context.db.transaction() as connection:
        for days, minutes, good in ((40, 1000, 900), (3, 1440, 1440)):
            values = {"day": NOW.date() - timedelta(days=days), "minutes": minutes, "good_minutes": good}
            connection.execute(sa.insert(tables.uptime_days).values(values))
    there(context, 3 * 1440)  # late: its day is decided
    there(context, 1440 + 1, 1)
    found = summary(context)["uptime"]
    assert found["today"] == {"minutes": 720, "good_minutes": 1, "share": 0.001389, "requests": 0, "failed": 0}
    assert found["days_30"]["minutes"] == 29 * 1440 + 720  # every day since the first, also those without a row
    assert found["days_30"]["good_minutes"] == 1440 + 2
    assert found["days_400"]["minutes"] == 1000 + 39 * 1440 + 720


@pytest.mark.parametrize(("requests", "failed", "good"), [(0, 0, True), (100, 1, True), (99, 1, False), (1, 1, False)])
def test_99_percent_is_exact(requests: int, failed: int, good: bool) -> None:
    assert live_views.is_good(requests, failed) is good
