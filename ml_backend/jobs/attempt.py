"""Leases -> their outcomes: one attempt, with a thread that extends the leases and ends a hanging process.

The function is called in the main thread. The pulse thread extends the leases meanwhile. It ends the process with
`os._exit` when the job reaches its time limit or loses its lease, because C code that hangs reacts to nothing else.
Each member is settled exactly once, by the first of the two threads.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ml_backend import log
from ml_backend.context import Context, JobContext, PooledItem
from ml_backend.errors import PermanentError, RetryableError
from ml_backend.jobs import device_turns, failpoints, leases
from ml_backend.jobs.job_kinds import JobKind
from ml_backend.jobs.leases import Lease, Settled, Timing

EXIT_TIME_LIMIT, EXIT_LEASE_LOST = 75, 76

_log = log.get("runner")


@dataclass
class Attempt:
    """One call of a job function: holds its leases and settles each exactly once."""

    context: Context
    held: dict[int, Lease]  # not settled yet; first the lease that started the call
    max_attempts: int
    timing: Timing
    on_settled: Callable[[Settled], None]
    on_beat: Callable[[], None]
    settled: list[Settled] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)  # the pulse settles too, at the time limit
    _reported_at: float = 0.0

    def execute(self, kind: JobKind) -> None:
        """Call the function and settle every member."""
        head, context = next(iter(self.held.values())), self.context
        job_context = JobContext(
            context.settings, context.db, context.store, context.kept, context.making,
            job_id=head.job_id, attempt=head.attempt, report=self._report,
        )  # fmt: skip
        with log.about(job=head.job_id, trace=head.trace, members=self._members()):
            self._call(kind, head, job_context)

    def _members(self) -> dict[tuple[str, Any], str]:
        """Jobs that run together belong to requests of their own, and so does what each of them enqueues."""
        held = list(self.held.values())
        found = {(name, value): lease.trace for lease in held for name, value in lease.arguments.items()
                 if lease.trace and isinstance(value, int | str)}  # fmt: skip
        return found if len(held) > 1 else {}

    def _call(self, kind: JobKind, head: Lease, job_context: JobContext) -> None:
        error: BaseException | None = None
        try:
            function = _resolve(kind)
            with self._turn(kind, head):
                if kind.pooled:
                    function(job_context, [self._item(lease) for lease in list(self.held.values())])
                    error = RetryableError(
                        "not-settled",
                        "The job ended without an outcome for this member.",
                        "It is tried again alone.",
                    )
                else:
                    function(job_context, **head.arguments)
        except KeyboardInterrupt:
            self._release()
            raise
        except SystemExit:  # RQ's cold shutdown, or a job that calls sys.exit
            error = RetryableError(
                "interrupted", "The process was stopped while this job ran.", "Nothing: it is tried again."
            )
        except Exception as raised:  # any error is the job's outcome, which `settle` writes
            error = raised
        for lease in list(self.held.values()):
            self.settle(lease, error)

    def _turn(self, kind: JobKind, head: Lease) -> AbstractContextManager[None]:
        """Work on the device gives way to what is more urgent than the most urgent member."""
        if kind.queue not in ("transcribe", "training"):
            return nullcontext()
        return device_turns.of(self.context).job(head.priority, time_limit_s=kind.time_limit_s)

    def settle(self, lease: Lease, error: BaseException | None) -> None:
        """Write the outcome of one member; does nothing if it is settled already or the lease was lost."""
        with self.lock:
            if self.held.pop(lease.job_id, None) is None:
                return
            if error is not None:
                _log_failure(lease, error)
            failpoints.hit("runner.before-settle")
            settled = self._persist(lambda connection: self._outcome(connection, lease, error))
            if settled is None:
                _log.warning("outcome dropped: the lease passed to another", job=lease.job_id, attempt=lease.attempt)
                return
            self.settled.append(settled)
        self.on_settled(settled)

    def _outcome(self, connection: sa.Connection, lease: Lease, error: BaseException | None) -> Settled | None:
        if error is None:
            return leases.done(connection, lease)
        return leases.failed(connection, lease, error, max_attempts=self.max_attempts, timing=self.timing)

    def _persist(self, write: Callable[[sa.Connection], Settled | None]) -> Settled | None:
        """Retry writing the outcome until the database accepts it, because the work may have been long."""
        until = time.monotonic() + self.timing.persist_s
        while True:
            try:
                with self.context.db.transaction() as connection:
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
        """Write the job's progress at intervals; a failed write never stops the work."""
        now = time.monotonic()
        if now - self._reported_at < self.timing.report_s and fraction < 1:
            return
        self._reported_at = now
        try:
            with self.context.db.transaction() as connection:
                for lease in list(self.held.values()):
                    leases.report(connection, lease, fraction, note)
        except RetryableError:
            _log.debug("progress not written")

    def _release(self) -> None:
        with self.lock, self.context.db.transaction() as connection:
            for lease in self.held.values():
                leases.release(connection, lease)
            self.held.clear()


