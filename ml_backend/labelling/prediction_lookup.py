"""Tasks of a /predict request -> their finished predictions, as stored bytes.

Only a look-up: no model runs and nothing is fetched. Every prediction is claimed by one deliverer with compare-and-set,
because Label Studio never removes duplicates. One delivered a while ago is answered again without a write, because
Label Studio asks only for predictions that it lacks. A missing prediction is enqueued once and answered with an empty
list, which Label Studio treats as "not yet".
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling.project_rows import Project

NOTHING = b"[]"
JUST_DELIVERED_S = 30.0  # the other delivery may have arrived during this request
CONFIRM_AFTER_S = 35.0
POLL_S = 0.1
MAX_CACHED = 20_000
IDS_PER_QUERY, IDS_PER_JOB = 500, 1000
CLOSED_STATES = ("refused", "deleted")

_log = logging.getLogger(__name__)
_T, _P = tables.tasks.c, tables.predictions.c
_FOUND = (
    sa.select(
        _T.ls_task_id, _T.data_value, _T.blind, _T.state, _T.reason_code,
        _P.id, _P.body, _P.delivered_at, _P.delivered_by, _P.config_sha256,
        tables.recordings.c.sha256, tables.transcriptions.c.audio_sha256,
    )
    .select_from(
        tables.tasks.outerjoin(
            tables.predictions,
            sa.and_(_P.task_id == _T.id, _P.draft_label == sa.bindparam("draft_label")),
        )
        .outerjoin(tables.recordings, tables.recordings.c.id == _T.recording_id)
        .outerjoin(tables.transcriptions, tables.transcriptions.c.id == _P.transcription_id)
    )
    .where(_T.project_id == sa.bindparam("project_id"), _T.ls_task_id.in_(sa.bindparam("ids", expanding=True)))
)  # fmt: skip
_LIVE = sa.select(
    tables.projects.c.revision, tables.projects.c.draft_label, tables.projects.c.config_sha256
).where(tables.projects.c.id == sa.bindparam("project_id"))  # fmt: skip


@dataclass
class _Entry:
    """The prediction of one task: its body and delivery, or `closed` if there will be none."""

    data_value: str | None
    closed: bool = False
    prediction_id: int = 0
    body: bytes = b""
    delivered_at: float | None = None  # Unix time; None if not delivered yet


@dataclass
class _Cached:
    revision: int
    draft_label: str
    entries: dict[int, _Entry]


class Deliveries:
    """One per process: the cache of delivered bodies, keyed by the project's revision, and the waiters' limit."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._cache: dict[int, _Cached] = {}
        self._lock = threading.Lock()
        self._waiters = threading.BoundedSemaphore(max(1, context.settings.web_threads // 2 - 1))

    def answers(self, project: Project, tasks: Sequence[Any], *, interactive: bool = False) -> list[bytes]:
        """One JSON text per task, in order: a prediction object, or `[]`.

        Label Studio shows `interactive` answers but does not store them, so they claim nothing and never wait.
        """
        wanted = _wanted(tasks, project.audio_key)
        if project.state == "detached":
            return [NOTHING] * len(tasks)
        asked = dict(want for want in wanted if want)
        ready, missing = self._ready(project, asked, interactive=interactive)
        if missing:
            alone = len(tasks) == 1 and not interactive
            self._enqueue(project, missing, job_kinds.WAITED_FOR if alone else job_kinds.LIVE)
            if alone:
                ready |= self._wait(project, asked)
        # A task that occurs twice in a request is answered once: Label Studio would store both.
        return [ready.pop(want[0], NOTHING) if want else NOTHING for want in wanted]

    def _ready(
        self, project: Project, asked: dict[int, str], *, interactive: bool = False
    ) -> tuple[dict[int, bytes], list[int]]:
        """(bodies to answer by task id, tasks without a draft); `asked` is audio values by task id."""
        entries = self._look_up(project, asked)
        long_ago = time.time() - JUST_DELIVERED_S
        ready: dict[int, bytes] = {}
        unclaimed: list[tuple[int, _Entry]] = []
        missing: list[int] = []
        for task_id, value in asked.items():
            entry = entries.get(task_id)
            if entry is None or entry.data_value != value:
                missing.append(task_id)
            elif entry.closed:
                continue
            elif not entry.body:
                missing.append(task_id)
            elif interactive:
                ready[task_id] = entry.body
            elif entry.delivered_at is None:
                unclaimed.append((task_id, entry))
            elif entry.delivered_at < long_ago:
                ready[task_id] = entry.body
        if unclaimed:
            ready |= self._claim(project, unclaimed)
        return ready, missing

    def _look_up(self, project: Project, asked: dict[int, str]) -> dict[int, _Entry]:
        """Entries from the cache, and from the database for the rest; only entries with a body are cached."""
        with self._lock:
            cached = self._cache.get(project.id)
        known = cached.entries if cached is not None and cached.revision == project.revision else {}
        absent = [task_id for task_id in asked if task_id not in known]
        if not absent:
            return known
        read: dict[int, _Entry] = {}
        with self._context.db.reading() as connection:
            live = connection.execute(_LIVE, {"project_id": project.id}).first()
            if live is None:
                return {}
            for start in range(0, len(absent), IDS_PER_QUERY):
                ids = absent[start : start + IDS_PER_QUERY]
                rows = connection.execute(
                    _FOUND, {"project_id": project.id, "draft_label": live.draft_label, "ids": ids}
                )
                read |= {row.ls_task_id: _entry(row, live.config_sha256) for row in rows}
        self._remember(project.id, live.revision, live.draft_label, read)
        if live.revision == project.revision:
            read |= {task_id: known[task_id] for task_id in asked if task_id in known}
            return read
        return read if len(absent) == len(asked) else self._look_up(replace(project, revision=live.revision), asked)

    def _remember(self, project_id: int, revision: int, draft_label: str, read: dict[int, _Entry]) -> None:
        keep = {task_id: entry for task_id, entry in read.items() if entry.body}
        with self._lock:
            cached = self._cache.get(project_id)
            if cached is None or cached.revision != revision:
                if cached is not None and cached.revision > revision:
                    return
                cached = self._cache[project_id] = _Cached(revision, draft_label, {})
            if sum(len(c.entries) for c in self._cache.values()) + len(keep) > MAX_CACHED:
                self._cache = {project_id: (cached := _Cached(revision, draft_label, {}))}
            cached.entries = {**cached.entries, **keep}  # replaced, not modified: readers hold no lock

    def _claim(self, project: Project, unclaimed: list[tuple[int, _Entry]]) -> dict[int, bytes]:
        """Claim the unclaimed deliveries in one UPDATE; the pusher may have claimed some meanwhile."""
        now, ids = tables.now(), [entry.prediction_id for _, entry in unclaimed]
        label = sa.select(tables.projects.c.draft_label).where(tables.projects.c.id == project.id).scalar_subquery()
        won: set[int] = set()
        with self._context.db.transaction() as connection:
            for start in range(0, len(ids), IDS_PER_QUERY):
                claim = (
                    sa.update(tables.predictions)
                    .where(_P.id.in_(ids[start : start + IDS_PER_QUERY]), _P.delivered_by.is_(None))
                    .where(_P.draft_label == label)
                    .values(delivered_by="answer", delivered_at=now)
                    .returning(_P.id)
                )
                won.update(connection.execute(claim).scalars())
            if won:
                enqueueing.enqueue(
                    connection,
                    job_kinds.CONFIRM_ANSWERS,
                    key=str(project.id),
                    due_at=now + timedelta(seconds=CONFIRM_AFTER_S),
                    project_id=project.id,
                )
        for _, entry in unclaimed:
            entry.delivered_at = now.timestamp()  # by us, or by the pusher a moment ago
        return {task_id: entry.body for task_id, entry in unclaimed if entry.prediction_id in won}

    def _enqueue(self, project: Project, missing: list[int], priority: int) -> None:
        """Ask for the work, once per set of tasks."""
        ids = sorted(missing)
        with self._context.db.transaction() as connection:
            for start in range(0, len(ids), IDS_PER_JOB):
                some = ids[start : start + IDS_PER_JOB]
                name = str(some[0]) if len(some) == 1 else hashlib.sha256(repr(some).encode()).hexdigest()[:16]
                enqueueing.enqueue(
                    connection,
                    job_kinds.FIND_TASKS,
                    key=f"{project.id}:{name}",
                    priority=priority,
                    project_id=project.id,
                    task_ids=some,
                )

    def _wait(self, project: Project, asked: dict[int, str]) -> dict[int, bytes]:
        """A person opened this task: wait a few seconds for the transcript, if a waiting slot is free."""
        deadline = time.monotonic() + self._context.settings.predict_wait_s
        with self._place() as free:
            while free and (left_s := deadline - time.monotonic()) > 0:
                time.sleep(min(POLL_S, left_s))
                with self._context.db.reading() as connection:
                    live = connection.execute(_LIVE, {"project_id": project.id}).first()
                if live is None:
                    break
                ready, still = self._ready(replace(project, revision=live.revision), asked)
                if ready or not still:
                    return ready
        return {}

    @contextmanager
    def _place(self) -> Iterator[bool]:
        """Take one of the waiting slots; there are fewer than threads, so that /health always has one."""
        free = self._waiters.acquire(blocking=False)
        try:
            yield free
        finally:
            if free:
                self._waiters.release()


def _wanted(tasks: Sequence[Any], audio_key: str) -> list[tuple[int, str] | None]:
    """(id, audio value) of every task; None if either is missing, with one log line for all of those."""
    wanted: list[tuple[int, str] | None] = []
    for task in tasks:
        try:
            task_id, value = task["id"], task["data"][audio_key]
        except (TypeError, KeyError, IndexError):
            wanted.append(None)
            continue
        whole = type(task_id) is int and 0 < task_id < 2**63  # refuses JSON's true, which is an int in Python
        wanted.append((task_id, value[:1000]) if whole and type(value) is str and value else None)
    if None in wanted:
        _log.warning("%d tasks in /predict have no id or no audio under %r", wanted.count(None), audio_key[:40])
    return wanted


def _entry(row: Any, config_sha256: str | None) -> _Entry:
    closed = bool(row.blind) or row.state in CLOSED_STATES or row.reason_code is not None
    if row.body is not None:  # another config or audio: a new draft follows; delivered by "nobody": refused
        stale = config_sha256 is not None and row.config_sha256 != config_sha256
        other_audio = None not in (row.sha256, row.audio_sha256) and row.sha256 != row.audio_sha256
        closed = closed or stale or other_audio or row.delivered_by == "nobody"
    if closed or row.body is None:
        return _Entry(row.data_value, closed=closed)
    delivered = row.delivered_at.timestamp() if row.delivered_by and row.delivered_at else None
    return _Entry(row.data_value, False, row.id, row.body.encode(), delivered)
