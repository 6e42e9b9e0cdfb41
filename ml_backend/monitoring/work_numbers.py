"""Work that waits, processes that do it, and this machine's disk.

Each query is one seek in an index, or counts at most `MOST_COUNTED` rows of one, so that a scrape costs the same with
ten thousand calls and with a million. What has ended is counted by a job (`kept_counts`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.calls import live_spool
from ml_backend.calls import states as call_states
from ml_backend.context import Context
from ml_backend.db import Database
from ml_backend.errors import KaanError
from ml_backend.jobs import job_kinds, processes
from ml_backend.models import kinds
from ml_backend.monitoring.metric_values import Gauge, Total
from ml_backend.settings import Settings
from ml_backend.storage.object_store import free_space_mb
from ml_backend.tables import JOB_TROUBLE, calls, jobs, predictions, projects, recordings, summaries

MOST_COUNTED = 2_000  # rows of one state that a scrape counts; above, the job's count is shown where it is larger
SHOWN_S = 120.0  # a process without a heartbeat for this long has no series
ROLES = ("live", "relay", "web", *(f"worker:{queue}" for queue in job_kinds.QUEUES))
PRIORITIES = {job_kinds.WAITED_FOR: "interactive", job_kinds.LIVE: "live", job_kinds.BULK: "bulk"}
WAITING = ("waiting", "queued")
COUNTED_LIVE = (*WAITING, "running", *JOB_TROUBLE)  # states of a job that ends or that a person ends
BACKUP = "backup"  # the summary that `backup` writes
COUNTS = "counts"  # the summary that the job writes
JOB_ENDS = ("done", "cancelled")
DRAFTS = ("untouched", "edited", "manual")


def of(connection: Connection, context: Context, now: datetime) -> Iterator[Gauge]:
    """Everything in this room that one scrape shows."""
    kept = connection.execute(sa.select(summaries).where(summaries.c.name == COUNTS)).first()
    body = kept.body if kept is not None else {}
    yield from _of_jobs(connection, now, body)
    yield from _of_processes(connection, now)
    yield from _of_calls(connection, now, body)
    yield from _of_what_is_over(body)
    age = Gauge("kaan_counts_age_seconds", "Since a job counted what is over; 0 before the first time.")
    age.set(max(0.0, (now - kept.made_at).total_seconds()) if kept is not None else 0.0)
    yield age
    yield from _of_label_studio(connection, now)
    yield from _of_this_machine(context, now)
    yield _backup_age(connection, now)


def backup_made(settings: Settings, facts: Mapping[str, Any]) -> None:
    """Record that a backup is complete, for its age. A database that cannot be written now makes no backup worse."""
    database = Database(settings.database)
    try:
        with contextlib.suppress(KaanError), database.transaction() as connection:
            values = {"name": BACKUP, "body": dict(facts), "made_at": tables.now()}
            db.upsert(connection, summaries, values, key=("name",))
    finally:
        database.dispose()


def counted(connection: Connection, *conditions: sa.ColumnElement[bool]) -> int:
    """How many rows, counted up to MOST_COUNTED."""
    some = sa.select(sa.literal(1)).where(*conditions).limit(MOST_COUNTED).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


def _at_least(number: int, kept: int) -> int:
    """What was counted now; the job's count where that stopped at its bound."""
    return max(number, kept) if number >= MOST_COUNTED else number


def _of_jobs(connection: Connection, now: datetime, body: Mapping[str, Any]) -> Iterator[Gauge]:
    number = Gauge("kaan_jobs", "Jobs by queue and state.", ["queue", "state"])
    waits = Gauge(
        "kaan_oldest_due_job_seconds", "How long the oldest due job waits to begin; 0 where none does.",
        ["queue", "priority"],
    )  # fmt: skip
    kept = {(queue, state): each for queue, state, each in body.get("jobs", ())}
    for queue in job_kinds.QUEUES:
        for state in COUNTED_LIVE:
            mine = counted(connection, jobs.c.queue == queue, jobs.c.state == state)
            number.set(_at_least(mine, kept.get((queue, state), 0)), queue, state)
        for state in JOB_ENDS:
            number.set(kept.get((queue, state), 0), queue, state)
        for priority, name in PRIORITIES.items():
            first = [
                sa.select(sa.func.min(jobs.c.due_at)).where(
                    jobs.c.state == state, jobs.c.queue == queue, jobs.c.priority == priority
                )
                for state in WAITING
            ]
            due = [found for each in first if (found := connection.execute(each).scalar()) is not None]
            waits.set(max([0.0, *((now - at).total_seconds() for at in due)]), queue, name)
    yield from (number, waits)


