"""Promises about worker processes: killed at any moment, nothing is lost and nothing repeated in effect."""

from __future__ import annotations

import json
import os
import pickle
import signal
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import rq
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context, open_context
from ml_backend.jobs import enqueueing, processes, transport
from ml_backend.jobs.job_kinds import BULK, WAITED_FOR, JobKind
from ml_backend.jobs.relay import Relay
from ml_backend.metrics import Metrics
from ml_backend.settings import Settings
from tests.ml_backend import serve
from tests.ml_backend.job_functions import DIE, HANG, KEPT, POOLED, SLOW, UNTIL_TOLD, WORK, diary
from tests.ml_backend.serve import QUICK, RELAY, Process, until
from tests.servers import redis as redis_servers

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def with_redis(database_url: str, tmp_path: Path, redis_server: redis_servers.RedisServer) -> Iterator[Context]:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=database_url, redis_url=redis_server.url)
    opened = open_context(settings)
    yield opened
    opened.db.dispose()


@pytest.fixture
def start(with_redis: Context) -> Iterator[Callable[[str], Process]]:
    """Starts worker processes; the relay runs here, in a thread (its own tests kill it)."""
    stop = threading.Event()
    relay = Relay(with_redis, timing=RELAY, lease_timing=QUICK, schedules=())
    thread = threading.Thread(target=relay.run, args=(stop,))
    thread.start()
    try:
        with serve.processes(with_redis, redis_url=with_redis.settings.redis_url) as starter:
            yield starter
    finally:
        stop.set()
        thread.join()


def _add(context: Context, kind: JobKind, **values: object) -> int:
    with context.db.transaction() as tx:
        return enqueueing.enqueue(tx, kind, **values)


def _row(context: Context, job_id: int) -> sa.Row:
    return context.db.row(tables.jobs, job_id)


def _is(context: Context, job_id: int, state: str) -> bool:
    return bool(_row(context, job_id).state == state)


def _noted(context: Context, line: str) -> bool:
    return line in diary(context)


def test_a_worker_killed_in_mid_job_is_replaced_and_the_job_has_one_effect(
    with_redis: Context, start: Callable[[str], Process]
) -> None:
    job_id = _add(with_redis, UNTIL_TOLD)
    killed = start("worker:sync")
    until(lambda: _noted(with_redis, "start 0 1"))
    killed.kill()
    start("worker:sync")
    until(lambda: _is(with_redis, job_id, "done"), say=lambda: _row(with_redis, job_id))
    assert diary(with_redis) == ["start 0 1", "start 0 2", "end 0 2"]
    row = _row(with_redis, job_id)
    assert (row.attempt, row.deaths) == (2, 1)


@SQLITE
def test_a_worker_that_keeps_its_process_is_replaced_too(with_redis: Context, start: Callable[[str], Process]) -> None:
    job_id = _add(with_redis, SLOW)
    killed = start("worker:transcribe")
    until(lambda: _noted(with_redis, "start 0 1"))
    killed.kill()
    start("worker:transcribe")
    until(lambda: _is(with_redis, job_id, "done"), say=lambda: _row(with_redis, job_id))
    assert diary(with_redis) == ["start 0 1", "start 0 2", "end 0 2"]


@SQLITE
def test_a_message_taken_by_a_worker_that_died_before_starting_is_sent_again(
    with_redis: Context, redis_server: redis_servers.RedisServer, start: Callable[[str], Process]
) -> None:
    job_id = _add(with_redis, WORK)
    until(lambda: transport.lying(redis_server.client(), "sync") == {(job_id, 0)})
    queue = f"rq:queue:{transport.queue_name('sync')}"
    # exactly what RQ does first, and here the worker is killed
    redis_server.client().lmove(queue, f"{queue}:intermediate", "LEFT", "RIGHT")
    start("worker:sync")
    until(lambda: _is(with_redis, job_id, "done"), say=lambda: _row(with_redis, job_id))
    assert diary(with_redis) == ["start 0 1", "end 0 1"]


@SQLITE
def test_a_job_that_kills_its_process_three_times_is_set_aside_and_the_others_flow(
    with_redis: Context, start: Callable[[str], Process]
) -> None:
    poison = _add(with_redis, DIE, n=1)
    others = [_add(with_redis, WORK, n=n) for n in (2, 3)]
    worker = start("worker:sync")
    until(lambda: _is(with_redis, poison, "quarantined"), say=lambda: _row(with_redis, poison))
    until(lambda: all(_is(with_redis, job_id, "done") for job_id in others))
    assert [line for line in diary(with_redis) if line.startswith("start 1")] == ["start 1 1", "start 1 2", "start 1 3"]
    assert worker.popen.poll() is None  # only its children died
    row = _row(with_redis, poison)
    assert "3 times" in row.error
    assert row.next_step


@SQLITE
def test_a_hanging_child_is_ended_at_its_time_limit_and_its_worker_goes_on(
    with_redis: Context, start: Callable[[str], Process]
) -> None:
    hanging, next_one = _add(with_redis, HANG), _add(with_redis, WORK, n=2)
    start("worker:sync")
    until(lambda: _is(with_redis, hanging, "failed") and _is(with_redis, next_one, "done"))
    assert _row(with_redis, hanging).error_code == "time-limit"


