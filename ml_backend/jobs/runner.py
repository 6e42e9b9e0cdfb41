"""Job row -> its outcome in the same row.

Takes the lease (which counts the attempt before any work), pools similar jobs of a pooled kind, and calls the function
that the row names (`attempt`). The branch of an error alone decides whether the job is retried.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ml_backend import log, tables
from ml_backend.context import Context
from ml_backend.errors import PermanentError
from ml_backend.jobs import failpoints, job_kinds, leases
from ml_backend.jobs.attempt import Attempt, Pulse
from ml_backend.jobs.job_kinds import WAITED_FOR, JobKind
from ml_backend.jobs.leases import Lease, Settled, Timing
from ml_backend.tables import jobs

MAX_POOL = 32
UNKNOWN_DURATION_S = 60.0

_log = log.get("runner")


def new_owner(role: str) -> str:
    """A unique name for this process, for leases and for the list of processes."""
    return f"{role}@{socket.gethostname()[:60]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


@dataclass
class Summary:
    """The outcomes of one `run_due`, in order."""

    outcomes: list[Settled] = field(default_factory=list)

    def of(self, *states: str) -> list[Settled]:
        """The outcomes with these states."""
        return [outcome for outcome in self.outcomes if outcome.state in states]

    @property
    def failed(self) -> list[Settled]:
        """Jobs that failed and will not be retried automatically."""
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
    """Run all due jobs in this process, and those that become due meanwhile, most urgent first.

    Needs no Redis. Waits up to `wait_s` for jobs that become due later (retries). First takes back jobs whose process
    died.
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
        self.kinds = job_kinds.KINDS if kinds is None else kinds
        self.timing = timing or Timing()
        self.on_start = on_start
        self.on_settled = on_settled
        self.on_beat = on_beat

    def run(self, job_id: int, *, after_attempt: int | None = None) -> list[Settled]:
        """Run one job (or the pool it starts); returns the outcomes, empty if the job cannot run now."""
        held = self._take(job_id, after_attempt)
        if not held:
            return []
        failpoints.hit("runner.after-take")
        kind = self.kinds.get(held[0].name)
        self.on_start(held[0].name, [lease.job_id for lease in held])
        started = time.monotonic()
        attempt = Attempt(
            self.context,
            {lease.job_id: lease for lease in held},
            max_attempts=kind.max_attempts if kind else 1,
            timing=self.timing,
            on_settled=self.on_settled,
            on_beat=self.on_beat,
        )
        if kind is None:
            attempt.settle(held[0], _unknown(held[0].name, self.kinds))
        else:
            with Pulse(attempt, time_limit_s=kind.time_limit_s):
                attempt.execute(kind)
        took_s = round(time.monotonic() - started, 3)
        states = sorted({settled.state for settled in attempt.settled})
        traces = [lease.trace for lease in held]
        said: dict[str, Any] = {"trace": traces[0]} if len(traces) == 1 else {"trace": traces[0], "traces": traces}
        _log.info(
            "job ran", job=job_id, kind=held[0].name, members=len(held), states=states, seconds=took_s,
            arguments=held[0].arguments, **said,
        )  # fmt: skip
        return attempt.settled

    def next_due(self, queue: str, *, before: int | None = None) -> int | None:
        """The most urgent due job of a queue; with `before`, only a job more urgent than that one."""
        with self.context.db.reading() as connection:
            found = sa.select(jobs.c.id).where(jobs.c.queue == queue, leases.due(leases.clock(connection)))
            if before is not None:
                found = found.where(
                    jobs.c.priority < sa.select(jobs.c.priority).where(jobs.c.id == before).scalar_subquery()
                )
            first = connection.execute(found.order_by(jobs.c.priority, jobs.c.due_at, jobs.c.id).limit(1)).scalar()
        return None if first is None else int(first)

    def _take(self, job_id: int, after_attempt: int | None) -> list[Lease]:
        """Lease the job; for the first attempt of a pooled kind, lease its neighbours too."""
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

        A job that a person waits for is pooled only with other such jobs, so that it does not wait for bulk.
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


def _unknown(name: str, kinds: Mapping[str, JobKind]) -> PermanentError:
    return PermanentError(
        "unknown-job-kind",
        f"This release knows no job kind {name!r}; it knows {', '.join(sorted(kinds))}.",
        "Run the release that made the job, or cancel it.",
    )
