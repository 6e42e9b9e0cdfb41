"""Schedules -> job rows at intervals, inserted by `relay`.

A schedule has an interval and a function for the current arguments (for example, one job per attached project). Its
rows have keys, so a slow job never starts twice and two relays insert one row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.db import Database
from ml_backend.jobs import enqueueing, job_kinds, leases
from ml_backend.jobs.job_kinds import BULK, LIVE, JobKind

Arguments = dict[str, Any]
TOGETHER = 25  # jobs in one transaction

_MADE, _MOST_NOTED = "schedule:", 5

CHECK_TRAINING_EVERY_S = 300.0  # how often to check whether the next training run is due


@dataclass(frozen=True)
class Schedule:
    """Every `every_s` seconds, one job of `kind` for each set of arguments that `wanted` returns."""

    kind: JobKind
    every_s: float
    wanted: Callable[[Connection], list[Arguments]]
    priority: int = BULK


def attached_projects(connection: Connection) -> list[Arguments]:
    """One job per attached project."""
    found = sa.select(tables.projects.c.id).where(tables.projects.c.state == "attached")
    return [{"project_id": row.id} for row in connection.execute(found.order_by(tables.projects.c.id))]


def attached_at_all(connection: Connection) -> list[Arguments]:
    """One job while any project is attached."""
    return [{}] if attached_projects(connection) else []


def changes_of_projects(connection: Connection) -> list[Arguments]:
    """One job per attached project that reads its changes."""
    return [{**found, "full": 0} for found in attached_projects(connection)]


def all_of_projects(connection: Connection) -> list[Arguments]:
    """One job per attached project that compares everything."""
    return [{**found, "full": 1} for found in attached_projects(connection)]


def projects_with_unconfirmed_answers(connection: Connection) -> list[Arguments]:
    """Projects with a prediction that was sent to Label Studio but not confirmed there."""
    answered = tables.predictions
    found = (
        sa.select(answered.c.project_id)
        .join(tables.projects, tables.projects.c.id == answered.c.project_id)
        .where(answered.c.delivered_by == "answer", answered.c.confirmed_at.is_(None))
        .where(tables.projects.c.state == "attached", answered.c.draft_label == tables.projects.c.draft_label)
        .distinct()
    )
    return [{"project_id": row.project_id} for row in connection.execute(found.order_by(answered.c.project_id))]


def projects_with_undelivered_predictions(connection: Connection) -> list[Arguments]:
    """Projects with a prediction that has waited over a minute for delivery: its push was lost."""
    waiting = tables.predictions
    old = leases.clock(connection) - timedelta(seconds=60)
    found = (
        sa.select(waiting.c.project_id)
        .join(tables.projects, tables.projects.c.id == waiting.c.project_id)
        .where(waiting.c.delivered_by.is_(None), waiting.c.reason_code.is_(None), waiting.c.created_at < old)
        .where(tables.projects.c.state == "attached", waiting.c.draft_label == tables.projects.c.draft_label)
        .distinct()
    )
    return [{"project_id": row.project_id} for row in connection.execute(found.order_by(waiting.c.project_id))]


def projects_being_redrafted(connection: Connection) -> list[Arguments]:
    """Attached projects with open tasks that wait too long for a new draft: a transcription may have been lost."""
    project = tables.projects
    found = sa.select(project.c.id).where(project.c.state == "attached", project.c.next_draft_label.is_not(None))
    return [{"project_id": row.id, "again": 1} for row in connection.execute(found.order_by(project.c.id))]


def projects_with_tasks_to_make(connection: Connection) -> list[Arguments]:
    """Projects with a drafted task that is not in Label Studio after two minutes: it was down during all retries.

    A blind task has an empty prediction row.
    """
    task, drafted = tables.tasks, tables.predictions
    old = leases.clock(connection) - timedelta(seconds=120)
    found = (
        sa.select(task.c.project_id)
        .join(tables.projects, tables.projects.c.id == task.c.project_id)
        .outerjoin(tables.recordings, tables.recordings.c.id == task.c.recording_id)
        .join(drafted, sa.and_(drafted.c.task_id == task.c.id, drafted.c.draft_label == tables.projects.c.draft_label))
        .where(tables.projects.c.state == "attached")
        .where(sa.or_(tables.recordings.c.state == "ready", task.c.recording_id.is_(None)))
        .where(task.c.state == "wanted", drafted.c.created_at < old)
        .distinct()
    )
    return [{"project_id": row.project_id} for row in connection.execute(found.order_by(task.c.project_id))]


def projects_with_waiting_work(connection: Connection) -> list[Arguments]:
    """Attached projects with tasks that wait for room; all attached ones if calls wait for a project or were lost."""
    waiting = sa.select(tables.tasks.c.project_id).where(tables.tasks.c.state == "waiting").distinct()
    homeless = sa.select(tables.recordings.c.id).where(
        tables.recordings.c.reason_code == "no-project", tables.recordings.c.state == "ready"
    )
    late = leases.clock(connection) - timedelta(minutes=15)
    forgotten = sa.select(tables.calls.c.id).where(tables.calls.c.state == "heard", tables.calls.c.due_at < late)
    concerned = {int(row.project_id) for row in connection.execute(waiting)}
    every = any(connection.execute(some.limit(1)).first() is not None for some in (homeless, forgotten))
    return [found for found in attached_projects(connection) if every or found["project_id"] in concerned]


def every_bucket(connection: Connection) -> list[Arguments]:
    """One job that starts a quick scan of each of SCAN_BUCKETS."""
    return [{"bucket": "*", "full": 0}]


def every_bucket_fully(connection: Connection) -> list[Arguments]:
    """One job that starts a full comparison of each of SCAN_BUCKETS."""
    return [{"bucket": "*", "full": 1}]


def waiting_spool(connection: Connection) -> list[Arguments]:
    """One job while recordings on the local disk wait for the object store."""
    waits = sa.select(tables.recordings.c.id).where(tables.recordings.c.state == "spooled")
    return [{}] if connection.execute(waits.limit(1)).first() else []


def every_original(connection: Connection) -> list[Arguments]:
    """One job that begins with the first original and enqueues the next."""
    return [{"after_id": 0}]


def numbers_without_a_channel(connection: Connection) -> list[Arguments]:
    """One job while the agents' channel of a company number is unknown."""
    number = tables.company_numbers
    unknown = sa.select(number.c.id).where(number.c.agent_channel.is_(None)).limit(1)
    return [{}] if connection.execute(unknown).first() else []


