"""Every background job by name: the only upward reference of the kernel is a dotted path in this table.

A job is a row; arguments are ids and short words. `enqueue` only inserts the row, in the caller's transaction, so
a web request never talks to Redis. `relay` hands due rows to RQ, `runner` executes them. Jobs are safe to repeat.

A job function is `def name(context: JobContext, **arguments) -> None`. A pooled one is
`def name(context: JobContext, items: list[PooledItem]) -> None` and calls `item.done()` or `item.failed(error)`
for each member; members not settled when it returns count as failed retryable.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.db import Database
from ml_backend.errors import InvalidInput
from ml_backend.tables import jobs

if TYPE_CHECKING:
    from ml_backend.context import JobContext

WAITED_FOR, LIVE, BULK = 0, 50, 100  # priorities: a person waits; a call just ended; back-fill

MAX_ARGUMENT_CHARS, MAX_ARGUMENT_IDS = 200, 1000

QUEUES = ("sync", "transcribe", "training")  # one worker process listens on exactly one queue


@dataclass(frozen=True)
class JobKind:
    """One kind of job. `pooled` jobs are run together, up to ASR_POOL_S seconds of audio; retries run alone."""

    name: str
    path: str
    queue: str
    time_limit_s: float
    max_attempts: int = 5
    priority: int = LIVE
    pooled: bool = False


READ_EVENT = JobKind("read-event", "sync.annotations.read_event", "sync", 120)
READ_CALL_EVENT = JobKind("read-call-event", "sync.exotel.callbacks.read_call_event", "sync", 120)
LOOK_UP_CALL = JobKind("look-up-call", "sync.exotel.lookups.look_up_call", "sync", 300, max_attempts=40)
FETCH_RECORDING = JobKind("fetch-recording", "sync.exotel.downloads.fetch_recording", "sync", 1200, max_attempts=40)
RECONCILE_CALLS = JobKind("reconcile-calls", "sync.exotel.listing.reconcile_calls", "sync", 3600)
SYNC_PROJECT = JobKind("sync-project", "sync.label_studio.projects.sync_project", "sync", 600)
FIND_TASKS = JobKind("find-tasks", "sync.reconcile.find_tasks", "sync", 3600)
COMPARE_ANNOTATIONS = JobKind("compare-annotations", "sync.comparison.compare_annotations", "sync", 3600, priority=BULK)
READ_ANNOTATION = JobKind("read-annotation", "sync.annotations.read_annotation", "sync", 120)
INGEST_RECORDING = JobKind("ingest-recording", "sync.ingest.ingest_recording", "sync", 1800)
LEARN_LEGS = JobKind("learn-legs", "sync.exotel.company_numbers.learn_legs", "sync", 600, priority=BULK)
STORE_SPOOLED = JobKind("store-spooled", "sync.recordings.originals.store_spooled", "sync", 3600)
VERIFY_OBJECTS = JobKind("verify-objects", "sync.recordings.verification.verify_objects", "sync", 3600, priority=BULK)
TRANSCRIBE_RECORDING = JobKind(
    "transcribe-recording", "sync.transcribe.transcribe_recordings", "transcribe", 1800, pooled=True
)
CHECK_WEEKLY = JobKind("check-weekly", "training.weekly.check_weekly", "sync", 300)
WATCH_EXPERIMENTS = JobKind(
    "watch-experiments", "training.experiments.watching.watch_experiments", "sync", 600, priority=BULK
)
SHADOW_RECORDING = JobKind("shadow-recording", "sync.transcribe.shadow_recording", "transcribe", 1800, priority=BULK)
SELECT_RECORDING = JobKind("select-recording", "sync.review.selection.select_recording", "sync", 120)
TAKE_UP_WAITING = JobKind("take-up-waiting", "sync.review.selection.take_up_waiting", "sync", 600, priority=BULK)
EXPIRE_RECORDINGS = JobKind(
    "expire-recordings", "sync.privacy.retention.expire_recordings", "sync", 1800, priority=BULK
)
REDUCE_EVENTS = JobKind("reduce-events", "sync.privacy.raw_events.reduce_events", "sync", 1800, priority=BULK)
CREATE_TASKS = JobKind("create-tasks", "sync.tasks.create_tasks", "sync", 600)
PUSH_PREDICTIONS = JobKind("push-predictions", "sync.delivery.push_predictions", "sync", 600)
CONFIRM_ANSWERS = JobKind("confirm-answers", "sync.delivery.confirm_answers", "sync", 300)
REDRAFT_PROJECT = JobKind("redraft-project", "sync.label_studio.redrafting.redraft_project", "sync", 1800)
SCAN_BUCKET = JobKind("scan-bucket", "sync.objects.scan.scan_bucket", "sync", 1800, priority=BULK)
FEED_RATINGS = JobKind("feed-ratings", "sync.review.ratings.feed_ratings", "sync", 600, priority=BULK)
SAMPLE_TASK = JobKind("sample-task", "training.sampling.job.sample_task", "sync", 300, priority=BULK)
SAMPLE_PROJECT = JobKind("sample-project", "training.sampling.again.sample_project", "sync", 900, priority=BULK)
CLOSE_INSTRUCTIONS = JobKind(
    "close-instructions", "sync.label_studio.streams.close_instructions", "sync", 120, priority=BULK
)
DRAFT_AGAIN = JobKind("draft-again", "sync.again.draft_again", "sync", 300, priority=WAITED_FOR)
SHARE_TASK = JobKind("share-task", "sync.review.gold.share_task", "sync", 120)
SUMMARISE_ANNOTATIONS = JobKind(
    "summarise-annotations", "training.quality.summary.summarise_annotations", "sync", 1800, priority=BULK
)
TRAIN = JobKind("train", "training.pipeline.train_requested", "training", 24 * 3600, max_attempts=3, priority=BULK)
RUN_TRAINING = JobKind(
    "run-training", "training.runs.run_training", "training", 24 * 3600, max_attempts=5, priority=BULK
)
PROMOTE_VERSION = JobKind("promote-version", "training.promotion.promote_version", "training", 12 * 3600, priority=BULK)
EXPORT_DATASET = JobKind("export-dataset", "training.dataset.export_dataset", "training", 12 * 3600, max_attempts=3)
RENEW_DATASETS = JobKind("renew-datasets", "training.erased.renew_datasets", "training", 12 * 3600, max_attempts=10)
COLLECT_HOTWORDS = JobKind("collect-hotwords", "training.hotwords.job.collect_hotwords", "sync", 600, priority=BULK)
CHECK_HOTWORD = JobKind("check-hotword", "training.hotwords.job.check_hotword", "transcribe", 1800)
CHECK_TRAINING = JobKind("check-training", "training.threshold.check_training", "sync", 120, priority=BULK)

KINDS: dict[str, JobKind] = {
    kind.name: kind
    for kind in (
        READ_EVENT, READ_CALL_EVENT, LOOK_UP_CALL, FETCH_RECORDING, RECONCILE_CALLS, SYNC_PROJECT, FIND_TASKS,
        READ_ANNOTATION, INGEST_RECORDING, TRANSCRIBE_RECORDING, SHADOW_RECORDING, SELECT_RECORDING,
        WATCH_EXPERIMENTS, CHECK_WEEKLY,
        TAKE_UP_WAITING, EXPIRE_RECORDINGS, REDUCE_EVENTS,
        CREATE_TASKS,
        PUSH_PREDICTIONS, CONFIRM_ANSWERS, REDRAFT_PROJECT, SCAN_BUCKET, FEED_RATINGS,
        STORE_SPOOLED, VERIFY_OBJECTS, LEARN_LEGS, TRAIN, RUN_TRAINING, COMPARE_ANNOTATIONS,
        CHECK_TRAINING, CLOSE_INSTRUCTIONS, DRAFT_AGAIN, SAMPLE_TASK, SAMPLE_PROJECT, SUMMARISE_ANNOTATIONS, SHARE_TASK,
        COLLECT_HOTWORDS, CHECK_HOTWORD,
        EXPORT_DATASET, RENEW_DATASETS, PROMOTE_VERSION,
    )
}  # fmt: skip


def enqueue(
    connection: Connection,
    kind: JobKind,
    *,
    key: str | None = None,
    priority: int | None = None,
    due_at: datetime | None = None,
    **arguments: Any,
) -> int:
    """Insert a job row; gives its id.

    With `key`, at most one job of that key is waiting: the existing one's id comes back, made as urgent as this
    caller wants it. A job already running does not count: news that arrives while it runs gets a run of its own,
    after it (the runner never runs two of one key at once). Safe when raced.
    """
    values = {
        "name": kind.name,
        "queue": kind.queue,
        "arguments": _plain(arguments),
        "unique_key": f"{kind.name}:{key}"[:200] if key is not None else None,
        "priority": kind.priority if priority is None else priority,
        "due_at": due_at or tables.now(),
        "state": "waiting",
    }
    if key is None:
        return int(connection.execute(sa.insert(jobs).values(**values).returning(jobs.c.id)).scalar_one())
    return _enqueue_once(connection, values)


def urgency(context: JobContext) -> int:
    """The running job's priority, for the jobs that follow from it: a person who waits, waits for all of them."""
    rows = context.db.rows(sa.select(jobs.c.priority).where(jobs.c.id == context.job_id))
    return int(rows[0].priority) if rows else LIVE