class Pulse:
    """The thread that extends the leases of one call, and ends the process at its time limit or without a lease."""

    def __init__(self, attempt: Attempt, *, time_limit_s: float) -> None:
        self.attempt = attempt
        self.timing = attempt.timing
        self.time_limit_s = time_limit_s
        self._stop = threading.Event()
        self._ends_at = time.monotonic() + time_limit_s
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> Pulse:
        # A C timer needs no interpreter lock: the last resort when C code hangs while it holds the lock.
        faulthandler.dump_traceback_later(self.time_limit_s + self.timing.exit_grace_s, exit=True, file=2)
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        with self.attempt.lock:  # waits for a pulse that is ending the process
            faulthandler.cancel_dump_traceback_later()
        self._thread.join(timeout=self.timing.lease_s)

    def _beat(self) -> None:
        trouble = log.Lasting()
        while not self._stop.wait(max(0.0, min(self.timing.beat_s, self._ends_at - time.monotonic()))):
            if time.monotonic() >= self._ends_at:
                self._time_out()
                return
            try:
                self._extend()
                self.attempt.on_beat()
            except Exception as error:  # this thread enforces the time limit, so no error may end it
                if trouble.is_news():
                    _log.warning("heartbeat failed, will try again", error=type(error).__name__)
            else:
                trouble.is_over()

    def _extend(self) -> None:
        with self.attempt.lock:
            held = dict(self.attempt.held)
        if not held:
            return
        with self.attempt.context.db.transaction() as connection:
            ours = leases.extend(connection, held.values(), lease_s=self.timing.lease_s)
        with self.attempt.lock:
            lost = [job_id for job_id in held.keys() - ours if self.attempt.held.pop(job_id, None)]
            for job_id in lost:  # cancelled by a person, or run by another process
                _log.warning("lease lost", job=job_id, attempt=held[job_id].attempt)
            if lost and not self.attempt.held and not self._stop.is_set():
                _end(EXIT_LEASE_LOST, "lease lost: this process stops working on it")

    def _time_out(self) -> None:
        """Settle every running member as a retryable failure, then end the process."""
        with self.attempt.lock:
            if self._stop.is_set():
                return
            sentence = f"The job took longer than its limit of {self.time_limit_s:g} s and its process was ended."
            for lease in list(self.attempt.held.values()):
                self.attempt.settle(lease, RetryableError("time-limit", sentence, "It is tried again; see its log."))
            _end(EXIT_TIME_LIMIT, "time limit reached: this process ends")


def _end(code: int, why: str) -> None:
    """End the process at once, without clean-up that could hang."""
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


def _log_failure(lease: Lease, error: BaseException) -> None:
    code, _, _, branch = leases.describe(error, lease.job_id)
    say = _log.error if code == "unexpected-error" else _log.warning
    say("job failed", job=lease.job_id, kind=lease.name, attempt=lease.attempt, code=code, branch=branch,
        exc_info=error if code == "unexpected-error" else None)  # fmt: skip