def last_ended(kind: JobKind, row_id: sa.ColumnElement[int]) -> sa.ScalarSelect[Any]:
    """When the last job of a kind that is keyed by a row ended.

    Schedules that take a few rows at a time order by this, rows without such a job first. So a row that keeps failing
    goes to the end each time and does not block the others.
    """
    job = tables.jobs.alias()
    mine = job.c.unique_key == sa.literal(f"{kind.name}:") + sa.cast(row_id, sa.String)
    return sa.select(sa.func.max(job.c.finished_at)).where(mine).scalar_subquery()


def ingests_given_up(connection: Connection) -> list[Arguments]:
    """Recordings whose ingest ran out of retries for a temporary reason, such as a store that was down."""
    recording, job = tables.recordings, tables.jobs
    mine = sa.and_(
        job.c.unique_key == sa.literal("ingest-recording:") + sa.cast(recording.c.id, sa.String),
        job.c.state == "failed",
        job.c.error_branch == "retryable",
    )
    found = sa.select(recording.c.id).where(recording.c.state.in_(("stored", "found")), sa.exists().where(mine))
    oldest = found.order_by(last_ended(job_kinds.INGEST_RECORDING, recording.c.id).asc(), recording.c.id)
    return [{"recording_id": row.id} for row in connection.execute(oldest.limit(50))]


def projects_that_are_missing(connection: Connection) -> list[Arguments]:
    """Projects that are missing in Label Studio: a restored backup or permission can bring them back."""
    project = tables.projects
    found = sa.select(project.c.id).where(project.c.state == "missing", project.c.checked_at.is_not(None))  # seen once
    return [{"project_id": row.id} for row in connection.execute(found.order_by(project.c.id))]


def listing_of(hours: int) -> Callable[[Connection], list[Arguments]]:
    """One job that reads the last hours of the provider's listing (it does nothing without an account)."""
    return lambda connection: [{"hours": hours}]


