"""What `/v1` answered is counted, written by a thread, and lost by nothing but a kill."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from gunicorn.config import Config

from ml_backend import tables
from ml_backend.api import server
from ml_backend.api.live import live_tally
from ml_backend.api.live.live_tally import LiveTally
from ml_backend.calls import pseudonyms, tombstones
from ml_backend.context import Context
from ml_backend.errors import RetryableError
from ml_backend.latency_buckets import LatencyBuckets
from tests.patience import until

NOON = 1_796_040_000.0  # a whole minute


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> float:
        return self.at


class Silent(LiveTally):
    """Without its thread: the test says when it is written."""

    def _begin(self) -> None:
        pass


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tally(context: Context, clock: Clock) -> LiveTally:
    return Silent(context, now=clock)


@contextmanager
def unavailable(context: Context, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SQLite: another process writes. PostgreSQL: nobody is there."""

    @contextmanager
    def away(**_: Any) -> Iterator[None]:
        raise RetryableError("database-unavailable", "The database does not answer.", "Wait.")
        yield

    monkeypatch.setattr(live_tally, "WAIT_S", 0.01)
    with monkeypatch.context() as during, context.db.transaction():
        if not context.db.is_sqlite:
            during.setattr(context.db, "transaction", away)
        yield


def rows(context: Context, table: sa.Table) -> list[Any]:
    return list(context.db.rows(sa.select(table).order_by(*table.primary_key.columns)))


def body(context: Context) -> dict[str, Any]:
    (row,) = rows(context, tables.live_totals)
    found: dict[str, Any] = row.body
    return found


def parsed(tally: LiveTally, *, status: int = 200, seconds: float = 0.02, **more: Any) -> None:
    tally.answered("parse", "nlu", version="v1", status=status, seconds=seconds, **more)


def experiment(context: Context) -> int:
    with context.db.transaction() as connection:
        values = {"name": "x", "champion": "v1", "challenger": "v2", "traffic_share": 0.5}
        return int(connection.execute(sa.insert(tables.experiments).values(values)).inserted_primary_key[0])


def test_an_answer_is_in_its_minute_in_the_totals_and_in_the_row_of_its_call(
    context: Context, tally: LiveTally
) -> None:
    parsed(tally, seconds=0.2, wait_s=0.04, compute_s=0.1, call="c1")
    parsed(tally, seconds=0.4, call="c1")
    assert rows(context, tables.live_minutes) == []  # nothing waits for the database
    assert tally.write()
    (minute,) = rows(context, tables.live_minutes)
    assert (minute.minute.timestamp(), minute.process) == (NOON, tally.process)
    assert (minute.route, minute.kind, minute.model_version) == ("parse", "nlu", "v1")
    assert (minute.requests, minute.failed) == (2, 0)
    assert minute.seconds == {"0.2": 1, "0.4": 1, "sum": 0.6}
    assert (minute.waits, minute.computes, minute.first_partials) == (
        {"0.05": 1, "sum": 0.04}, {"0.1": 1, "sum": 0.1}, {},
    )  # fmt: skip
    assert body(context)["status"] == {"200": 2}
    assert body(context)["seconds"] == minute.seconds
    (call,) = rows(context, tables.outcomes)
    assert (call.call_sid, call.kind, call.model_version) == ("c1", "nlu", "v1")
    assert (call.requests, call.failed, call.latency_s) == (2, 0, pytest.approx(0.3))


def test_a_call_keeps_the_mean_of_what_was_answered_over_processes_and_commits(
    context: Context, tally: LiveTally, clock: Clock
) -> None:
    other = Silent(context, now=clock)
    for each, seconds in ((tally, 0.1), (other, 0.2), (tally, 0.6)):
        parsed(each, seconds=seconds, call="c1")
        assert each.write()
    parsed(other, status=503, seconds=9.0, call="c1")
    assert other.write()
    (call,) = rows(context, tables.outcomes)
    assert (call.requests, call.failed, call.latency_s) == (4, 1, pytest.approx(0.3))
    assert sum(row.requests for row in rows(context, tables.live_minutes)) == 4
    assert len(rows(context, tables.live_minutes)) == 2  # a row per process
    assert body(context)["status"] == {"200": 3, "503": 1}


@pytest.mark.parametrize(
    ("status", "refused", "requests", "failed", "of_the_call"),
    [
        (200, None, 1, 0, 1),
        (400, None, 1, 0, 0),  # the caller's mistake says nothing about the call
        (404, None, 1, 0, 0),
        (500, None, 1, 1, 1),
        (429, None, 1, 1, 0),  # no version answered
        (429, "live-busy", 1, 1, 0),
        (429, "rate-limited", 0, 0, 0),  # the caller's own limit
    ],
)
def test_what_counts_as_failed_is_what_nobody_got_an_answer_to(
    context: Context, tally: LiveTally, status: int, refused: str | None, requests: int, failed: int, of_the_call: int
) -> None:
    parsed(tally, status=status, refused=refused, call="c1")
    tally.write()
    minutes = rows(context, tables.live_minutes)
    assert (sum(row.requests for row in minutes), sum(row.failed for row in minutes)) == (requests, failed)
    assert [(row.requests, row.failed) for row in rows(context, tables.outcomes)] == [(1, failed)] * of_the_call
    assert body(context)["status"] == {str(status): 1}
    assert body(context)["refused"] == ({refused or "live-busy": 1} if status == 429 else {})
    assert bool(body(context)["seconds"]) is (status == 200)  # a refusal is quick, and no answer