@SQLITE
def test_a_worker_of_transcriptions_keeps_what_it_loaded(with_redis: Context, start: Callable[[str], Process]) -> None:
    ids = [_add(with_redis, KEPT, n=n) for n in range(3)]
    start("worker:transcribe")
    until(lambda: all(_is(with_redis, job_id, "done") for job_id in ids))
    assert diary(with_redis) == ["loaded", "with True", "with True", "with True"]


@SQLITE
def test_a_person_who_waits_goes_before_bulk_through_redis_too(
    with_redis: Context, start: Callable[[str], Process]
) -> None:
    first = _add(with_redis, SLOW, n=0)
    start("worker:transcribe")
    until(lambda: _is(with_redis, first, "running"))
    bulk = [_add(with_redis, POOLED, priority=BULK) for _ in range(5)]
    until(lambda: enqueueing.counts(with_redis.db).get("queued") == 2)
    urgent = _add(with_redis, POOLED, priority=WAITED_FOR)
    until(lambda: _is(with_redis, urgent, "queued"))
    (with_redis.settings.data_dir / "go").touch()
    until(lambda: all(_is(with_redis, job_id, "done") for job_id in (*bulk, urgent)))
    pools = [line for line in diary(with_redis) if line.startswith("pool")]
    assert pools[0] == f"pool {urgent}"


@SQLITE
def test_a_worker_asked_to_stop_finishes_the_job_in_hand_and_takes_no_other(
    with_redis: Context, start: Callable[[str], Process]
) -> None:
    in_hand = _add(with_redis, UNTIL_TOLD, n=1)
    worker = start("worker:sync")
    until(lambda: _is(with_redis, in_hand, "running") and _noted(with_redis, "start 1 1"))
    later = _add(with_redis, WORK, n=2)
    worker.signal(signal.SIGTERM)
    until(lambda: "stopping" in str([row.detail for row in processes.alive(with_redis.db, role="worker:sync")]))
    (with_redis.settings.data_dir / "go").touch()
    assert worker.wait() == 0
    assert _is(with_redis, in_hand, "done")
    assert not _is(with_redis, later, "done")
    assert processes.alive(with_redis.db, role="worker:sync") == []


@SQLITE
@pytest.mark.parametrize("queue", ["sync", "transcribe"])
def test_a_worker_waits_out_a_redis_that_goes_away(
    with_redis: Context, redis_server: redis_servers.RedisServer, start: Callable[[str], Process], queue: str
) -> None:
    kind = {"sync": WORK, "transcribe": KEPT}[queue]
    worker = start(f"worker:{queue}")
    before = _add(with_redis, kind, n=1)
    until(lambda: _is(with_redis, before, "done"))
    redis_server.kill()
    during = _add(with_redis, kind, n=2)
    redis_server.start()
    until(lambda: _is(with_redis, during, "done"), say=lambda: worker.log)
    assert worker.popen.poll() is None


@SQLITE
def test_a_worker_refuses_a_redis_that_evicts(with_redis: Context, redis_server: redis_servers.RedisServer) -> None:
    redis_server.client().config_set("maxmemory-policy", "allkeys-lru")
    with serve.processes(with_redis, redis_url=redis_server.url) as start:
        worker = start("worker:sync")
        assert worker.wait() != 0
        assert "maxmemory-policy is allkeys-lru" in worker.log


@SQLITE
@pytest.mark.parametrize("queue", ["sync", "transcribe"])
def test_hostile_messages_are_set_aside_and_never_executed(
    with_redis: Context,
    redis_server: redis_servers.RedisServer,
    start: Callable[[str], Process],
    tmp_path: Path,
    queue: str,
) -> None:
    marker = tmp_path / "executed"
    name, client = transport.queue_name(queue), redis_server.client()
    rq.Queue(name, connection=client, serializer="json").enqueue_call(
        "tests.ml_backend.job_functions.touch", args=(str(marker),)
    )
    pickled = rq.Queue(name, connection=client).enqueue_call("builtins.print", args=(1,))
    client.hset(pickled.key, "data", pickle.dumps(_Touch(marker)))
    hostile = _hostile(client, name, queue, str(marker))
    mine = _add(with_redis, {"sync": WORK, "transcribe": KEPT}[queue])
    worker = start(f"worker:{queue}")
    until(lambda: _is(with_redis, mine, "done"), say=lambda: worker.log)
    number = 2 + hostile
    until(lambda: _refused(with_redis, queue) == number, say=lambda: (_refused(with_redis, queue), worker.log[-3000:]))
    assert not marker.exists()
    assert worker.popen.poll() is None
    assert transport.lying(client, queue) == set()
    assert not client.keys(f"*{'f' * 8}*"), "each is thrown away"
    assert f'kaan_refused_messages_total{{queue="{queue}"}} {number}.0' in Metrics(with_redis).text().decode()


