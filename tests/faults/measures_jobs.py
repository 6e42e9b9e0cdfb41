"""Processes in numbers: kills under load, a killed job's second start, an emptied Redis."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ml_backend import db, jobs, tables
from ml_backend.context import Context, open_context
from ml_backend.settings import Settings
from tests.faults import checker, world
from tests.faults.full import Figure, Run
from tests.faults.launch import At
from tests.faults.storms import callbacks_under_kills, supervised
from tests.faults.world import World, until
from tests.ml_backend import serve
from tests.ml_backend.job_functions import WORK, diary
from tests.servers import redis


@contextmanager
def served(run: Run) -> Iterator[tuple[World, redis.RedisServer]]:
    with redis.running(run.folder / "redis") as server:
        with world.running(run.folder, REDIS_URL=server.url) as there:
            yield there, server


def kills(run: Run) -> list[Figure]:
    """Acknowledged callbacks under random SIGKILLs over web, relay, worker and Redis; then everything is read."""
    callbacks, number = run.count(10_000, least=100), run.count(200, least=5)
    with served(run) as (there, server):

        def redis_dies() -> None:
            server.kill()
            server.start()

        kept = [supervised(there, *command) for command in (("web",), ("relay",), ("worker", "sync"))]
        callbacks_under_kills(
            there, kept, callbacks=callbacks, kills=number, seed=run.seed, more_kills=[redis_dies], Status="busy"
        )
        acknowledged = sum(one.acknowledged for one in there.history.read())
        read = {"state": "read"}
        until(
            lambda: [one.look() for one in kept] and there.count(tables.events, **read) == callbacks,
            within_s=900,
            say=there.jobs,
        )
        broken = checker.wrong(there.context, sent=there.history.read())
        quarantined = there.count(tables.jobs, state="quarantined")
        calls, events = there.count(tables.calls), there.count(tables.events)
    for entry in broken[:10]:
        print(entry)
    return [
        Figure(f"of {acknowledged} acknowledged callbacks, lost under {number} kills", "0",
               str(len([one for one in broken if one.startswith("I1")])), not broken),
        Figure("events, calls afterwards; jobs set aside", f"{callbacks}, {callbacks}; 0",
               f"{events}, {calls}; {quarantined}", (events, calls, quarantined) == (callbacks, callbacks, 0)),
    ]  # fmt: skip


def again(run: Run) -> list[Figure]:
    """A job whose worker was killed, with the intervals of production: seconds until it runs again elsewhere."""
    slowest, places = 0.0, ("runner.after-take", "runner.before-settle")
    with served(run) as (there, _):
        there.start("relay", quick=False)
        for number, place in enumerate(places[: run.count(len(places))]):
            doomed = there.start("worker", "sync", quick=False, at=(At(place, do="sleep", seconds=600),))
            with there.context.db.transaction() as connection:
                jobs.enqueue(connection, jobs.SCAN_BUCKET, key=f"x{number}", bucket="nothing-here", full=0)
            until(lambda wanted=place: there.hits().get(wanted) and there.count(tables.jobs, state="running"))
            job_id = there.rows(tables.jobs, state="running")[0].id
            began = time.monotonic()
            doomed.kill()
            other = there.start("worker", "sync", quick=False)
            until(lambda one=job_id: _attempts(there, one) >= 2, within_s=200, say=there.jobs)
            slowest = max(slowest, time.monotonic() - began)
            other.kill()
    return [Figure("a killed worker's job runs again after, at most", "90 s", f"{slowest:.0f} s", slowest <= 90)]


def _attempts(there: World, job_id: int) -> int:
    return int(there.context.db.row(tables.jobs, job_id).attempt)


def redis_emptied(run: Run) -> list[Figure]:
    """Redis loses everything while 1,000 jobs are pending."""
    pending = run.count(1000, least=20)
    with redis.running(run.folder / "redis") as server:
        context = _context(run, server.url)
        with context.db.transaction() as connection:
            for number in range(pending):
                jobs.enqueue(connection, WORK, n=number)
        with serve.processes(context, redis_url=server.url) as start:
            start("relay"), start("worker:sync")
            until(lambda: jobs.counts(context.db).get("done", 0) > pending // 10)
            server.client().flushall()
            began = time.monotonic()
            until(
                lambda: jobs.counts(context.db) == {"done": pending}, within_s=300, say=lambda: jobs.counts(context.db)
            )
            took = time.monotonic() - began
        ends = Counter(line.split()[1] for line in diary(context) if line.startswith("end"))
        context.db.dispose()
    twice = [number for number, count in ends.items() if count > 1]
    return [
        Figure(f"Redis emptied with {pending} jobs pending: done, twice in effect", f"{pending}, 0",
               f"{len(ends)}, {len(twice)}", len(ends) == pending and not twice),
        Figure("seconds until all of them were done", "60 s", f"{took:.0f} s", took <= 60),
    ]  # fmt: skip


def _context(run: Run, redis_url: str) -> Context:
    settings = Settings(_env_file=None, data_dir=run.folder / "data", redis_url=redis_url)
    db.upgrade(settings.database)
    return open_context(settings)