def attached_rating_projects(connection: Connection) -> list[Arguments]:
    """One job per attached project for synthetic voice."""
    found = sa.select(tables.projects.c.id, tables.projects.c.routing).where(tables.projects.c.state == "attached")
    rows = connection.execute(found.order_by(tables.projects.c.id)).all()
    return [{"project_id": row.id} for row in rows if isinstance(row.routing, dict) and row.routing.get("synthetic")]


def switched_prompts(connection: Connection) -> list[Arguments]:
    """One job once prompts were switched."""
    row = tables.checkpoints
    return [{}] if connection.execute(sa.select(row.c.name).where(row.c.name == "prompts")).first() else []


def rated_voices(connection: Connection) -> list[Arguments]:
    """One job while there is an attached project for synthetic voice."""
    return [{}] if attached_rating_projects(connection) else []


def attached_projects_of_texts(connection: Connection) -> list[Arguments]:
    """One job per attached project in which people say what a text means, once there are utterances."""
    if connection.execute(sa.select(tables.utterances.c.id).limit(1)).first() is None:
        return []
    row = tables.projects.c
    found = sa.select(row.id).where(row.state == "attached", row.label_config.contains('name="intent"'))
    return [{"project_id": each.id} for each in connection.execute(found.order_by(row.id))]  # the job looks closer


def calls_for_people_of_texts(connection: Connection) -> list[Arguments]:
    """One job while there is an attached project in which people say what a text means."""
    row = tables.projects.c
    there = sa.select(row.id).where(row.state == "attached", row.label_config.contains('name="intent"')).limit(1)
    return [{}] if connection.execute(there).first() else []


def buckets_with_a_period(connection: Connection) -> list[Arguments]:
    """Buckets with a confirmed retention period."""
    row = tables.retention
    found = sa.select(row.c.bucket).where(row.c.state == "confirmed", row.c.days.is_not(None))
    return [{"bucket": name} for name in connection.execute(found.order_by(row.c.bucket)).scalars()]


def hotwords_of_another_model(connection: Connection) -> list[Arguments]:
    """Approved words that were checked with a model that no longer serves."""
    row, alias, version = tables.hotwords, tables.aliases, tables.model_versions
    serves = (
        sa.select(version.c.version)
        .join(alias, alias.c.model_version_id == version.c.id)
        .where(alias.c.kind == "asr", alias.c.alias == "champion", alias.c.language.in_((row.c.language, "*")))
        .order_by(sa.case((alias.c.language == "*", 1), else_=0))
        .limit(1)
        .scalar_subquery()
    )
    found = connection.execute(sa.select(row.c.id, row.c.check, serves).where(row.c.state == "approved")).all()
    return [{"hotword_id": one.id} for one in found if one[2] and (one.check or {}).get("model_version") != one[2]]


def not_sampled() -> sa.ColumnElement[bool]:
    """Newest annotation versions that were not sampled yet; sampling computes their measures."""
    row = tables.annotations
    empty = sa.func.coalesce(sa.cast(row.c.measures, sa.Text), "null") == "null"
    return sa.and_(row.c.task_id.is_not(None), empty, tables.newest_version())


def projects_with_annotations_not_sampled(connection: Connection) -> list[Arguments]:
    """Projects with an annotation that was not sampled for ten minutes: its job was lost or never existed."""
    row, old = tables.annotations, leases.clock(connection) - timedelta(minutes=10)
    found = sa.select(row.c.project_id).where(not_sampled(), row.c.created_at < old)
    ids = connection.execute(found.distinct().order_by(row.c.project_id)).scalars()
    return [{"project_id": project_id, "everything": 0} for project_id in ids]


def voices_changed(connection: Connection) -> list[Arguments]:
    """One job when a recording of a voice is newer than the last pass over them."""
    row, passes = tables.recordings, tables.checkpoints
    newest = connection.execute(sa.select(sa.func.max(row.c.updated_at)).where(sa.text("synthetic"))).scalar()
    looked_at = connection.execute(sa.select(passes.c.updated_at).where(passes.c.name == "voices")).scalar()
    return [{"everything": 0}] if newest and (looked_at is None or newest > looked_at - timedelta(minutes=10)) else []


