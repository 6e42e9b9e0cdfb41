"""Processes in numbers: kills under load, a killed job's second start, an emptied Redis."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context, open_context
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.settings import Settings
from tests.faults import checker, wholes, world
from tests.faults.full import Figure, Run
from tests.faults.launch import At
from tests.faults.storms import callbacks_under_kills, supervised
from tests.faults.wholes import CALL
from tests.faults.world import World, callback, sid, until
from tests.ml_backend import serve
from tests.ml_backend.job_functions import WORK, diary
from tests.servers import redis


@contextmanager
def served(run: Run) -> Iterator[tuple[World, redis.RedisServer]]:
    with redis.running(run.folder / "redis") as server:
        with world.running(run.folder, REDIS_URL=server.url) as there:
            yield there, server


# The bundled model hears a call in a moment; a big one does not. So each is held up before and after its commit.
HEARD = ("before:sync.transcription.transcription._store", "transcribe.before-drafts")
SLOW_HEARING = tuple(At(name, do="sleep", seconds=0.3, every=True) for name in HEARD)


def kills(run: Run) -> list[Figure]:
    """Acknowledged callbacks under random SIGKILLs over web, relay, both workers and Redis; then everything is read.

    One callback in 50 is about a call with a recording, so that downloads, hearings and imports die too.
    """
    callbacks, number, each = run.count(10_000, least=200), run.count(200, least=10), 50
    held = len(range(0, callbacks, each))
    with wholes.everything(run.folder) as around:
        there, server = around.whole, around.redis

        def redis_dies() -> None:
            server.kill()
            server.start()

        def body(n: int) -> dict[str, Any]:
            if n % each:
                return callback(sid(n), Status="busy")
            return there.call(n + 1, audio=CALL.read_bytes() + n.to_bytes(4, "big"))

        parts = (("web",), ("relay",), ("worker", "sync"), ("worker", "sync"))
        kept = [supervised(there, *command) for command in parts]
        kept.append(supervised(there, "worker", "transcribe", at=SLOW_HEARING))
        callbacks_under_kills(
            there, kept, callbacks=callbacks, kills=number, seed=run.seed, gap_s=3.0, more_kills=[redis_dies],
            body=body, say=lambda sent, fallen: run.say(f"{sent} callbacks, {fallen} kills"),
        )  # fmt: skip
        hearing, cut = kept[-1], Counter[str]()

        def settled() -> bool:
            now_heard = there.count(tables.jobs, name="transcribe-recording", state="running")
            if now_heard and cut["at work"] < 2 and hearing.process.alive:  # chance seldom meets it at work
                hearing.process.kill()
                cut["at work"] += 1
            for one in kept:
                one.look()
            run.say(f"{there.jobs()}")
            return there.count(tables.events, state="read") == callbacks and _at_rest(there)

        until(settled, within_s=1200, say=there.jobs)
        died = ", ".join(f"{one.process.name} {one.kills}" for one in kept)
        for one in kept:
            one.process.kill()
        broken = checker.wrong(there.context, sent=there.history.read(), label_studio=there.studio)
        counts = {
            "calls": there.count(tables.calls),
            "events": there.count(tables.events),
            "tasked": there.count(tables.calls, state="tasked"),
            "objects": len(list(there.context.store.list(wholes.BUCKET))),
            "hearings": there.count(tables.transcriptions),
            "tasks": there.count(tables.tasks),
            "tasks there": len(there.studio.tasks),
            "drafts there": len(there.studio.predictions),
        }
        wanted = {name: callbacks if name in ("calls", "events") else held for name in counts}
        wanted["drafts there"] = there.count(tables.tasks, blind=False)  # a blind one gets none
        again = Counter(row.name for row in there.rows(tables.jobs) if row.deaths)
        aside = Counter(row.name for row in there.rows(tables.jobs, state="quarantined"))
        acknowledged = sum(one.acknowledged for one in there.history.read())
    for entry in broken[:10]:
        print(entry)
    print(f"killed: {died}, Redis the rest; {cut['at work']} more of the last at work")
    print(f"jobs that died and ran again: {dict(again)}; set aside: {dict(aside)}")
    for name in set(aside) - set(_OF_A_CALL):  # three deaths set a long one aside; its schedule makes the next
        del aside[name]
    lost = [one for one in broken if one.startswith("I1")]
    wrong = {name: count for name, count in counts.items() if count != wanted[name]}
    return [
        Figure(f"of {acknowledged} acknowledged callbacks, lost under {number} kills", "0", str(len(lost)), not lost),
        Figure("calls, calls with a recording heard and in Label Studio once; jobs of a call set aside",
               f"{callbacks}, {held}; 0", f"{counts['calls']}, {counts['tasks there']}; {aside.total()}" +
               (f" but {wrong}" if wrong else ""), not wrong and not aside),
        Figure("invariants broken after the kills", "0", str(len(broken)), not broken),
        Figure("transcriptions that were cut down and done again", "1 or more", str(again["transcribe-recording"]),
               again["transcribe-recording"] > 0),
    ]  # fmt: skip


def _at_rest(there: World) -> bool:
    """Nothing is due now and nothing runs; what waits for another day may."""
    soon = tables.now() + timedelta(seconds=60)
    row = tables.jobs.c
    open_ = sa.or_(row.state == "running", sa.and_(row.state.in_(("waiting", "queued")), row.due_at < soon))
    return not list(there.context.db.rows(sa.select(row.id).where(open_, row.name.in_(_OF_A_CALL)).limit(1)))


_OF_A_CALL = (
    "read-call-event", "fetch-recording", "ingest-recording", "transcribe-recording", "select-recording",
    "draft-recording",
    "create-tasks", "push-predictions", "look-up-call",
)  # fmt: skip


def again(run: Run) -> list[Figure]:
    """A job whose worker was killed, with the intervals of production: seconds until it runs again elsewhere."""
    slowest, places = 0.0, ("runner.after-take", "runner.before-settle")
    with served(run) as (there, _):
        there.start("relay", quick=False)
        for number, place in enumerate(places[: run.count(len(places))]):
            doomed = there.start("worker", "sync", quick=False, at=(At(place, do="sleep", seconds=600),))
            with there.context.db.transaction() as connection:
                enqueueing.enqueue(connection, job_kinds.SCAN_BUCKET, key=f"x{number}", bucket="nothing-here", full=0)
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
                enqueueing.enqueue(connection, WORK, n=number)
        with serve.processes(context, redis_url=server.url) as start:
            start("relay"), start("worker:sync")
            until(lambda: enqueueing.counts(context.db).get("done", 0) > pending // 10)
            server.client().flushall()
            began = time.monotonic()
            until(
                lambda: enqueueing.counts(context.db) == {"done": pending},
                within_s=300,
                say=lambda: enqueueing.counts(context.db),
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
