"""Job row -> its outcome in the same row.

Takes the lease (which counts the attempt before any work), calls the function the row names, and writes what became
of it, by the branch of the error alone. A pulse thread extends the lease meanwhile, and ends the process with
`os._exit` when the job's time is over or the lease was lost: a hang inside C code listens to nothing gentler.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from ml_backend import jobs as job_table
from ml_backend import leases, log, tables
from ml_backend.context import Context, JobContext, PooledItem
from ml_backend.errors import PermanentError, RetryableError
from ml_backend.jobs import WAITED_FOR, JobKind
from ml_backend.leases import Lease, Settled, Timing
from ml_backend.tables import jobs

EXIT_TIME_LIMIT, EXIT_LEASE_LOST = 75, 76
MAX_POOL = 32
UNKNOWN_DURATION_S = 60.0

_log = log.get("runner")


def new_owner(role: str) -> str:
    """A name no other process has, for leases and for the list of processes."""
    return f"{role}@{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


@dataclass
class Summary:
    """What one `run_due` did, in order."""

    outcomes: list[Settled] = field(default_factory=list)

    def of(self, *states: str) -> list[Settled]:
        """The outcomes with these states."""
        return [outcome for outcome in self.outcomes if outcome.state in states]

    @property
    def failed(self) -> list[Settled]:
        """Jobs that ended badly and will not be tried again by themselves."""
        return self.of("failed", "quarantined")


def run_due(
    context: Context,
    *,
    kinds: Mapping[str, JobKind] | None = None,
    queues: Sequence[str] = (),
    timing: Timing | None = None,
    wait_s: float = 0.0,
    on_start: Callable[[str, list[int]], None] = lambda name, ids: None,
    on_settled: Callable[[Settled], None] = lambda settled: None,
) -> Summary:
    """Run everything that is due in this process, and what becomes due meanwhile, most urgent first.

    Needs no Redis. Waits up to `wait_s` for jobs that become due later (retries). Jobs whose process died are
    taken back first.
    """
    timing = timing or Timing()
    runner = Runner(context, kinds=kinds, timing=timing, on_start=on_start, on_settled=on_settled)
    summary, deadline = Summary(), time.monotonic() + wait_s
    with context.db.transaction() as connection:
        leases.take_back(connection, lease_s=timing.lease_s)
    while True:
        row, pause_s = _next(context, queues)
        if row is not None:
            summary.outcomes += runner.run(row)
        elif pause_s is not None and time.monotonic() + pause_s <= deadline:
            time.sleep(min(pause_s + 0.01, 1.0))
        else:
            return summary


def _next(context: Context, queues: Sequence[str]) -> tuple[int | None, float | None]:
    """(id of the most urgent due job, seconds until the next one is due)."""
    with context.db.reading() as connection:
        now = leases.clock(connection)
        mine = jobs.c.queue.in_(queues) if queues else sa.true()
        first = sa.select(jobs.c.id).where(leases.due(now), mine)
        row = connection.execute(first.order_by(jobs.c.priority, jobs.c.due_at, jobs.c.id).limit(1)).scalar()
        if row is not None:
            return int(row), None
        later = sa.select(jobs.c.due_at).where(jobs.c.state.in_(leases.OPEN), jobs.c.due_at > now, mine)
        due_at: datetime | None = connection.execute(later.order_by(jobs.c.due_at).limit(1)).scalar()
        return None, None if due_at is None else max(0.0, (due_at - now).total_seconds())


class Runner:
    """Executes job rows in this process, one call at a time."""

    def __init__(
        self,
        context: Context,
        *,
        owner: str | None = None,
        kinds: Mapping[str, JobKind] | None = None,
        timing: Timing | None = None,
        on_start: Callable[[str, list[int]], None] = lambda name, ids: None,
        on_settled: Callable[[Settled], None] = lambda settled: None,
        on_beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.context = context
        self.owner = owner or new_owner("inline")
        self.kinds = job_table.KINDS if kinds is None else kinds
        self.timing = timing or Timing()
        self.on_start = on_start
        self.on_settled = on_settled
        self.on_beat = on_beat

    def run(self, job_id: int, *, after_attempt: int | None = None) -> list[Settled]:
        """Run one job (or the pool it starts); gives what was settled. Nothing when the job is not to be run now."""
        held = self._take(job_id, after_attempt)
        if not held:
            return []
        kind = self.kinds.get(held[0].name)
        self.on_start(held[0].name, [lease.job_id for lease in held])
        started = time.monotonic()
        call = _Call(self, held, max_attempts=kind.max_attempts if kind else 1)
        if kind is None:
            call.settle(held[0], _unknown(held[0].name, self.kinds))
        else:
            with Pulse(call, time_limit_s=kind.time_limit_s):
                call.execute(kind)
        took_s = round(time.monotonic() - started, 3)
        states = sorted({settled.state for settled in call.settled})
        _log.info("job ran", job=job_id, kind=held[0].name, members=len(held), states=states, seconds=took_s)
        return call.settled

    def next_due(self, queue: str, *, before: int | None = None) -> int | None:
        """The most urgent due job of a queue; with `before`, only one that is more urgent than that job."""
        with self.context.db.reading() as connection:
            found = sa.select(jobs.c.id).where(jobs.c.queue == queue, leases.due(leases.clock(connection)))
            if before is not None:
                found = found.where(
                    jobs.c.priority < sa.select(jobs.c.priority).where(jobs.c.id == before).scalar_subquery()
                )
            first = connection.execute(found.order_by(jobs.c.priority, jobs.c.due_at, jobs.c.id).limit(1)).scalar()
        return None if first is None else int(first)

    def _take(self, job_id: int, after_attempt: int | None) -> list[Lease]:
        """The lease on the job; for the first attempt of a pooled kind, leases on its neighbours too."""
        lease_s = self.timing.lease_s
        with self.context.db.transaction() as connection:
            head = leases.take(connection, job_id, owner=self.owner, lease_s=lease_s, after_attempt=after_attempt)
            if head is None:
                return []
            kind = self.kinds.get(head.name)
            if kind is None or not kind.pooled or head.attempt > 1:
                return [head]
            members = [head]
            for other_id in self._neighbours(connection, head):
                member = leases.take(connection, other_id, owner=self.owner, lease_s=lease_s, after_attempt=0)
                if member is not None:
                    members.append(member)
            return members

    def _neighbours(self, connection: sa.Connection, head: Lease) -> list[int]:
        """Due jobs of the same kind that were never tried, up to the pool's seconds of audio.

        A person's job is pooled only with other such jobs: it must not wait for bulk, nor bulk take it along.
        """
        now, waited_for = leases.clock(connection), head.priority <= WAITED_FOR
        same = sa.and_(jobs.c.name == head.name, jobs.c.attempt == 0, leases.due(now))
        urgency = jobs.c.priority <= WAITED_FOR if waited_for else jobs.c.priority > WAITED_FOR
        ordered = sa.select(jobs.c.id, jobs.c.arguments).where(same, urgency)
        rows = connection.execute(ordered.order_by(jobs.c.priority, jobs.c.due_at, jobs.c.id).limit(4 * MAX_POOL)).all()
        wanted = {row.id: row.arguments.get("recording_id") for row in rows}
        wanted[head.job_id] = head.arguments.get("recording_id")
        ids = [value for value in wanted.values() if isinstance(value, int)]
        lengths = sa.select(tables.recordings.c.id, tables.recordings.c.duration_s)
        known = {i: s for i, s in connection.execute(lengths.where(tables.recordings.c.id.in_(ids))) if s is not None}
        left_s = self.context.settings.asr_pool_s - known.get(wanted.pop(head.job_id), UNKNOWN_DURATION_S)
        chosen: list[int] = []
        for job_id, recording_id in wanted.items():
            left_s -= known.get(recording_id, UNKNOWN_DURATION_S)
            if left_s < 0 or len(chosen) >= MAX_POOL - 1:
                break
            chosen.append(job_id)
        return chosen


class _Call:
    """One call of a job function: the leases it holds, and settling them exactly once."""

    def __init__(self, runner: Runner, held: Sequence[Lease], *, max_attempts: int) -> None:
        self.runner = runner
        self.max_attempts = max_attempts
        self.held = {lease.job_id: lease for lease in held}  # still to be settled
        self.settled: list[Settled] = []
        self.lock = threading.RLock()  # the pulse thread settles too, when time is over
        self._reported_at = 0.0

    def execute(self, kind: JobKind) -> None:
        """Call the function and settle every member."""
        head, context = next(iter(self.held.values())), self.runner.context
        job_context = JobContext(
            context.settings, context.db, context.store, context.kept,
            job_id=head.job_id, attempt=head.attempt, report=self._report,
        )  # fmt: skip
        error: BaseException | None = None
        try:
            function = _resolve(kind)
            if kind.pooled:
                function(job_context, [self._item(lease) for lease in list(self.held.values())])
                error = RetryableError("not-settled", "The job ended without saying what became of this member.")
            else:
                function(job_context, **head.arguments)
        except KeyboardInterrupt:
            self._release()
            raise
        except SystemExit:  # RQ's cold shutdown, or a job that calls sys.exit
            error = RetryableError("interrupted", "The process was told to end while this job ran.")
        except Exception as raised:
            error = raised
        for lease in list(self.held.values()):
            self.settle(lease, error)

    def settle(self, lease: Lease, error: BaseException | None) -> None:
        """Write the outcome of one member; nothing happens when it was settled before or the lease was lost."""
        with self.lock:
            if self.held.pop(lease.job_id, None) is None:
                return
            if error is not None:
                _tell(lease, error)
            settled = self._persist(lambda connection: self._outcome(connection, lease, error))
            if settled is None:
                _log.warning("outcome dropped: the lease passed to another", job=lease.job_id, attempt=lease.attempt)
                return
            self.settled.append(settled)
        self.runner.on_settled(settled)

    def _outcome(self, connection: sa.Connection, lease: Lease, error: BaseException | None) -> Settled | None:
        if error is None:
            return leases.done(connection, lease)
        return leases.failed(connection, lease, error, max_attempts=self.max_attempts, timing=self.runner.timing)

    def _persist(self, write: Callable[[sa.Connection], Settled | None]) -> Settled | None:
        """Offer the outcome to the database until it takes it: the work behind it may have been long."""
        until = time.monotonic() + self.runner.timing.persist_s
        while True:
            try:
                with self.runner.context.db.transaction() as connection:
                    return write(connection)
            except RetryableError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def _item(self, lease: Lease) -> PooledItem:
        return PooledItem(
            lease.job_id, lease.attempt, lease.arguments, on_settled=lambda item: self.settle(lease, item.error)
        )

    def _report(self, fraction: float, note: str) -> None:
        """Progress of the job, written now and then; trouble with it never disturbs the work."""
        now = time.monotonic()
        if now - self._reported_at < self.runner.timing.report_s and fraction < 1:
            return
        self._reported_at = now
        try:
            with self.runner.context.db.transaction() as connection:
                for lease in list(self.held.values()):
                    leases.report(connection, lease, fraction, note)
        except RetryableError:
            _log.debug("progress not written")

    def _release(self) -> None:
        with self.lock, self.runner.context.db.transaction() as connection:
            for lease in self.held.values():
                leases.release(connection, lease)
            self.held.clear()


class Pulse:
    """The thread that keeps the leases of one call alive, and ends the process when it must not go on."""

    def __init__(self, call: _Call, *, time_limit_s: float) -> None:
        self.call = call
        self.timing = call.runner.timing
        self.time_limit_s = time_limit_s
        self._stop = threading.Event()
        self._ends_at = time.monotonic() + time_limit_s
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> Pulse:
        # Set in C, needs no interpreter lock: the last resort when C code hangs while it holds the lock.
        faulthandler.dump_traceback_later(self.time_limit_s + self.timing.exit_grace_s, exit=True, file=2)
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        with self.call.lock:  # a pulse that is ending the process finishes that
            faulthandler.cancel_dump_traceback_later()
        self._thread.join(timeout=self.timing.lease_s)

    def _beat(self) -> None:
        while not self._stop.wait(max(0.0, min(self.timing.beat_s, self._ends_at - time.monotonic()))):
            if time.monotonic() >= self._ends_at:
                self._time_out()
                return
            try:
                self._extend()
                self.call.runner.on_beat()
            except Exception as error:
                _log.warning("heartbeat failed, will try again", error=type(error).__name__)

    def _extend(self) -> None:
        with self.call.lock:
            held = dict(self.call.held)
        if not held:
            return
        with self.call.runner.context.db.transaction() as connection:
            ours = leases.extend(connection, held.values(), lease_s=self.timing.lease_s)
        with self.call.lock:
            lost = [job_id for job_id in held.keys() - ours if self.call.held.pop(job_id, None)]
            for job_id in lost:  # not settled by us meanwhile: cancelled by a person, or run by another
                _log.warning("lease lost", job=job_id, attempt=held[job_id].attempt)
            if lost and not self.call.held and not self._stop.is_set():
                _end(EXIT_LEASE_LOST, "lease lost: this process stops working on it")

    def _time_out(self) -> None:
        """Every member that is still running failed, retryable; then the process ends."""
        with self.call.lock:
            if self._stop.is_set():
                return
            sentence = f"The job took longer than its limit of {self.time_limit_s:g} s and its process was ended."
            for lease in list(self.call.held.values()):
                self.call.settle(lease, RetryableError("time-limit", sentence, "It is tried again; see its log."))
            _end(EXIT_TIME_LIMIT, "time limit reached: this process ends")


def _end(code: int, why: str) -> None:
    """Leave at once, without clean-up that could hang."""
    _log.error(why, exit_code=code)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)


def _resolve(kind: JobKind) -> Callable[..., None]:
    module, _, name = kind.path.rpartition(".")
    try:
        function: Callable[..., None] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PermanentError(
            "job-not-installed",
            f"The function of job kind {kind.name} cannot be loaded here ({type(error).__name__}).",
            "Run this queue's worker from an image that has it, then retry the job.",
        ) from error
    return function


def _unknown(name: str, kinds: Mapping[str, JobKind]) -> PermanentError:
    return PermanentError(
        "unknown-job-kind",
        f"This release knows no job kind {name!r}; it knows {', '.join(sorted(kinds))}.",
        "Run the release that made the job, or cancel it.",
    )


def _tell(lease: Lease, error: BaseException) -> None:
    code, _, _, branch = leases.describe(error, lease.job_id)
    say = _log.error if code == "unexpected-error" else _log.warning
    say("job failed", job=lease.job_id, kind=lease.name, attempt=lease.attempt, code=code, branch=branch,
        exc_info=error if code == "unexpected-error" else None)  # fmt: skip
