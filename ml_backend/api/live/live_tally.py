"""What one process answered -> its minutes, its calls' rows, and totals for /metrics.

`answered` only counts in memory: no request waits for the database. A thread writes what was counted four times a
second, many requests in one commit. While the database is busy or away, counts stay in memory, up to a bound, and are
written later. A process that is killed loses what it counted since the last commit, usually a quarter of a second.

Minutes hold absolute numbers of this process, so writing one again changes nothing. Calls and totals are added to what
other processes wrote. A call that was erased gets no row.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, log, quantities, tables
from ml_backend.api import request_rates
from ml_backend.calls import ledger, pseudonyms
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, RetryableError
from ml_backend.jobs import processes
from ml_backend.latency_buckets import LatencyBuckets
from ml_backend.tables import live_minutes, live_totals, outcomes

EVERY_S = 0.25
WAIT_S = 5.0  # for a turn to write
TOGETHER = 40  # rows in one transaction
MOST_KEPT = 20_000  # calls, and minutes, kept in memory while the database is away
BUSY, OWN_RATE = "live-busy", request_rates.CODE
SHADOW_COUNTS = ("compared", "differing", "dropped", "failed")
TIMES = ("seconds", "waits", "computes", "first_partials")
MinuteKey = tuple[int, str, str, str]
TotalKey = tuple[str, str, str]

_ANOTHER_TIME = (RetryableError, ConfigurationError)  # not what is wrong with a row
_log = log.get("live")


@dataclass
class _Times:
    """The four times, in buckets."""

    seconds: LatencyBuckets = field(default_factory=LatencyBuckets)
    waits: LatencyBuckets = field(default_factory=LatencyBuckets)
    computes: LatencyBuckets = field(default_factory=LatencyBuckets)
    first_partials: LatencyBuckets = field(default_factory=LatencyBuckets)

    def add(self, *found: float | None) -> None:
        for buckets, seconds in zip((self.seconds, self.waits, self.computes, self.first_partials), found, strict=True):
            if seconds is not None:
                buckets.add(max(0.0, seconds))

    def merge(self, other: _Times) -> None:
        for name in TIMES:
            getattr(self, name).merge(getattr(other, name))

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name).to_json() for name in TIMES}


@dataclass
class _Minute:
    """One minute of one route, kind and version in this process."""

    requests: int = 0
    failed: int = 0
    times: _Times = field(default_factory=_Times)
    unwritten: bool = True


@dataclass
class _Total:
    """What was counted since the last commit."""

    status: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    times: _Times = field(default_factory=_Times)

    def merge(self, other: _Total) -> None:
        self.status += other.status
        self.refused += other.refused
        self.times.merge(other.times)


@dataclass
class _CallPart:
    """What one kind answered for one call since the last commit."""

    version: str | None = None
    experiment_id: int | None = None
    arm: str | None = None
    requests: int = 0
    failed: int = 0
    seconds: float = 0.0  # of those that did not fail
    shadow: dict[str, Any] | None = None

    def merge(self, later: _CallPart) -> None:
        """Add what came later. Counts are those of one version: another begins anew, and none takes an arm's place."""
        if later.version is not None and self.version not in (None, later.version):
            if later.experiment_id is None and self.experiment_id is not None:
                return  # a version asked for by name, in a call of an experiment
            self.requests, self.failed, self.seconds = 0, 0, 0.0
        self.version = later.version or self.version
        if later.experiment_id is not None:
            self.experiment_id, self.arm = later.experiment_id, later.arm
        self.requests += later.requests
        self.failed += later.failed
        self.seconds += later.seconds
        self.shadow = _shadows(self.shadow, later.shadow)


@dataclass
class _Taken:
    """What one commit writes."""

    minutes: dict[MinuteKey, dict[str, Any]]
    totals: dict[TotalKey, _Total]
    calls: dict[tuple[str, str], _CallPart]
    inside: dict[str, int] | None = None  # where it changed