def _of_processes(connection: Connection, now: datetime) -> Iterator[Gauge]:
    rows = connection.execute(sa.select(tables.processes).order_by(tables.processes.c.name)).all()
    ages = {row.name: (now - row.seen_at).total_seconds() for row in rows}
    alive = [row for row in rows if ages[row.name] < processes.ALIVE_S]
    seen = Gauge("kaan_process_seen_seconds", "Since a process was seen.", ["role", "name"])
    for row in rows:
        if ages[row.name] < SHOWN_S:
            seen.set(max(0.0, ages[row.name]), row.role, row.name)
    number = Gauge("kaan_processes", "Processes that are alive, by role.", ["role"])
    number.fill({role: sum(row.role == role for row in alive) for role in {row.role for row in alive}}, ROLES)
    missed = Gauge(
        "kaan_live_model_not_loaded", "Processes in which the promoted version does not answer.", ["kind"]
    )  # fmt: skip
    for kind in kinds.names():
        missed.set(sum(kind in processes.not_loaded([row]) for row in alive), kind)
    strange = Total("kaan_refused_messages", "Messages in Redis that were not ours, and were removed.", ["queue"])
    strange.fill({queue: float(n) for queue, n in processes.refused_messages(connection).items()}, job_kinds.QUEUES)
    started = Gauge("kaan_live_ever_started", "Whether `serve` was ever started here: 1 or 0.")
    minutes, days = sa.select(tables.live_minutes.c.id), sa.select(tables.uptime_days.c.day)
    started.set(any(connection.execute(each.limit(1)).first() is not None for each in (minutes, days)))
    redis = Gauge("kaan_redis_trouble", "Relays that cannot hand work to Redis.")
    redis.set(sum(bool((row.detail or {}).get("redis")) for row in alive))
    yield from (seen, number, missed, strange, started, redis)


def _of_calls(connection: Connection, now: datetime, body: Mapping[str, Any]) -> Iterator[Gauge]:
    reported = Gauge("kaan_calls", "Calls the provider reported, by state.", ["state"])
    late = Gauge(
        "kaan_oldest_due_call_seconds", "How long the next step of the oldest due call is late; 0 where none is.",
        ["state"],
    )  # fmt: skip
    kept = body.get("calls", {})
    for state in call_states.FINAL:
        reported.set(kept.get(state, 0), state)
    for state in call_states.OPEN:
        reported.set(_at_least(counted(connection, calls.c.state == state), kept.get(state, 0)), state)
        first = connection.execute(sa.select(sa.func.min(calls.c.due_at)).where(calls.c.state == state)).scalar()
        late.set(max(0.0, (now - first).total_seconds()) if first is not None else 0.0, state)
    stopped = Gauge("kaan_stopped_accounts", "Accounts whose queue stands still: key refused.")
    stopped.set(counted(connection, tables.checkpoints.c.state == "stopped"))
    spooled = Gauge("kaan_spooled_recordings", "Recordings on a local disk that wait for the object store.")
    spooled.set(counted(connection, recordings.c.state == "spooled"))
    yield from (reported, late, stopped, spooled)