def test_a_minute_without_requests_says_that_the_process_was_there(
    context: Context, tally: LiveTally, clock: Clock
) -> None:
    tally.serves()
    for _ in range(3):
        tally.write()
        clock.at += 60
    there = rows(context, tables.live_minutes)
    assert [row.minute.timestamp() - NOON for row in there] == [0, 60, 120]
    assert {(row.route, row.kind, row.model_version, row.requests) for row in there} == {("", "", "", 0)}


def test_a_web_process_says_nothing_of_minutes_without_requests(context: Context, tally: LiveTally) -> None:
    tally.write()
    assert rows(context, tables.live_minutes) == []


def test_while_the_database_is_locked_requests_are_counted_and_written_later(
    context: Context, tally: LiveTally, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with unavailable(context, monkeypatch):
        for _ in range(3):
            parsed(tally, seconds=0.1, call="c1", experiment_id=None)
            assert not tally.write()
            clock.at += 60
    parsed(tally, seconds=0.5, call="c1")
    assert tally.write()
    assert [row.requests for row in rows(context, tables.live_minutes)] == [1, 1, 1, 1]
    (call,) = rows(context, tables.outcomes)
    assert (call.requests, call.latency_s) == (4, pytest.approx(0.2))
    assert body(context)["status"] == {"200": 4}
    said = [record.getMessage() for record in caplog.records if "live_counts_wait" in record.getMessage()]
    assert len(said) == 1


def test_what_is_kept_in_memory_has_a_bound(context: Context, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Silent(context, now=clock, most_kept=5)
    with unavailable(context, monkeypatch):
        for number in range(20):
            parsed(tally, call=f"c{number}")
            assert not tally.write()
            clock.at += 60
    assert tally.write()
    assert [row.call_sid for row in rows(context, tables.outcomes)] == [f"c{number}" for number in range(5)]
    assert [(row.minute.timestamp() - NOON) / 60 for row in rows(context, tables.live_minutes)] == [*range(15, 20)]
    assert body(context)["status"] == {"200": 20}


def test_threads_that_answer_while_it_is_written_lose_no_count(context: Context, clock: Clock) -> None:
    tally = LiveTally(context, now=clock)
    other = LiveTally(context, now=clock)

    def answer(number: int) -> None:
        for turn in range(200):
            mine = (tally, other)[turn % 2]
            parsed(mine, call=f"c{turn % 7}", status=500 if turn % 10 == 9 else 200)

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.close()
    other.close()
    assert sum(row.requests for row in rows(context, tables.live_minutes)) == 1200
    assert sum(row.failed for row in rows(context, tables.live_minutes)) == 120
    assert sum(row.requests for row in rows(context, tables.outcomes)) == 1200
    assert body(context)["status"] == {"200": 1080, "500": 120}
    assert LatencyBuckets.from_json(body(context)["seconds"]).count == 1080


def test_a_call_that_was_erased_gets_no_row_however_its_id_is_stored(context: Context, tally: LiveTally) -> None:
    key = pseudonyms.key_of(context.settings)
    with context.db.transaction() as connection:
        for name in ("gone", "call-9876543210"):
            tombstones.mark_erased(connection, "call", name, key=key)
        person = "a" * 24 + "-10"
        tombstones.mark_erased(connection, "caller", person, key=key)
        for call, state, hours, by in (
            ("expired", "expired", 1, None), ("of-the-person", "expected", 1, person),
            ("after-it", "expected", -1, person), ("of-another", "expected", 1, "b" * 24 + "-11"),
        ):  # fmt: skip
            values = {"provider": "exotel", "call_sid": call, "state": state, "from_pseudonym": by}
            began = tables.now() - timedelta(hours=hours)
            connection.execute(sa.insert(tables.calls).values(**values, started_at=began))
    for call in ("gone", "call-9876543210", "expired", "of-the-person", "here", "after-it", "of-another"):
        parsed(tally, call=call)
    tally.write()
    assert {row.call_sid for row in rows(context, tables.outcomes)} == {"here", "after-it", "of-another"}
    assert body(context)["status"] == {"200": 7}


def test_a_row_that_no_database_takes_keeps_back_no_other(context: Context, tally: LiveTally) -> None:
    parsed(tally, call="bad", experiment_id=999, arm="champion")  # there is no such experiment
    parsed(tally, call="good")
    parsed(tally, call="half \ud800")
    assert tally.write()
    assert [row.call_sid for row in rows(context, tables.outcomes)] == ["good"]
    assert body(context)["status"] == {"200": 3}


def test_an_arm_stays_with_its_call_and_a_failure_without_a_version_changes_neither(
    context: Context, tally: LiveTally
) -> None:
    trial = experiment(context)
    tally.answered(
        "parse", "nlu", version="v2", status=200, seconds=0.1, call="c1", experiment_id=trial, arm="challenger"
    )
    tally.write()
    tally.answered("parse", "nlu", version=None, status=503, seconds=0.0, call="c1")
    tally.answered("parse", "nlu", version=None, status=429, seconds=0.0, call="c1")
    tally.write()
    (call,) = rows(context, tables.outcomes)
    assert (call.experiment_id, call.arm, call.model_version) == (trial, "challenger", "v2")
    assert (call.requests, call.failed) == (2, 1)


def test_a_row_of_a_call_is_of_one_version_and_what_is_asked_by_name_takes_no_arms_place(
    context: Context, tally: LiveTally
) -> None:
    phone = {"call": "c1", "experiment_id": experiment(context), "arm": "champion"}

    def answered(version: str, seconds: float, **more: Any) -> None:
        tally.answered("parse", "nlu", version=version, status=200, seconds=seconds, **more)

    for together in (True, False):  # in one commit, and in one each
        answered("v1", 0.2, **phone)
        assert together or tally.write()
        answered("named", 9.0, call="c1")
        assert tally.write()
    (row,) = rows(context, tables.outcomes)
    assert (row.model_version, row.arm, row.requests, row.latency_s) == ("v1", "champion", 2, pytest.approx(0.2))
    for together in (True, False):  # a promotion during a call without an experiment
        answered("v1", 0.2, call="c2")
        assert together or tally.write()
        answered("v2", 0.6, call="c2")
        assert tally.write()
    row = rows(context, tables.outcomes)[-1]
    assert (row.model_version, row.arm, row.requests, row.latency_s) == ("v2", None, 1, pytest.approx(0.6))


def test_minutes_that_are_over_and_written_leave_the_memory(context: Context, tally: LiveTally, clock: Clock) -> None:
    tally.serves()
    for _ in range(30):
        parsed(tally)
        assert tally.write()
        clock.at += 60
    assert tally.write()
    assert len(tally._minutes) <= 2
    assert sum(row.requests for row in rows(context, tables.live_minutes)) == 30


def test_what_a_shadow_said_is_added_up_with_the_answer_or_after_it(context: Context, tally: LiveTally) -> None:
    with context.db.transaction() as connection:
        values = {"name": "x", "champion": "v1", "challenger": "v2", "traffic_share": 0.5, "kind": "shadow"}
        experiment = connection.execute(sa.insert(tables.experiments).values(values)).inserted_primary_key[0]
    parsed(tally, call="c1", shadow={"version": "v2", "latency_s": 0.2, "compared": 1, "differing": 1})
    for seconds in (0.4, 0.6):
        tally.shadowed(
            "nlu", call="c1", experiment_id=experiment, arm="champion",
            shadow={"version": "v2", "latency_s": seconds, "compared": 1},
        )  # fmt: skip
        tally.write()
    (call,) = rows(context, tables.outcomes)
    assert (call.requests, call.experiment_id, call.arm) == (1, experiment, "champion")
    assert call.shadow == {
        "version": "v2", "requests": 3, "latency_s": pytest.approx(0.4), "compared": 3, "differing": 1,
        "dropped": 0, "failed": 0,
    }  # fmt: skip


def test_a_process_that_stops_writes_what_it_counted(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_tally, "EVERY_S", 3600.0)  # its thread would come too late
    live_tally.written(context)  # nothing was counted
    tally = live_tally.of(context)  # made with the app
    worker = object.__new__(server.Worker)  # as gunicorn runs it, without a socket
    worker._ended, worker.cfg = threading.Event(), Config()
    worker.app = SimpleNamespace(context=context, name="live", ended=lambda: None)
    monkeypatch.setattr(server.BufferingWorker, "run", lambda _: parsed(tally, call="c1"))
    worker.run()
    assert [row.call_sid for row in rows(context, tables.outcomes)] == ["c1"]


def test_the_thread_writes_by_itself_and_ends_with_what_it_counts_for(context: Context) -> None:
    tally = LiveTally(context)
    parsed(tally)
    until(lambda: bool(rows(context, tables.live_totals)), "the thread has written", within_s=60)
    thread, gone = tally._thread, weakref.ref(tally)
    del tally

    def ended() -> bool:
        gc.collect()
        return gone() is None and thread is not None and not thread.is_alive()

    until(ended, "the thread has ended", within_s=60)