def every_voice(connection: Connection) -> list[Arguments]:
    """One job that looks at every recording of a voice again."""
    there = sa.select(tables.recordings.c.id).where(sa.text("synthetic")).limit(1)
    return [{"everything": 1}] if connection.execute(there).first() else []


def evaluations_not_listed(connection: Connection) -> list[Arguments]:
    """One job while an evaluation's utterances are not listed: it is of an earlier release, or its process died."""
    row, part = tables.evaluations.c, tables.evaluation_indexes.c
    listed = sa.exists().where(part.evaluation_id == row.id, part.name == "facts")
    old = leases.clock(connection) - timedelta(minutes=10)  # a younger one may be being listed
    found = sa.select(row.id).where(row.details_key.is_not(None), row.created_at < old, ~listed)
    return [{}] if connection.execute(found.limit(1)).first() else []


def once(connection: Connection) -> list[Arguments]:
    """One job, always."""
    return [{}]


def days_back(days: int) -> Callable[[Connection], list[Arguments]]:
    """One job that counts the last days again."""
    return lambda connection: [{"days": days}]


def minutes_of_serving(connection: Connection) -> list[Arguments]:
    """One job once `serve` was ever started: also days without it are counted."""
    for column in (tables.live_minutes.c.minute, tables.uptime_days.c.day):
        if connection.execute(sa.select(column).limit(1)).first() is not None:
            return [{}]
    return []


def running_experiments(connection: Connection) -> list[Arguments]:
    """One job while an experiment runs."""
    row = tables.experiments
    return [{}] if connection.execute(sa.select(row.c.id).where(row.c.state == "running").limit(1)).first() else []


SCHEDULES: tuple[Schedule, ...] = (
    Schedule(job_kinds.WATCH_EXPERIMENTS, 600, running_experiments),
    Schedule(job_kinds.CHECK_WEEKLY, 600, once),
    Schedule(job_kinds.KEEP_COUNTS, 300, once),
    Schedule(job_kinds.COLLECT_HOTWORDS, 15 * 60, attached_projects),
    Schedule(job_kinds.CHECK_HOTWORD, 3600, hotwords_of_another_model),
    Schedule(job_kinds.SAMPLE_PROJECT, 3600, projects_with_annotations_not_sampled),
    Schedule(job_kinds.SUMMARISE_ANNOTATIONS, 3600, once),
    Schedule(job_kinds.LEARN_USEFULNESS, 3600, once),
    Schedule(job_kinds.LIST_EVALUATIONS, 1800, evaluations_not_listed),
    Schedule(job_kinds.CHECK_TRAINING, CHECK_TRAINING_EVERY_S, once),
    Schedule(job_kinds.STORE_SPOOLED, 60, waiting_spool, priority=LIVE),
    Schedule(job_kinds.VERIFY_OBJECTS, 24 * 3600, every_original),
    Schedule(job_kinds.LEARN_CHANNELS, 6 * 3600, numbers_without_a_channel),
    Schedule(job_kinds.INGEST_RECORDING, 600, ingests_given_up),
    Schedule(job_kinds.COMPARE_ANNOTATIONS, 300, changes_of_projects),
    Schedule(job_kinds.COMPARE_ANNOTATIONS, 24 * 3600, all_of_projects),
    Schedule(job_kinds.CONFIRM_ANSWERS, 60, projects_with_unconfirmed_answers, priority=LIVE),
    Schedule(job_kinds.PUSH_PREDICTIONS, 60, projects_with_undelivered_predictions, priority=LIVE),
    Schedule(job_kinds.REDRAFT_PROJECT, 30 * 60, projects_being_redrafted),
    Schedule(job_kinds.SYNC_PROJECT, 3600, projects_that_are_missing),
    Schedule(job_kinds.SCAN_BUCKET, 300, every_bucket, priority=LIVE),
    Schedule(job_kinds.SCAN_BUCKET, 24 * 3600, every_bucket_fully),
    Schedule(job_kinds.FEED_RATINGS, 300, attached_rating_projects),
    Schedule(job_kinds.COLLECT_UTTERANCES, 24 * 3600, calls_for_people_of_texts),
    Schedule(job_kinds.SUMMARISE_RATINGS, 1800, rated_voices),
    Schedule(job_kinds.EXPIRE_PROMPTS, 24 * 3600, switched_prompts),
    Schedule(job_kinds.FEED_UTTERANCES, 300, attached_projects_of_texts),
    Schedule(job_kinds.COLLECT_VOICES, 300, voices_changed),
    Schedule(job_kinds.COLLECT_VOICES, 24 * 3600, every_voice),
    Schedule(job_kinds.CREATE_TASKS, 120, projects_with_tasks_to_make, priority=LIVE),
    Schedule(job_kinds.TAKE_UP_WAITING, 300, projects_with_waiting_work),
    Schedule(job_kinds.EXPIRE_RECORDINGS, 24 * 3600, buckets_with_a_period),
    Schedule(job_kinds.REDUCE_EVENTS, 24 * 3600, once),
    Schedule(job_kinds.COUNT_CALLS, 300, once),  # it decides itself what is due
    Schedule(job_kinds.MEASURE_STORAGE, 24 * 3600, once),
    Schedule(job_kinds.ROLL_UP_UPTIME, 3600, minutes_of_serving),
    Schedule(job_kinds.KEEP_PEOPLE, 3600, attached_at_all),
    Schedule(job_kinds.COUNT_DAYS, 300, days_back(1)),
    Schedule(job_kinds.COUNT_DAYS, 6 * 3600, days_back(15)),
    Schedule(job_kinds.RECONCILE_CALLS, 15 * 60, listing_of(2), priority=LIVE),
    Schedule(job_kinds.RECONCILE_CALLS, 3600, listing_of(24)),
    Schedule(job_kinds.RECONCILE_CALLS, 24 * 3600, listing_of(7 * 24)),
)