def _of_what_is_over(body: Mapping[str, Any]) -> Iterator[Gauge]:
    found = Gauge("kaan_recordings", "Recordings by state.", ["state"])
    found.fill(body.get("recordings", {}), ("found", "stored", "ready", "refused", "lost"))
    ended = Total("kaan_jobs_ended", "Jobs that ended, by name and how, of all workers.", ["job", "state"])
    ran = Total("kaan_job_run_seconds", "Seconds that they ran.", ["job", "state"])
    for name in job_kinds.KINDS:
        for each in (ended, ran):
            each.set(0, name, "done")
    for name, state, number, seconds in body.get("ended", {}).get("jobs", ()):
        ended.set(number, name, state)
        ran.set(seconds, name, state)
    number, audio = (
        Total("kaan_transcriptions", "Transcriptions made, by version.", ["version"]),
        Total("kaan_transcribed_audio_seconds", "Seconds of audio transcribed, by version.", ["version"]),
    )
    for version, times, seconds in body.get("transcribed", {}).get("versions", ()):
        number.set(times, version)
        audio.set(seconds, version)
    annotated = Total("kaan_annotations", "Annotations read, by what became of the draft.", ["draft"])
    annotated.fill(body.get("annotated", {}).get("drafts", {}), DRAFTS)
    said = body.get("outcomes", {})
    reported = Gauge("kaan_call_outcomes", "Calls whose outcome was reported in the last day.")
    reported.set(said.get("reported") or 0)
    yield from (found, ended, ran, number, audio, annotated, reported)
    success = Gauge("kaan_call_success_ratio", "The share of them that succeeded; absent while none says.")
    automated = Gauge("kaan_call_automated_ratio", "The share of them that no person took over.")
    satisfied = Gauge("kaan_call_satisfaction_ratio", "How satisfied their callers were, 0 to 1.")
    for name, gauge in (("success", success), ("automated", automated), ("satisfaction", satisfied)):
        if said.get(name) is not None:
            gauge.set(said[name])
        yield gauge


def _of_label_studio(connection: Connection, now: datetime) -> Iterator[Gauge]:
    undelivered = Gauge(
        "kaan_undelivered_predictions", "Predictions that are not delivered yet, of the current draft labels."
    )  # fmt: skip
    trouble = Gauge("kaan_project_trouble", "Whether something is wrong with an attached project: 1 or 0.", ["project"])
    waiting = 0
    for row in connection.execute(sa.select(projects).where(projects.c.state == "attached")).all():
        mine = (predictions.c.project_id == row.id, predictions.c.draft_label == row.draft_label)
        waiting += counted(connection, *mine, predictions.c.delivered_by.is_(None))
        trouble.set(bool(row.reason), str(row.ls_project_id))
    undelivered.set(waiting)
    missing = Gauge("kaan_annotation_difference", "Annotations in Label Studio minus those here.", ["project"])
    lasting = Gauge(
        "kaan_annotation_difference_left", "The part of the difference that comparing everything did not remove.",
        ["project"],
    )  # fmt: skip
    since = Gauge("kaan_annotations_compared_seconds", "Since that was counted.", ["project"])
    compared = summaries.c.name.startswith("difference:", autoescape=True)
    for found in connection.execute(sa.select(summaries.c.body, summaries.c.made_at).where(compared)):
        project = str(found.body["project"])
        missing.set(found.body["difference"], project)
        lasting.set(found.body["difference"] if found.body.get("left_by_full") else 0, project)
        since.set((now - found.made_at).total_seconds(), project)
    yield from (undelivered, trouble, missing, lasting, since)


def _of_this_machine(context: Context, now: datetime) -> Iterator[Gauge]:
    free = Gauge("kaan_disk_free_bytes", "Free bytes on the disk of DATA_DIR, where this process runs.")
    free.set(free_space_mb(context.settings.data_dir) * 1e6)
    needed = Gauge("kaan_disk_needed_bytes", "Free bytes below which no audio is fetched: MIN_FREE_DISK_MB.")
    needed.set(context.settings.min_free_disk_mb * 1e6)
    paths = live_spool.waiting(context.settings)
    waits = Gauge("kaan_live_spool_requests", "Live requests whose audio waits here for the object store.")
    waits.set(len(paths))
    oldest = Gauge("kaan_live_spool_oldest_seconds", "How long the oldest of them waits; 0 without any.")
    oldest.set(max(0.0, (now - live_spool.came_at(paths[0])).total_seconds()) if paths else 0.0)
    yield from (free, needed, waits, oldest)


def _backup_age(connection: Connection, now: datetime) -> Gauge:
    age = Gauge("kaan_backup_age_seconds", "Since the last `backup`; without any, since the first recording.")
    made = sa.select(summaries.c.made_at).where(summaries.c.name == BACKUP)
    first = sa.select(recordings.c.created_at).order_by(recordings.c.id).limit(1)
    since = connection.execute(made).scalar() or connection.execute(first).scalar()
    age.set(max(0.0, (now - since).total_seconds()) if since is not None else 0.0)
    return age