class LiveTally:
    """The counts of this process. Thread-safe; made after the fork."""

    def __init__(self, context: Context, *, now: Callable[[], float] = time.time, most_kept: int = MOST_KEPT) -> None:
        self._context, self._now, self._most_kept = context, now, most_kept
        self.process = f"{socket.gethostname()[:80]}-{os.getpid()}-{secrets.token_hex(4)}"  # a pid may come again
        self._lock, self._writing, self._wake = threading.Lock(), threading.Lock(), threading.Event()
        self._minutes: dict[MinuteKey, _Minute] = {}
        self._totals: dict[TotalKey, _Total] = {}
        self._calls: dict[tuple[str, str], _CallPart] = {}
        self._inside: Counter[str] = Counter()
        self._inside_written: dict[str, int] = {}
        self._serves = self._closed = False
        self._lost, self._trouble = 0, log.Lasting()
        self._thread: threading.Thread | None = None

    def serves(self) -> None:
        """This is a process of `serve`: from now on each minute has a row that says so."""
        self._serves = True
        self._begin()

    @property
    def _role(self) -> str:
        return "live" if self._serves else "web"

    def answered(
        self,
        route: str,
        kind: str,
        *,
        version: str | None,
        status: int,
        seconds: float,
        wait_s: float | None = None,
        compute_s: float | None = None,
        call: str | None = None,
        experiment_id: int | None = None,
        arm: str | None = None,
        first_partial_s: float | None = None,
        shadow: Mapping[str, Any] | None = None,
        refused: str | None = None,
    ) -> None:
        """Count one answer. `refused` is the code of a 429: who asks too often (`rate-limited`) is not our failure.

        `version` is None where none was chosen; the name that a caller asked for is never counted under.
        """
        if status == 429:
            refused = refused or BUSY
        own_rate, failed = refused == OWN_RATE, status >= 500 or (status == 429 and refused != OWN_RATE)
        named = version or ""
        with self._lock:
            minute = int(self._now() // 60)  # under the lock: what `_commit` forgets never comes again
            total = self._totals.get((route, kind, named))
            if total is None:
                total = self._totals[route, kind, named] = _Total()
            total.status[str(status)] += 1
            if refused:
                total.refused[refused] += 1
            if status < 400:
                total.times.add(seconds, wait_s, compute_s, first_partial_s)
            if not own_rate:
                here = self._minutes.get((minute, route, kind, named))
                if here is None:
                    here = self._minutes[minute, route, kind, named] = _Minute()
                here.requests += 1
                here.failed += failed
                here.unwritten = True
                if status < 400:
                    here.times.add(seconds, wait_s, compute_s, first_partial_s)
            broken = status >= 500
            if call and (broken or status < 400):  # a 429 is no answer of any version
                took = 0.0 if broken else seconds
                part = _CallPart(version, experiment_id, arm, 1, int(broken), took, _shadows(None, shadow))
                self._keep_call((call, kind), part)
        if self._thread is None:
            self._begin()

    def shadowed(self, kind: str, *, call: str, experiment_id: int, arm: str | None, shadow: Mapping[str, Any]) -> None:
        """Add what a shadow said to its call's row, when it comes after the answer.

        `shadow` has `version`, `latency_s`, and optionally `requests` (1) and the counts of `SHADOW_COUNTS`.
        """
        with self._lock:
            self._keep_call((call, kind), _CallPart(None, experiment_id, arm, shadow=_shadows(None, shadow)))
        self._begin()

    @contextmanager
    def inside(self, what: str = "requests") -> Iterator[None]:
        """While a request is being answered, or with `sessions` while one is open."""
        with self._lock:
            self._inside[what] += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside[what] -= 1

    def now_inside(self) -> dict[str, int]:
        """Requests being answered and sessions that are open in this process."""
        with self._lock:
            return {what: number for what, number in self._inside.items() if number}

    def write(self) -> bool:
        """Write everything that was counted; False when the database did not take it, and it is kept."""
        with self._writing:
            while taken := self._taken():
                try:
                    self._commit(taken)
                except _ANOTHER_TIME as error:
                    self._give_back(taken)
                    if self._trouble.is_news():
                        _log.warning("live_counts_wait", reason=quantities.shortened(str(error), 200))
                    return False
                except Exception as error:  # one row that no database takes must not keep back the others
                    self._one_by_one(taken, error)
            if self._trouble.is_over():
                _log.info("live_counts_written_again", lost=self._lost)
                self._lost = 0
        return True

    def close(self) -> None:
        """Write what is left and end the thread."""
        self._closed = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2 * WAIT_S)
        self.write()

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=_write_on, args=(weakref.ref(self), self._wake), name="live-tally", daemon=True
                )
                self._thread.start()

    def _keep_call(self, key: tuple[str, str], part: _CallPart) -> None:
        found = self._calls.get(key)
        if found is not None:
            found.merge(part)
        elif len(self._calls) < self._most_kept:
            self._calls[key] = part
        else:
            self._lost += 1

    def _taken(self) -> _Taken | None:
        """The next commit: all totals, some calls, some minutes that changed; None when everything is written."""
        current = int(self._now() // 60)
        with self._lock:
            if self._serves:
                self._minutes.setdefault((current, "", "", ""), _Minute())
            changed = [key for key, minute in self._minutes.items() if minute.unwritten][:TOGETHER]
            minutes = {}
            for key in changed:
                minute = self._minutes[key]
                minute.unwritten = False
                minutes[key] = {"requests": minute.requests, "failed": minute.failed, **minute.times.to_json()}
            totals, self._totals = self._totals, {}
            calls = {key: self._calls.pop(key) for key in list(self._calls)[:TOGETHER]}
        inside = self.now_inside()
        changed_inside = inside if inside != self._inside_written else None
        some = minutes or totals or calls or changed_inside is not None
        return _Taken(minutes, totals, calls, changed_inside) if some else None

    def _give_back(self, taken: _Taken) -> None:
        with self._lock:
            for key in taken.minutes:
                if key in self._minutes:
                    self._minutes[key].unwritten = True
            for name, total in taken.totals.items():
                self._totals.setdefault(name, _Total()).merge(total)
            later, self._calls = self._calls, taken.calls
            for call, part in later.items():
                self._keep_call(call, part)
            for key in sorted(self._minutes)[: max(0, len(self._minutes) - self._most_kept)]:
                self._lost += self._minutes.pop(key).requests

    def _commit(self, taken: _Taken) -> None:
        with self._context.db.transaction(wait_s=WAIT_S) as connection:
            minutes = [_minute(self.process, key, values) for key, values in taken.minutes.items()]
            names = ("minute", "process", "route", "kind", "model_version")
            db.upsert_many(connection, live_minutes, minutes, key=names)
            _add_totals(connection, taken.totals)
            self._add_calls(connection, taken.calls)
            if taken.inside is not None:
                processes.note_inside(connection, processes.own_name(self._role), taken.inside)
        if taken.inside is not None:
            self._inside_written = taken.inside
        with self._lock:
            current = int(self._now() // 60)
            for key in [key for key, minute in self._minutes.items() if key[0] < current and not minute.unwritten]:
                del self._minutes[key]

    def _add_calls(self, connection: Connection, calls: Mapping[tuple[str, str], _CallPart]) -> None:
        if not calls:
            return
        key = pseudonyms.key_of(self._context.settings)
        gone = ledger.gone(connection, {call for call, _ in calls}, key=key)
        found = [_call(connection, *name, part) for name, part in sorted(calls.items()) if name[0] not in gone]
        plain, shadowed = ([row for row in found if ("shadow" in row) is has] for has in (False, True))
        names = ("call_sid", "kind")
        db.upsert_many(connection, outcomes, plain, key=names, change=_added)
        db.upsert_many(connection, outcomes, shadowed, key=names, change=_added_with_shadow)

    def _one_by_one(self, taken: _Taken, error: Exception) -> None:
        _log.error("live_counts_refused", exc_info=error)
        parts = [
            *(_Taken({key: values}, {}, {}) for key, values in taken.minutes.items()),
            *(_Taken({}, {key: total}, {}) for key, total in taken.totals.items()),
            *(_Taken({}, {}, {key: part}) for key, part in taken.calls.items()),
        ]
        for part in parts:
            try:
                self._commit(part)
            except _ANOTHER_TIME:
                self._give_back(part)
            except Exception as refused:
                _log.error("live_count_lost", reason=quantities.shortened(str(refused), 200))


def of(context: Context) -> LiveTally:
    """The counts of this process."""
    found: LiveTally = context.keep("live-tally", lambda: LiveTally(context))
    return found


def written(context: Context) -> None:
    """When a process ends: write what it counted, where it counted anything."""
    tally: LiveTally | None = context.kept.get("live-tally")
    if tally is not None:
        tally.close()


def _write_on(found: weakref.ref[LiveTally], wake: threading.Event) -> None:
    """Four times a second, until the tally is closed or nobody has it any more."""
    while not wake.wait(EVERY_S):
        tally = found()
        if tally is None:
            return
        try:
            tally.write()
        except Exception:  # counting must not end
            _log.exception("live_counts_not_written")
        del tally


def _shadows(before: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What one shadow version said for one call, added up; another version begins anew."""
    if new is None:
        return dict(before) if before is not None else None
    new = {"requests": 1, **dict.fromkeys(SHADOW_COUNTS, 0), "latency_s": None, **new}
    if before is None or before["version"] != new["version"]:
        return new
    weighed = [(each["latency_s"], each["requests"]) for each in (before, new) if each["latency_s"] is not None]
    number = sum(times for _, times in weighed)
    mean_s = sum(seconds * times for seconds, times in weighed) / number if number else None
    added = {name: before[name] + new[name] for name in ("requests", *SHADOW_COUNTS)}
    return {**before, **added, "latency_s": mean_s}


def _minute(process: str, key: MinuteKey, values: Mapping[str, Any]) -> dict[str, Any]:
    minute, route, kind, version = key
    names = {"route": route, "kind": kind, "model_version": version, "process": process}
    return {**names, "minute": datetime.fromtimestamp(minute * 60, UTC), **values}


def _add_totals(connection: Connection, totals: Mapping[TotalKey, _Total]) -> None:
    """Add to the rows, in one order, so that two processes never wait for each other in a circle."""
    named = [
        {"route": route, "kind": kind, "model_version": version, "body": {}} for route, kind, version in sorted(totals)
    ]
    db.insert_missing(connection, live_totals, named)
    row = live_totals.c
    for key in sorted(totals):
        mine = sa.and_(row.route == key[0], row.kind == key[1], row.model_version == key[2])
        body = connection.execute(sa.select(row.body).where(mine).with_for_update()).scalar_one()
        total = totals[key]
        for name in ("status", "refused"):
            body = {**body, name: dict(Counter(body.get(name, {})) + getattr(total, name))}
        for name in TIMES:
            buckets = LatencyBuckets.from_json(body.get(name))
            buckets.merge(getattr(total.times, name))
            body[name] = buckets.to_json()
        connection.execute(sa.update(live_totals).where(mine).values(body=body, updated_at=tables.now()))


def _call(connection: Connection, call: str, kind: str, part: _CallPart) -> dict[str, Any]:
    """The row to insert, or to add to what is there."""
    good, shadow = part.requests - part.failed, part.shadow
    if shadow is not None:
        db.insert_missing(connection, outcomes, [{"call_sid": call, "kind": kind}])  # so that there is a row to lock
        before = sa.select(outcomes.c.shadow).where(outcomes.c.call_sid == call, outcomes.c.kind == kind)
        shadow = _shadows(connection.execute(before.with_for_update()).scalar(), shadow)
    return {
        "call_sid": call, "kind": kind, "model_version": part.version, "experiment_id": part.experiment_id,
        "arm": part.arm, "requests": part.requests, "failed": part.failed,
        "latency_s": part.seconds / good if good else None, "updated_at": tables.now(),
        **({"shadow": shadow} if shadow is not None else {}),
    }  # fmt: skip


def _added(new: Any) -> dict[str, Any]:
    """The columns of a call that has a row already, by the rule of `_CallPart.merge`."""
    old = outcomes.c
    other = sa.and_(old.model_version != new.model_version, new.model_version.is_not(None))
    passed_by = sa.and_(other, new.experiment_id.is_(None), old.experiment_id.is_not(None))
    before, after = old.requests - old.failed, new.requests - new.failed
    seconds = sa.func.coalesce(old.latency_s, 0.0) * before + sa.func.coalesce(new.latency_s, 0.0) * after
    mean_s = sa.case((before + after > 0, seconds / (before + after)))

    def either(added: Any, name: str) -> Any:
        return sa.case((passed_by, old[name]), (other, new[name]), else_=added)

    return {
        "model_version": either(sa.func.coalesce(old.model_version, new.model_version), "model_version"),
        "experiment_id": sa.func.coalesce(new.experiment_id, old.experiment_id),
        "arm": sa.case((new.experiment_id.is_not(None), new.arm), else_=old.arm),
        "requests": either(old.requests + new.requests, "requests"),
        "failed": either(old.failed + new.failed, "failed"),
        "latency_s": either(mean_s, "latency_s"),
        "updated_at": new.updated_at,
    }


def _added_with_shadow(new: Any) -> dict[str, Any]:
    return {**_added(new), "shadow": new.shadow}
