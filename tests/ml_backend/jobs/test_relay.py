"""Promises about handing jobs over: Redis is only transport, and everything here may be killed at any moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context, open_context
from ml_backend.errors import ConfigurationError, RetryableError
from ml_backend.jobs import enqueueing, job_kinds, processes, transport
from ml_backend.jobs.job_kinds import BULK, LIVE, WAITED_FOR, JobKind
from ml_backend.jobs.relay import Relay
from ml_backend.jobs.schedules import SCHEDULES, Schedule, attached_projects, make_due
from ml_backend.settings import Settings
from tests.ml_backend import serve
from tests.ml_backend.job_functions import POOLED, WORK, diary
from tests.ml_backend.serve import QUICK, RELAY, until
from tests.servers import redis as redis_servers


@pytest.fixture
def with_redis(database_url: str, tmp_path: Path, redis_server: redis_servers.RedisServer) -> Iterator[Context]:
    """A context whose Redis is there."""
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=database_url, redis_url=redis_server.url)
    opened = open_context(settings)
    yield opened
    opened.db.dispose()


SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def _relay(context: Context, **changes: float) -> Relay:
    return Relay(context, timing=replace(RELAY, **changes), lease_timing=QUICK, schedules=())


def _add(context: Context, kind: JobKind, **values: object) -> int:
    with context.db.transaction() as tx:
        return enqueueing.enqueue(tx, kind, **values)


def _states(context: Context) -> dict[str, int]:
    """How many jobs are in each state, without those the schedules make in every new database."""
    mine = tables.jobs.c.name.not_in([schedule.kind.name for schedule in SCHEDULES])
    counted = sa.select(tables.jobs.c.state, sa.func.count().label("number")).where(mine)
    return {row.state: int(row.number) for row in context.db.rows(counted.group_by(tables.jobs.c.state))}


def _stepped(relay: Relay) -> bool:
    relay.step()
    return True


def _order(redis_server: redis_servers.RedisServer, queue: str = "sync") -> list[int]:
    """Job ids of the messages in the order workers will get them."""
    name = f"rq:queue:{transport.queue_name(queue)}"
    return [int(each.decode().split("-")[1]) for each in redis_server.client().lrange(name, 0, -1)]


def test_at_most_two_messages_per_worker_lie_in_redis(
    with_redis: Context, redis_server: redis_servers.RedisServer
) -> None:
    for n in range(9):
        _add(with_redis, WORK, n=n)
    relay = _relay(with_redis)
    relay.step()
    assert len(_order(redis_server)) == 2
    for n in range(2):
        processes.seen(with_redis.db, f"w{n}", "worker:sync", started_at=tables.now())
    relay.step()
    relay.step()
    assert len(_order(redis_server)) == 4
    assert _states(with_redis) == {"queued": 4, "waiting": 5}


def test_a_person_who_waits_is_put_in_front_even_when_the_queue_is_full(
    with_redis: Context, redis_server: redis_servers.RedisServer
) -> None:
    bulk = [_add(with_redis, WORK, priority=BULK) for _ in range(3)]
    relay = _relay(with_redis)
    relay.step()
    urgent, live = _add(with_redis, WORK, priority=WAITED_FOR), _add(with_redis, WORK, priority=LIVE)
    relay.step()
    assert _order(redis_server) == [urgent, *bulk[:2]]
    assert live not in _order(redis_server)


def test_messages_name_one_function_and_two_numbers_and_no_argument_of_the_job(
    with_redis: Context, redis_server: redis_servers.RedisServer
) -> None:
    job_id = _add(with_redis, WORK, n=424242)
    _relay(with_redis).step()
    client = redis_server.client()
    stored = b"".join(b"".join(client.hgetall(key).values()) for key in client.scan_iter("rq:job:*"))
    assert b"424242" not in stored
    assert transport.lying(client, "sync") == {(job_id, 0)}


@SQLITE
def test_a_message_that_is_gone_is_sent_again_once(
    with_redis: Context, redis_server: redis_servers.RedisServer
) -> None:
    job_id = _add(with_redis, WORK)
    relay = _relay(with_redis, missing_s=0.2, housekeep_s=0.0)
    relay.step()
    redis_server.client().flushall()
    until(lambda: _stepped(relay) and _order(redis_server) == [job_id])
    for _ in range(3):
        relay.step()
    assert _order(redis_server) == [job_id]


@SQLITE
def test_a_relay_killed_between_marking_and_sending_loses_nothing(
    with_redis: Context, redis_server: redis_servers.RedisServer
) -> None:
    job_id = _add(with_redis, WORK)
    killed = _relay(with_redis)
    assert killed._move(job_id, 0, "waiting", "queued")  # and here it dies
    successor = _relay(with_redis, missing_s=0.2, housekeep_s=0.0)
    until(lambda: _stepped(successor) and _order(redis_server) == [job_id])


def test_redis_being_away_leaves_rows_waiting_and_one_line_a_minute(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        _add(context, WORK)
    settings = Settings(
        _env_file=None,
        data_dir=context.settings.data_dir,
        database_url=context.settings.database_url,
        redis_url=f"redis://127.0.0.1:{redis_servers.free_port()}/0",
    )
    relay = _relay(replace(context, settings=settings), housekeep_s=0.0)
    for _ in range(5):
        relay.step()
    assert _states(context) == {"waiting": 5}
    assert len([record for record in caplog.records if "Redis does not take messages" in str(record.msg)]) == 1


@SQLITE
def test_a_redis_that_accepts_and_is_silent_holds_the_relay_up_for_about_a_second(context: Context) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = transport.connect(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        started = time.monotonic()
        with pytest.raises(RetryableError, match="Redis does not take messages"):
            transport.check(connection)
        assert time.monotonic() - started < 3


@SQLITE
@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
def test_a_redis_that_evicts_is_refused_with_a_plain_sentence(
    with_redis: Context, redis_server: redis_servers.RedisServer, policy: str
) -> None:
    redis_server.client().config_set("maxmemory-policy", policy)
    stopped = threading.Event()
    stopped.set()  # a relay that lets it pass ends at once
    with pytest.raises(ConfigurationError, match=f"maxmemory-policy is {policy}") as refused:
        _relay(with_redis).run(stopped)
    assert "noeviction" in refused.value.next_step


@SQLITE
def test_a_full_redis_leaves_rows_waiting(with_redis: Context, redis_server: redis_servers.RedisServer) -> None:
    redis_server.client().config_set("maxmemory", "1mb")
    _add(with_redis, WORK)
    relay = _relay(with_redis)
    relay.step()
    assert _states(with_redis) == {"waiting": 1}
    redis_server.client().config_set("maxmemory", "0")
    until(lambda: _stepped(relay) and _states(with_redis) == {"queued": 1})


def test_leases_are_taken_back_only_after_living_runners_had_time_to_renew_them(context: Context) -> None:
    job_id = _add(context, WORK)
    with context.db.transaction() as tx:
        ran_out = tables.now() - timedelta(seconds=1)
        tx.execute(sa.update(tables.jobs).values(state="running", attempt=1, lease_owner="x", lease_until=ran_out))
    relay = _relay(context, housekeep_s=0.0)
    relay.keep_house()
    assert _states(context) == {"running": 1}  # a heartbeat's time after its start
    until(lambda: relay.keep_house() or _states(context) != {"running": 1})
    assert context.db.row(tables.jobs, job_id).deaths == 1


@SQLITE
def test_a_jump_of_the_clock_takes_no_lease_from_a_living_runner(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    _add(context, WORK)
    with context.db.transaction() as tx:
        until_then = tables.now() + timedelta(seconds=30)
        tx.execute(sa.update(tables.jobs).values(state="running", attempt=1, lease_owner="x", lease_until=until_then))
    relay = _relay(context, housekeep_s=0.0)
    relay.keep_house()
    relay._steady_since = float("-inf")
    real = tables.now
    monkeypatch.setattr(tables, "now", lambda: real() + timedelta(hours=1))
    relay.keep_house()
    assert _states(context) == {"running": 1}


def test_a_job_cut_off_by_a_requested_stop_is_not_blamed(context: Context) -> None:
    job_id = _add(context, WORK)
    processes.seen(context.db, "w1", "worker:sync", started_at=tables.now())
    processes.stopping(context.db, "w1")
    with context.db.transaction() as tx:
        ran_out = tables.now() - timedelta(seconds=1)
        tx.execute(sa.update(tables.jobs).values(state="running", attempt=1, lease_owner="w1", lease_until=ran_out))
    relay = _relay(context, housekeep_s=0.0)
    until(lambda: relay.keep_house() or _states(context) == {"waiting": 1})
    assert context.db.row(tables.jobs, job_id).deaths == 0


def test_schedules_make_one_job_per_attached_project_and_interval(context: Context) -> None:
    with context.db.transaction() as tx:
        for number, state in ((1, "attached"), (2, "attached"), (3, "seen")):
            values = {"instance_url": "http://ls", "ls_project_id": number, "state": state}
            tx.execute(sa.insert(tables.projects).values(**values))
    every = (Schedule(job_kinds.FIND_TASKS, 60, attached_projects),)

    def made() -> int:
        return len(make_due(context.db, *every))

    assert (made(), made()) == (2, 0)
    with context.db.transaction() as tx:  # a minute later: one is done, the other still waits
        tx.execute(sa.update(tables.jobs).values(created_at=tables.now() - timedelta(seconds=61)))
        tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id == 1).values(state="done"))
    assert (made(), made()) == (1, 0)


def test_old_rows_of_ended_jobs_go_and_trouble_stays_longer(context: Context) -> None:
    for state, days in (("done", 8), ("done", 1), ("failed", 8), ("failed", 91), ("waiting", 400)):
        job_id = _add(context, WORK)
        ended = tables.now() - timedelta(days=days)
        context.db.update(tables.jobs, job_id, state=state, finished_at=None if state == "waiting" else ended)
    _relay(context).keep_house()
    assert _states(context) == {"done": 1, "failed": 1, "waiting": 1}


@SQLITE
def test_emptying_redis_with_a_hundred_jobs_pending_loses_and_repeats_nothing(
    with_redis: Context, redis_server: redis_servers.RedisServer
) -> None:
    for n in range(100):
        _add(with_redis, POOLED, n=n)
    with serve.processes(with_redis, redis_url=redis_server.url) as start:
        start("relay")
        until(lambda: _states(with_redis).get("queued", 0) > 0)
        redis_server.client().flushall()
        start("worker:transcribe")
        until(lambda: _states(with_redis) == {"done": 100}, timeout_s=40, say=lambda: _states(with_redis))
    ends = [line for line in diary(with_redis) if line.startswith("end")]
    assert len(ends) == len(set(ends)) == 100


@SQLITE
def test_killing_the_relay_again_and_again_loses_and_repeats_nothing(
    with_redis: Context, redis_server: redis_servers.RedisServer
) -> None:
    ids = [_add(with_redis, WORK, n=n) for n in range(30)]
    with serve.processes(with_redis, redis_url=redis_server.url) as start:
        start("worker:sync")
        for at_least in (3, 10, 20):
            relay = start("relay")
            until(lambda least=at_least: _states(with_redis).get("done", 0) >= least, timeout_s=30)
            relay.kill()
        start("relay")
        until(lambda: _states(with_redis) == {"done": len(ids)}, timeout_s=30, say=lambda: _states(with_redis))
    starts = [line for line in diary(with_redis) if line.startswith("start")]
    assert len(starts) == len(set(starts)) == len(ids)
