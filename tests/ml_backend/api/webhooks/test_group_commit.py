"""Many small writes at once: each caller hears what became of its own, and few commits do it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.api.webhooks.group_commit import GroupCommit
from ml_backend.context import Context
from ml_backend.errors import RetryableError
from ml_backend.jobs import failpoints
from tests.ml_backend.api.serving import WEBHOOK, Serving
from tests.patience import until

SPOILT = 13


def write(connection: Connection, number: int) -> None:
    if number == SPOILT:
        raise ValueError("this one spoils it")
    connection.execute(sa.insert(tables.events).values(source="x", method="POST", body=b"", digest=str(number)))


def at_once(calls: list[Callable[[], None]]) -> list[Exception | None]:
    """What each of the calls raised, all begun together."""
    barrier, raised = threading.Barrier(len(calls)), [None] * len(calls)

    def run(place: int) -> None:
        barrier.wait(30)
        try:
            calls[place]()
        except Exception as error:
            raised[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return raised


def kept(context: Context) -> list[int]:
    return sorted(int(row.digest) for row in context.db.rows(sa.select(tables.events.c.digest)))


@pytest.fixture
def commits() -> Any:
    """Counts commits."""
    places: list[str] = []
    failpoints.arm(places.append)
    yield lambda: places.count("web.after-commit")
    failpoints.arm(None)


def test_a_burst_is_kept_with_few_commits(context: Context, commits: Callable[[], int]) -> None:
    group = GroupCommit(context.db, write, wait_s=20)
    assert at_once([lambda n=n: group.put(n) for n in range(100, 150)]) == [None] * 50
    assert kept(context) == list(range(100, 150))
    assert commits() < 50


def test_one_that_spoils_its_transaction_fails_alone(context: Context) -> None:
    group = GroupCommit(context.db, write, wait_s=20)
    raised = at_once([lambda n=n: group.put(n) for n in range(5, 25)])
    assert [type(error) for error in raised] == [ValueError if n == SPOILT else type(None) for n in range(5, 25)]
    assert kept(context) == [n for n in range(5, 25) if n != SPOILT]


def test_nobody_is_told_that_it_was_kept_when_the_commit_failed(context: Context) -> None:
    def die(place: str) -> None:
        if place == "web.before-commit":
            raise RetryableError("database-unavailable", "No.", "Wait.")

    failpoints.arm(die)
    try:
        group = GroupCommit(context.db, write, wait_s=20)
        raised = at_once([lambda n=n: group.put(n) for n in range(20, 30)])
    finally:
        failpoints.arm(None)
    assert {type(error) for error in raised} == {RetryableError}
    assert kept(context) == []


def test_whoever_gets_no_turn_is_told_soon_and_is_not_kept_later(context: Context) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slow(connection: Connection, number: int) -> None:
        began.set()
        go_on.wait(30)
        write(connection, number)

    group = GroupCommit(context.db, slow, wait_s=0.3)
    first = threading.Thread(target=group.put, args=(1,))
    first.start()
    began.wait(30)
    begun = time.monotonic()
    with pytest.raises(RetryableError):
        group.put(2)
    assert time.monotonic() - begun < 5
    go_on.set()
    first.join(30)
    assert kept(context) == [1]
    group.put(3)
    assert kept(context) == [1, 3]


def test_a_request_is_next_in_line_while_jobs_write_without_a_pause(context: Context) -> None:
    """SQLite's own waiting would sleep up to 100 ms between two looks, and any looking finds the gap by luck only."""
    stop, written = threading.Event(), 0

    def jobs_at_work() -> None:
        nonlocal written
        while not stop.is_set():
            with context.db.transaction() as connection:
                write(connection, 1)
                time.sleep(0.005)
            written += 1

    thread = threading.Thread(target=jobs_at_work)
    thread.start()
    try:
        overtaken = []
        for number in range(30):
            before = until(lambda: written > len(overtaken) and written, "the job writes", every_s=0.001)
            with context.db.transaction(wait_s=20) as connection:
                overtaken.append(written - before)
                write(connection, 1000 + number)
    finally:
        stop.set()
        thread.join(30)
    if context.db.is_sqlite:
        assert max(overtaken) <= 5


def test_a_database_that_stays_busy_is_a_retryable_error_in_time(context: Context) -> None:
    if not context.db.is_sqlite:
        pytest.skip("PostgreSQL has many writers")
    group = GroupCommit(context.db, write, wait_s=0.2)
    with context.db.transaction():
        begun = time.monotonic()
        with pytest.raises(RetryableError, match="database"):
            group.put(1)
        assert time.monotonic() - begun < 5
    group.put(2)
    assert kept(context) == [2]


def test_label_studios_webhooks_share_their_commits(
    serve: Callable[..., Serving], commits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five that come while a first one waits for the database are written together."""
    serving, groups = serve(), list[GroupCommit[Any]]()
    real = GroupCommit.put
    monkeypatch.setattr(GroupCommit, "put", lambda self, item: (groups.append(self), real(self, item)))

    def send() -> int:
        return serving.post("/webhook", {"action": "TASK_CREATED"}, WEBHOOK).status_code

    with ThreadPoolExecutor(6) as pool:
        with serving.context.db.transaction():
            answers = [pool.submit(send)]
            until(lambda: groups and groups[0]._turn.locked() and not groups[0]._waiting, "the first one's turn")
            answers += [pool.submit(send) for _ in range(5)]
            until(lambda: len(groups[0]._waiting) == 5, "five wait")
        assert [each.result() for each in answers] == [200] * 6
    assert commits() == 2
    assert len(serving.rows(tables.events)) == len(serving.rows(tables.jobs)) == 6