def enqueue_many(connection: Connection, kind: JobKind, argument: str, ids: Sequence[int], *, priority: int) -> None:
    """One job for each id, keyed by it, due now; those that wait already are left alone. For back-fill."""
    if not ids:
        return
    common = {"name": kind.name, "queue": kind.queue, "priority": priority, "due_at": tables.now(), "state": "waiting"}
    rows = [{**common, "unique_key": f"{kind.name}:{one}", "arguments": {argument: int(one)}} for one in ids]
    dialect = importlib.import_module(f"sqlalchemy.dialects.{connection.dialect.name}")  # only the one in use
    connection.execute(dialect.insert(jobs).on_conflict_do_nothing(), rows)


def _enqueue_once(connection: Connection, values: dict[str, Any]) -> int:
    """One statement on the partial unique index, so that two callers at once cannot both insert.

    More urgent news goes through the relay again, which puts it in front. A job that failed before keeps its
    back-off unless a person waits for it now.
    """
    dialect = importlib.import_module(f"sqlalchemy.dialects.{connection.dialect.name}")  # only the one in use
    statement = dialect.insert(jobs).values(**values)
    new, more_urgent = statement.excluded, statement.excluded.priority < jobs.c.priority
    sooner = sa.and_(new.due_at < jobs.c.due_at, sa.or_(jobs.c.attempt == 0, more_urgent))
    statement = statement.on_conflict_do_update(
        index_elements=["unique_key"],
        index_where=sa.text("state IN ('waiting','queued')"),
        set_={
            "state": sa.case((more_urgent, "waiting"), else_=jobs.c.state),
            "priority": sa.case((more_urgent, new.priority), else_=jobs.c.priority),
            "due_at": sa.case((sooner, new.due_at), else_=jobs.c.due_at),
        },
    )
    return int(connection.execute(statement.returning(jobs.c.id)).scalar_one())


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Ids and short words only: rows are shown to people, logged by id, and must never carry a call's content."""
    for name, value in arguments.items():
        if isinstance(value, list) and len(value) <= MAX_ARGUMENT_IDS and all(type(entry) is int for entry in value):
            continue
        if value is not None and not isinstance(value, int | float | str):
            raise TypeError(
                f"job argument {name} must be an id, a list of ids or a short word, not {type(value).__name__}"
            )
        if isinstance(value, str) and len(value) > MAX_ARGUMENT_CHARS:
            raise ValueError(
                f"job argument {name} is longer than {MAX_ARGUMENT_CHARS} characters: store it, pass its id"
            )
    return dict(arguments)


