"""Promises about job rows: enqueueing, keys, and what a person can do with a job."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.jobs import enqueueing, leases
from ml_backend.jobs.job_kinds import BULK, LIVE, WAITED_FOR
from tests.ml_backend.job_functions import WORK


def _row(context: Context, job_id: int) -> sa.Row:
    return context.db.row(tables.jobs, job_id)


def _take(context: Context, job_id: int) -> leases.Lease | None:
    with context.db.transaction() as tx:
        return leases.take(tx, job_id, owner="me", lease_s=30)


def test_two_jobs_of_one_key_that_wait_are_one_row(context: Context) -> None:
    with context.db.transaction() as tx:
        first = enqueueing.enqueue(tx, WORK, key="a", n=1)
        second = enqueueing.enqueue(tx, WORK, key="a", n=2)
        other = enqueueing.enqueue(tx, WORK, key="b", n=1)
    assert first == second != other


def test_news_that_comes_while_its_job_runs_gets_a_job_of_its_own(context: Context) -> None:
    with context.db.transaction() as tx:
        first = enqueueing.enqueue(tx, WORK, key="a")
    assert _take(context, first)
    with context.db.transaction() as tx:
        assert enqueueing.enqueue(tx, WORK, key="a") != first


def test_fifty_callers_at_once_make_one_row(context: Context) -> None:
    barrier, ids = threading.Barrier(50), []

    def caller() -> None:
        barrier.wait()
        with context.db.transaction() as tx:
            ids.append(enqueueing.enqueue(tx, WORK, key="same"))

    threads = [threading.Thread(target=caller) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 50
    assert len(set(ids)) == 1


def test_a_caller_who_comes_before_the_first_has_committed_gets_the_same_row(context: Context) -> None:
    ids: list[int] = []
    begun = threading.Event()

    def second() -> None:
        begun.set()
        with context.db.transaction() as tx:
            ids.append(enqueueing.enqueue(tx, WORK, key="same"))

    thread = threading.Thread(target=second)
    with context.db.transaction() as tx:
        ids.append(enqueueing.enqueue(tx, WORK, key="same"))
        thread.start()
        begun.wait()
        thread.join(timeout=0.3)  # it waits for us, as long as we like
        assert len(ids) == 1
    thread.join()
    assert ids[0] == ids[1]


def test_a_more_urgent_caller_makes_the_waiting_job_urgent_and_a_less_urgent_one_changes_nothing(
    context: Context,
) -> None:
    later = tables.now() + timedelta(hours=1)
    with context.db.transaction() as tx:
        job_id = enqueueing.enqueue(tx, WORK, key="a", priority=BULK, due_at=later)
        enqueueing.enqueue(tx, WORK, key="a", priority=WAITED_FOR)
        enqueueing.enqueue(tx, WORK, key="a", priority=LIVE, due_at=later)
    assert _row(context, job_id).priority == WAITED_FOR
    assert _row(context, job_id).due_at <= tables.now()


def test_an_urgent_caller_sends_a_queued_job_through_the_relay_again(context: Context) -> None:
    with context.db.transaction() as tx:
        job_id = enqueueing.enqueue(tx, WORK, key="a", priority=BULK)
        tx.execute(sa.update(tables.jobs).values(state="queued"))
        enqueueing.enqueue(tx, WORK, key="a", priority=WAITED_FOR)
    assert _row(context, job_id).state == "waiting"


def test_a_job_that_failed_keeps_its_back_off_unless_a_person_waits(context: Context) -> None:
    later = tables.now() + timedelta(minutes=5)
    with context.db.transaction() as tx:
        job_id = enqueueing.enqueue(tx, WORK, key="a", due_at=later)
        tx.execute(sa.update(tables.jobs).values(attempt=2))
        enqueueing.enqueue(tx, WORK, key="a")
    assert _row(context, job_id).due_at == later
    with context.db.transaction() as tx:
        enqueueing.enqueue(tx, WORK, key="a", priority=WAITED_FOR)
    assert _row(context, job_id).due_at < later


def test_a_job_carries_ids_and_short_words_only(context: Context) -> None:
    with context.db.transaction() as tx:
        with pytest.raises(TypeError, match="body"):
            enqueueing.enqueue(tx, WORK, body={"text": "what somebody said"})
        with pytest.raises(ValueError, match="longer than"):
            enqueueing.enqueue(tx, WORK, body="x" * 201)
        with pytest.raises(TypeError, match="texts"):
            enqueueing.enqueue(tx, WORK, texts=["what somebody said"])
        assert enqueueing.enqueue(tx, WORK, task_ids=[1, 2, 3], project_id=1, why="upload")


def test_a_job_rolled_back_with_its_transaction_was_never_there(context: Context) -> None:
    def half_way() -> None:
        with context.db.transaction() as tx:
            enqueueing.enqueue(tx, WORK)
            raise KeyError

    with pytest.raises(KeyError):
        half_way()
    assert enqueueing.counts(context.db) == {}


def test_retrying_an_ended_job_forgives_its_failures_and_deaths(context: Context) -> None:
    with context.db.transaction() as tx:
        job_id = enqueueing.enqueue(tx, WORK)
        tx.execute(sa.update(tables.jobs).values(state="quarantined", attempt=3, deaths=3, failures=1))
    assert "will run" in enqueueing.retry(context.db, job_id)
    row = _row(context, job_id)
    assert (row.state, row.attempt, row.deaths, row.failures) == ("waiting", 3, 0, 0)
    assert "will run" in enqueueing.retry(context.db, job_id)  # twice is the same


def test_a_running_job_is_not_retried(context: Context) -> None:
    with context.db.transaction() as tx:
        job_id = enqueueing.enqueue(tx, WORK)
    _take(context, job_id)
    with pytest.raises(InvalidInput, match="running now"):
        enqueueing.retry(context.db, job_id)


def test_retrying_beside_a_waiting_job_of_the_same_key_says_it_is_not_needed(context: Context) -> None:
    with context.db.transaction() as tx:
        old = enqueueing.enqueue(tx, WORK, key="a")
        tx.execute(sa.update(tables.jobs).values(state="failed"))
        enqueueing.enqueue(tx, WORK, key="a")
    assert "not needed" in enqueueing.retry(context.db, old)


def test_a_cancelled_job_is_not_taken_and_an_unknown_one_is_named(context: Context) -> None:
    with context.db.transaction() as tx:
        job_id = enqueueing.enqueue(tx, WORK)
    assert "cancelled" in enqueueing.cancel(context.db, job_id)
    assert _take(context, job_id) is None
    assert "has ended already" in enqueueing.cancel(context.db, job_id)
    with pytest.raises(InvalidInput, match="no job 4711"):
        enqueueing.show(context.db, 4711)


def test_the_list_shows_what_runs_then_what_waits_in_order_then_what_ended(context: Context) -> None:
    with context.db.transaction() as tx:
        ended = enqueueing.enqueue(tx, WORK)
        tx.execute(sa.update(tables.jobs).values(state="done"))
        bulk = enqueueing.enqueue(tx, WORK, priority=BULK)
        urgent = enqueueing.enqueue(tx, WORK, priority=WAITED_FOR)
        running = enqueueing.enqueue(tx, WORK)
    _take(context, running)
    assert [row.id for row in enqueueing.find(context.db)] == [running, urgent, bulk, ended]
    assert enqueueing.counts(context.db) == {"done": 1, "waiting": 2, "running": 1}
    assert [row.id for row in enqueueing.find(context.db, states=("done",))] == [ended]
