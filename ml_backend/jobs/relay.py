"""Job rows -> messages for the workers, and the housekeeping that repairs rows.

The database is the record, so the relay may be killed at any moment and may run twice. A row is marked before its
message is sent; if the relay is killed in between, housekeeping finds the row without a message and sends it again.
Redis holds about two messages per worker, so that an interactive request never queues behind an hour of back-fill.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ml_backend import log, tables
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, KaanError, RetryableError
from ml_backend.jobs import devices, failpoints, leases, processes, transport
from ml_backend.jobs.job_kinds import BULK, QUEUES, WAITED_FOR
from ml_backend.jobs.leases import Timing
from ml_backend.jobs.runner import new_owner
from ml_backend.jobs.schedules import SCHEDULES, Schedule, make_due
from ml_backend.tables import jobs

_log = log.get("relay")

PER_WORKER = 2
BITE, MOST_BITES = 50, 200  # ended jobs deleted per transaction; transactions per round
MAX_URGENT = 16  # extra messages for jobs that a person waits for


@dataclass(frozen=True)
class RelayTiming:
    """The relay's intervals."""

    poll_s: float = 0.2  # how soon a due row is noticed
    housekeep_s: float = 2.0  # lost messages, lost leases
    schedule_s: float = 10.0
    seen_s: float = 10.0
    missing_s: float = 5.0  # a message gone this long without its job starting is sent again
    say_again_s: float = 60.0  # a lasting problem is logged this often, not per job
    prune_s: float = 3600.0
    keep_done_days: float = 7.0
    keep_failed_days: float = 90.0
    clock_jump_s: float = 5.0