def find(
    database: Database, *, states: Sequence[str] = (), names: Sequence[str] = (), limit: int = 50
) -> Sequence[sa.Row[Any]]:
    """Job rows, most telling first: running, then what waits in the order it will run, then the latest ended."""
    order = sa.case({"running": 0, "queued": 1, "waiting": 1}, value=jobs.c.state, else_=2)
    waits = jobs.c.state.in_(("queued", "waiting"))
    statement = sa.select(jobs).order_by(
        order, sa.case((waits, jobs.c.priority)), sa.case((waits, jobs.c.due_at)), jobs.c.id.desc()
    )
    if states:
        statement = statement.where(jobs.c.state.in_(states))
    if names:
        statement = statement.where(jobs.c.name.in_(names))
    return database.rows(statement.limit(limit))


def counts(database: Database) -> dict[str, int]:
    """How many jobs are in each state."""
    rows = database.rows(sa.select(jobs.c.state, sa.func.count().label("number")).group_by(jobs.c.state))
    return {row.state: int(row.number) for row in rows}


def show(database: Database, job_id: int) -> sa.Row[Any]:
    """One job row, or InvalidInput with status 404."""
    rows = database.rows(sa.select(jobs).where(jobs.c.id == job_id))
    if not rows:
        raise _no_such_job(job_id)
    return rows[0]


def retry(database: Database, job_id: int) -> str:
    """Let an ended job run again from a clean count; gives what happened, in one sentence. Safe to repeat.

    A job that waits for its next try runs at once. A running one is left alone.
    """
    with database.transaction() as connection:
        row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id).with_for_update()).first()
        if row is None:
            raise _no_such_job(job_id)
        if row.state == "running":
            raise InvalidInput("job-running", f"Job {job_id} is running now.", "Wait for it, or cancel it.", status=409)
        fresh = {"due_at": tables.now(), "finished_at": None, "queued_at": None, "failures": 0, "deaths": 0}
        try:
            with connection.begin_nested():
                again = sa.update(jobs).where(jobs.c.id == job_id, jobs.c.state != "running")
                connection.execute(again.values(state="waiting", **fresh))
        except sa.exc.IntegrityError:
            return f"Job {job_id} is not needed: another job for the same thing is waiting."
    return f"Job {job_id} ({row.name}) will run as soon as a worker is free."


def cancel(database: Database, job_id: int) -> str:
    """Take a job out; a running one is ended by its own heartbeat within seconds. Gives one sentence."""
    row = show(database, job_id)
    ended = {"state": "cancelled", "finished_at": tables.now(), "lease_owner": None, "lease_until": None}
    with database.transaction() as connection:
        live = sa.and_(jobs.c.id == job_id, jobs.c.state.in_(("waiting", "queued", "running")))
        if connection.execute(sa.update(jobs).where(live).values(**ended)).rowcount:
            return f"Job {job_id} ({row.name}) is cancelled."
    return f"Job {job_id} ({row.name}) has ended already: it is {show(database, job_id).state}."


def _no_such_job(job_id: int) -> InvalidInput:
    next_step = "List them with `python -m ml_backend jobs list`."
    return InvalidInput("no-such-job", f"There is no job {job_id}.", next_step, status=404)