def make_due(database: Database, *schedules: Schedule) -> list[int]:
    """Insert job rows for every schedule whose interval has passed; returns their ids. Safe to call at any time.

    The arguments are read before the write transactions, and each transaction inserts few rows: locks stay short.
    """
    made: list[int] = []
    for schedule in schedules:
        with database.reading() as connection:
            since = leases.clock(connection) - timedelta(seconds=schedule.every_s)
            found = [(_key_of(arguments), arguments) for arguments in schedule.wanted(connection)]
            due = [each for each in found if not _made_since(connection, f"{schedule.kind.name}:{each[0]}", since)]
        inserted: list[int] = []
        for begin in range(0, len(due), TOGETHER):
            with database.transaction() as connection:
                for key, arguments in due[begin : begin + TOGETHER]:
                    if not _made_since(connection, f"{schedule.kind.name}:{key}", since):  # by another relay
                        inserted.append(
                            enqueueing.enqueue(
                                connection, schedule.kind, key=key, priority=schedule.priority, **arguments
                            )
                        )
                if inserted:
                    _note_made(connection, schedule, inserted)
        made += inserted
    return made


def name_of(schedule: Schedule) -> str:
    """A schedule's name: a kind may have several intervals."""
    return f"{schedule.kind.name}:{schedule.every_s:g}"


def last_made(database: Database) -> dict[str, dict[str, Any]]:
    """By the name of a schedule: when it made jobs last (`at`), how many (`number`) and the first ids (`jobs`)."""
    row = tables.summaries
    found = database.rows(sa.select(row.c.name, row.c.body).where(row.c.name.startswith(_MADE, autoescape=True)))
    return {each.name.removeprefix(_MADE): each.body for each in found}


def _note_made(connection: Connection, schedule: Schedule, ids: list[int]) -> None:
    """For people who ask when a schedule ran: a search in all jobs would grow with history."""
    body = {"at": leases.clock(connection).isoformat(), "number": len(ids), "jobs": ids[:_MOST_NOTED]}
    values = {"name": f"{_MADE}{name_of(schedule)}", "body": body, "made_at": tables.now()}
    db.upsert(connection, tables.summaries, values, key=("name",))


def _key_of(arguments: Arguments) -> str:
    return ":".join(str(value) for value in arguments.values()) or "all"


def _made_since(connection: Connection, unique_key: str, since: Any) -> bool:
    """Whether a job of this key is open or was inserted since `since`."""
    row = tables.jobs
    recent = sa.or_(row.c.created_at > since, row.c.state.in_(("waiting", "queued", "running")))
    found = sa.select(row.c.id).where(row.c.unique_key == unique_key, recent)
    return connection.execute(found.limit(1)).first() is not None