def _refused(context: Context, queue: str) -> int:
    with context.db.reading() as connection:
        return processes.refused_messages(connection).get(queue, 0)


def _hostile(client: redis.Redis, name: str, queue: str, marker: str) -> int:
    """Messages with our id and something else inside; gives how many."""

    def packed(*told: object) -> bytes:
        return zlib.compress(json.dumps(told).encode())

    datas = [
        packed(transport.PERFORM, None, ["1", 0], {}), packed(transport.PERFORM, None, [1, 0, 2], {}),
        packed(transport.PERFORM, None, [2, 0], {}), packed(transport.PERFORM, None, [True, 0], {}),
        packed(transport.PERFORM, None, [1, 0], {"x": 1}), packed(transport.PERFORM, "os.path", [1, 0], {}),
        packed("tests.ml_backend.job_functions.touch", None, [marker], {}), packed({}), b"", b"\xff\xfe", b"[" * 500,
        zlib.compress(b"[" * 3000), zlib.compress(b" " * 500_000), zlib.compress(b" " * 50_000_000), b"x" * 100_000,
    ]  # fmt: skip
    ids: list[str | bytes] = [f"job-1-0-ffffff{number:02x}" for number in range(len(datas))]
    for message_id, data in zip(ids, datas, strict=True):
        client.hset(f"rq:job:{message_id}", mapping={"data": data, "created_at": "never", "status": "?"})
    client.set("rq:job:job-1-0-ffffffff", "not a hash")
    ids += ["job-1-0-ffffffff", b"\xff\x00", "", "job-" + "9" * 5000 + "-0-00000000", "../x", "job-1-0-fffffffg"]
    for message_id in ids:
        client.rpush(f"rq:queue:{name}", message_id)
    return len(ids)


@SQLITE
@pytest.mark.parametrize("queue", ["sync", "transcribe"])
def test_what_a_message_brings_along_is_dropped(
    with_redis: Context,
    redis_server: redis_servers.RedisServer,
    start: Callable[[str], Process],
    tmp_path: Path,
    queue: str,
) -> None:
    """Its callbacks, dependents, repeats, retries and addresses to report to: the job runs, and nothing else does."""
    name, client, marker = transport.queue_name(queue), redis_server.client(), tmp_path / "executed"
    mine = _add(with_redis, {"sync": WORK, "transcribe": KEPT}[queue])
    with with_redis.db.transaction() as connection:
        connection.execute(
            sa.update(tables.jobs).where(tables.jobs.c.id == mine).values(state="queued", queued_at=tables.now())
        )
    transport.put(client, queue, mine, attempt=0)
    [message_id] = client.lrange(f"rq:queue:{name}", 0, -1)
    callback = "tests.ml_backend.job_functions.touch_on_callback"
    client.hset(
        f"rq:job:{message_id.decode()}",
        mapping={
            "success_callback_name": callback, "failure_callback_name": callback, "stopped_callback_name": callback,
            "repeats_left": "3", "repeat_intervals": "[0]", "retries_left": "3", "number_of_retries": "0",
            "dependency_ids": '["other"]', "meta": "{", "timeout": "x", "created_at": "never",
            "webhooks": json.dumps([{"url": "http://127.0.0.1:1/", "event": "finished"}]),
        },
    )  # fmt: skip
    rq.Queue("elsewhere", connection=client, serializer="json").enqueue_call(
        "tests.ml_backend.job_functions.touch", args=(str(marker),), job_id="dependent"
    )
    client.sadd(f"rq:job:{message_id.decode()}:dependents", "dependent")
    worker = start(f"worker:{queue}")
    until(lambda: _is(with_redis, mine, "done"), say=lambda: worker.log)
    until(lambda: client.llen(f"rq:queue:{name}:intermediate") == 0, say=lambda: worker.log[-6000:])
    again = _add(with_redis, {"sync": WORK, "transcribe": KEPT}[queue], key="again")
    until(lambda: _is(with_redis, again, "done"), say=lambda: worker.log)
    assert worker.popen.poll() is None
    assert _refused(with_redis, queue) == 0
    assert "touch_on_callback" not in worker.log
    assert not client.exists("rq:scheduled:" + name)
    assert client.lrange("rq:queue:elsewhere", 0, -1) == [b"dependent"], "it was not moved"
    assert len(with_redis.db.rows(sa.select(tables.jobs))) == 2


class _Touch:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


@SQLITE
def test_a_child_does_not_outlive_its_worker(with_redis: Context, start: Callable[[str], Process]) -> None:
    job_id = _add(with_redis, UNTIL_TOLD)
    worker = start("worker:sync")
    until(lambda: _noted(with_redis, "start 0 1"))
    children = worker.children()
    assert children
    worker.popen.kill()
    worker.popen.wait()
    until(lambda: not any(_lives(pid) for pid in children))
    start("worker:sync")
    until(lambda: _is(with_redis, job_id, "done"))
    assert diary(with_redis) == ["start 0 1", "start 0 2", "end 0 2"]


def _lives(pid: int) -> bool:
    """A killed child that nobody waits for stays as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