class Relay:
    """One relay. `run` loops until stopped; `step` is one round."""

    def __init__(
        self,
        context: Context,
        *,
        timing: RelayTiming | None = None,
        lease_timing: Timing | None = None,
        schedules: Sequence[Schedule] = SCHEDULES,
    ) -> None:
        self.context = context
        self.timing = timing or RelayTiming()
        self.lease_timing = lease_timing or Timing()
        self.schedules = schedules
        self.name = new_owner("relay")
        self.redis = transport.connect(context.settings.redis_url, ca_file=context.settings.ca_file)
        self._started_at = tables.now()
        self._complaints: dict[str, float] = {}
        self._missing: dict[tuple[int, int], float] = {}  # (job, attempts) -> when its message was first missing
        self._last: dict[str, float] = {}  # periodic action -> when it last ran
        self._steady_since = time.monotonic()
        self._clock_offset_s: float | None = None

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set. Waits while the database or Redis is unavailable; a wrong setting ends it."""
        _log.info("relay started")
        try:
            self._check_redis()
        except RetryableError as error:
            self._complain(error)
        while not stop.is_set():
            pause_s = self.timing.poll_s
            try:
                if self.step():
                    pause_s /= 10  # more rows may be due
            except ConfigurationError:
                raise
            except KaanError as error:
                self._complain(error)
                self._steady_since = time.monotonic()
                pause_s = max(1.0, pause_s)
            except Exception:  # no error may stop the relay
                if self._is_time("unexpected", self.timing.say_again_s):
                    _log.exception("something unexpected went wrong in the relay")
                pause_s = max(1.0, pause_s)
            stop.wait(pause_s)
        processes.gone(self.context.db, self.name)
        _log.info("relay stopped")

    def step(self) -> int:
        """One round: send what is due, with housekeeping at intervals. Returns the number of messages sent."""
        sent = 0
        try:
            if self._something_is_due():
                sent = sum(self._hand_over(queue) for queue in QUEUES)
            self._complaints = {
                code: at for code, at in self._complaints.items() if not code.startswith(transport.CODES)
            }
        except RetryableError as error:
            if not error.code.startswith(transport.CODES):
                raise
            self._complain(error)
        self.keep_house()
        return sent

    # --- handing over

    def _something_is_due(self) -> bool:
        """A cheap query, usually the only one of a round."""
        with self.context.db.reading() as connection:
            now = leases.clock(connection)
            waiting = sa.select(jobs.c.id).where(jobs.c.state == "waiting", jobs.c.due_at <= now)
            return connection.execute(waiting.limit(1)).first() is not None

    def _hand_over(self, queue: str) -> int:
        """Mark due rows as queued and send their messages, most urgent first."""
        chosen = self._chosen(queue)
        if not chosen:
            return 0
        self._check_redis()
        lowest = self._least_urgent_in_queue(queue)
        for row in chosen:
            if self._move(row.id, row.attempt, "waiting", "queued"):
                failpoints.hit("relay.before-push")
                try:
                    transport.put(self.redis, queue, row.id, attempt=row.attempt, in_front=row.priority < lowest)
                except RetryableError:
                    self._move(row.id, row.attempt, "queued", "waiting")
                    raise
                failpoints.hit("relay.after-push")
        return len(chosen)

    def _chosen(self, queue: str) -> Sequence[Any]:
        with self.context.db.reading() as connection:
            now = leases.clock(connection)
            waiting = sa.select(jobs.c.id, jobs.c.attempt, jobs.c.priority).where(
                jobs.c.state == "waiting", jobs.c.queue == queue, leases.due(now)
            )
            if queue == "transcribe" and devices.is_training(connection):
                waiting = waiting.where(jobs.c.priority < BULK)  # live calls first; back-fill when the device is free
            ordered = waiting.order_by(jobs.c.priority, jobs.c.due_at, jobs.c.id)
            first = connection.execute(ordered.limit(1)).first()
            if first is None:
                return []
            queued = connection.execute(
                sa.select(sa.func.count()).where(jobs.c.state == "queued", jobs.c.queue == queue)
            ).scalar_one()
            role = f"worker:{queue}"
            recent = leases.clock(connection) - timedelta(seconds=processes.ALIVE_S)
            workers = connection.execute(
                sa.select(sa.func.count()).where(tables.processes.c.role == role, tables.processes.c.seen_at > recent)
            ).scalar_one()
            free = PER_WORKER * max(1, workers) - queued
            if free > 0:
                return connection.execute(ordered.limit(free)).all()
            if first.priority > WAITED_FOR or queued >= PER_WORKER * max(1, workers) + MAX_URGENT:
                return []
            return connection.execute(ordered.where(jobs.c.priority <= WAITED_FOR).limit(MAX_URGENT)).all()

    def _least_urgent_in_queue(self, queue: str) -> int:
        """The largest priority number among sent messages: a job with a smaller one goes to the front."""
        sent = sa.select(sa.func.max(jobs.c.priority)).where(jobs.c.state == "queued", jobs.c.queue == queue)
        with self.context.db.reading() as connection:
            found = connection.execute(sent).scalar()
        return -1 if found is None else int(found)

    def _move(self, job_id: int, attempt: int, before: str, after: str) -> bool:
        this = sa.and_(jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.state == before)
        with self.context.db.transaction() as connection:
            at = leases.clock(connection) if after == "queued" else None
            return connection.execute(sa.update(jobs).where(this).values(state=after, queued_at=at)).rowcount == 1

    def _check_redis(self) -> None:
        """At intervals, and after every failure, check that Redis answers and does not evict messages."""
        if self._is_time("check", self.timing.say_again_s):
            transport.check(self.redis)

    # --- housekeeping

    def keep_house(self) -> None:
        """Handle lost leases, lost messages, schedules and old rows, and write the relay's heartbeat."""
        if self._is_time("seen", self.timing.seen_s):
            of_redis = [code for code in self._complaints if code.startswith(transport.CODES)]
            detail = {"redis": of_redis[-1] if of_redis else None}
            processes.seen(self.context.db, self.name, "relay", started_at=self._started_at, detail=detail)
        if self._is_time("schedule", self.timing.schedule_s):
            for schedule in self.schedules:
                make_due(self.context.db, schedule)
        if self._is_time("prune", self.timing.prune_s):
            self._prune()
        if not self._is_time("house", self.timing.housekeep_s):
            return
        self._watch_the_clock()
        self._take_back()
        try:
            self._send_again()
        except RetryableError as error:
            if not error.code.startswith(transport.CODES):
                raise
            self._complain(error)

    def _take_back(self) -> None:
        """Take back expired leases, but only if live runners had time to renew theirs.

        After a start, a database outage or a jump of the clock, runners get the time of one heartbeat first.
        """
        if time.monotonic() - self._steady_since < 1.5 * self.lease_timing.beat_s:
            return
        with self.context.db.reading() as connection:
            if not leases.ran_out(connection, lease_s=self.lease_timing.lease_s):
                return
        with self.context.db.transaction() as connection:
            for settled in leases.take_back(connection, lease_s=self.lease_timing.lease_s):
                _log.warning("a job's process ended", job=settled.job_id, kind=settled.name, state=settled.state)

    def _watch_the_clock(self) -> None:
        """Compare the database's clock with the monotonic clock."""
        with self.context.db.reading() as connection:
            offset_s = leases.clock(connection).timestamp() - time.monotonic()
        if self._clock_offset_s is not None and abs(offset_s - self._clock_offset_s) > self.timing.clock_jump_s:
            _log.warning("the clock jumped", seconds=round(offset_s - self._clock_offset_s, 1))
            self._steady_since = time.monotonic()
        self._clock_offset_s = offset_s

    def _send_again(self) -> None:
        """Send queued rows again whose message is gone (Redis emptied, or a worker killed after taking it)."""
        queued = self.context.db.rows(
            sa.select(jobs.c.id, jobs.c.attempt, jobs.c.queue).where(jobs.c.state == "queued")
        )
        lying = {queue: transport.lying(self.redis, queue) for queue in {row.queue for row in queued}}
        gone = {(row.id, row.attempt) for row in queued if (row.id, row.attempt) not in lying[row.queue]}
        now = time.monotonic()
        self._missing = {one: self._missing.get(one, now) for one in gone}
        for job_id, attempt in sorted(
            one for one, since in self._missing.items() if now - since >= self.timing.missing_s
        ):
            if self._move(job_id, attempt, "queued", "waiting"):
                _log.info("message lost, sending again", job=job_id)

    def _prune(self) -> None:
        """Delete old rows of ended jobs in small transactions."""
        for states, days in (
            (("done", "cancelled"), self.timing.keep_done_days),
            (("failed", "quarantined"), self.timing.keep_failed_days),
        ):
            for _ in range(MOST_BITES):
                with self.context.db.transaction() as connection:
                    before = leases.clock(connection) - timedelta(days=days)
                    old = sa.select(jobs.c.id).where(jobs.c.state.in_(states), jobs.c.finished_at < before)
                    bite = old.limit(BITE).scalar_subquery()
                    if connection.execute(sa.delete(jobs).where(jobs.c.id.in_(bite))).rowcount < BITE:
                        break
        with self.context.db.transaction() as connection:
            processes.remove_old(connection)

    def _is_time(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now - self._last.get(what, float("-inf")) < every_s:
            return False
        self._last[what] = now
        return True

    def _complain(self, error: KaanError) -> None:
        """Log a lasting problem once a minute."""
        self._last.pop("check", None)
        now = time.monotonic()
        if now - self._complaints.get(error.code, float("-inf")) >= self.timing.say_again_s:
            self._complaints[error.code] = now
            _log.warning(error.sentence, code=error.code, next_step=error.next_step)
