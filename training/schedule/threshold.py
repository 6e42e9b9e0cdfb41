"""Samples -> a requested training run, exactly once.

The callers are a check every few minutes, which asks for a run when there are enough new samples, and Start Training,
which asks for one now. Both decide in one writing transaction that locks the kind's row in `checkpoints`: it counts,
inserts the run and moves the mark, so that the second of two concurrent checks counts from the new mark. Only one run
is active at a time; samples accepted meanwhile count for the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import ConfigurationError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.models import kinds
from ml_backend.tables import checkpoints, runs
from ml_backend.views import training_progress

THRESHOLD, BUTTON = "threshold", "button"
HEARD_OF = timedelta(minutes=30)
LEAST_TO_ASK = 1  # for a request by hand: without new samples the model would be the same


@dataclass(frozen=True)
class Answer:
    """The result of a request: a run, or why there is none."""

    run_id: int | None
    samples: int
    code: str | None = None
    reason: str | None = None


def check_training(context: JobContext) -> None:
    """Request a run of each kind when enough samples were accepted since its last one. Safe to repeat and to race."""
    lines = []
    for kind in kinds.names():
        least = kinds.of(kind).threshold(context.settings)
        with context.db.transaction() as connection:
            answer = ask(connection, least=least, who="schedule", why=THRESHOLD, kind=kind, keep_refusal=False)
        counted = f"{kind}: {answer.samples:,} of {least:,} new accepted samples"
        lines.append(f"{counted}: run {answer.run_id} begins." if answer.run_id else f"{counted}. {answer.reason}")
    context.report(1.0, " ".join(lines))


def ask(
    connection: Connection,
    *,
    least: int,
    who: str,
    why: str,
    kind: str = "asr",
    project_id: int | None = None,
    keep_refusal: bool = True,
) -> Answer:
    """Insert a waiting run with its job and move the mark, or say why not.

    `keep_refusal` stores the refusal for `training status`.
    """
    _lock(connection, kind)
    _end_abandoned(connection, kind)
    mark = training_progress.read_mark(connection, kind)
    number, newest = kinds.of(kind).new_samples(connection, mark)
    under_way = _under_way(connection, kind)
    _move(connection, kind, mark.run_id, mark.until)
    again = why == BUTTON and _ended_badly(connection, mark.run_id)
    code, reason = _refusal(number, 0 if again else least, under_way)
    if code == "nothing-new" and mark.run_id is None:
        reason = kinds.of(kind).why_none(connection)
    if code is None or keep_refusal:
        run_id = _insert(
            connection,
            kind=kind,
            project_id=project_id,
            who=who,
            why=why,
            step="export",
            arguments={"samples": number, "until": newest.isoformat() if newest else None},
            state="waiting" if code is None else "refused",
            reason_code=code,
            reason=reason,
            finished_at=None if code is None else tables.now(),
        )
        if code is None:
            _move(connection, kind, run_id, newest)
            enqueue(connection, run_id)
            return Answer(run_id, number)
    return Answer(None, number, code, reason)


def ask_by_hand(
    context: Context, *, who: str, why: str = BUTTON, project_id: int | None = None, kind: str = kinds.ASR
) -> Answer:
    """Request a run now, however few samples there are."""
    with context.db.transaction() as connection:
        return ask(connection, least=LEAST_TO_ASK, who=who, why=why, kind=kind, project_id=project_id)


def enqueue(connection: Connection, run_id: int, *, due_at: datetime | None = None) -> int:
    """Enqueue the job of a run's next step; at most one waits."""
    return enqueueing.enqueue(connection, job_kinds.TRAIN, key=f"run:{run_id}", due_at=due_at, run_id=run_id)


def _under_way(connection: Connection, kind: str) -> int | None:
    """An active run: of the pipeline, or started by hand with a recent sign of life (its terminal may be closed)."""
    lately = runs.c.updated_at > tables.now() - HEARD_OF
    alive = sa.and_(runs.c.kind == kind, runs.c.state.in_(training_progress.UNDER_WAY))
    found = sa.select(runs).where(alive, sa.or_(runs.c.step.is_not(None), lately)).order_by(runs.c.id)
    for row in connection.execute(found.limit(20)).all():
        if row.step is not None or training_progress.state_of(connection, row) != "interrupted":
            return int(row.id)
    return None


def _end_abandoned(connection: Connection, kind: str) -> None:
    """End a run whose job has failed, with the job's reason; it would block all others."""
    row = tables.jobs
    alive = sa.select(runs.c.id).where(runs.c.kind == kind, runs.c.state.in_(training_progress.UNDER_WAY))
    for run_id in connection.execute(alive.where(runs.c.step.is_not(None))).scalars().all():
        mine = sa.select(row).where(row.c.unique_key == f"{job_kinds.TRAIN.name}:run:{run_id}")
        last = connection.execute(mine.order_by(row.c.id.desc()).limit(1)).first()
        if last is not None and last.state in ("failed", "quarantined", "cancelled"):
            values = {"state": "cancelled" if last.state == "cancelled" else "failed", "finished_at": tables.now()}
            values |= {"reason_code": last.error_code or last.state, "reason": last.error or f"Job {last.id} ended."}
            connection.execute(sa.update(runs).where(runs.c.id == run_id).values(updated_at=tables.now(), **values))


def _refusal(number: int, least: int, under_way: int | None) -> tuple[str | None, str | None]:
    if under_way is not None:
        return "run-under-way", f"Run {under_way} is under way; the next one begins after it."
    if number >= least:
        return None, None
    if least <= LEAST_TO_ASK:
        return "nothing-new", "No sample was accepted since the last run: it would give the same model."
    return "too-few-samples", f"{least - number:,} more are needed."


def _ended_badly(connection: Connection, run_id: int | None) -> bool:
    """Whether the last run failed: then a person may try again with the same samples."""
    found = sa.select(runs.c.state).where(runs.c.id == run_id)
    return connection.execute(found).scalar() in ("failed", "cancelled", "refused", "trained", "interrupted")


def _lock(connection: Connection, kind: str) -> None:
    """Allow one decision at a time: SQLite has one writer anyway, PostgreSQL locks the row."""
    name = training_progress.mark_name(kind)
    db.insert_missing(connection, checkpoints, [{"name": name, "position": {}, "state": "done"}])
    connection.execute(sa.select(checkpoints.c.name).where(checkpoints.c.name == name).with_for_update())


def _move(connection: Connection, kind: str, run_id: int | None, until: Any) -> None:
    now = tables.now()
    position = {
        "run_id": run_id,
        "until": until.isoformat() if until else None,
        "looked_at": now.isoformat(),
    }
    mine = checkpoints.c.name == training_progress.mark_name(kind)
    connection.execute(sa.update(checkpoints).where(mine).values(position=position, updated_at=now))


def _insert(connection: Connection, **values: Any) -> int:
    return int(connection.execute(sa.insert(runs).values(**values).returning(runs.c.id)).scalar_one())


WEEKLY = "weekly"
NAME = "training-weekly"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def check_weekly(context: JobContext) -> None:
    """Request a run when the weekly time has passed since the last one. Safe to repeat and to race."""
    stated = context.settings.training_weekly
    if not stated.strip():
        context.report(1.0, "TRAINING_WEEKLY is empty: no weekly run.")
        return
    moment = last_moment(stated, tables.now(), zone=context.settings.exotel_time_zone)
    with context.db.transaction() as connection:
        values = {"name": NAME, "position": {"at": moment.isoformat()}, "state": "waiting"}
        known = sa.select(checkpoints.c.position).where(checkpoints.c.name == NAME)
        before = connection.execute(known).scalar()
        if before is None:  # a new service starts with the next weekly time
            connection.execute(sa.insert(checkpoints).values(**values))
            return
        if datetime.fromisoformat(before["at"]) >= moment:
            return
        moved = sa.update(checkpoints).where(checkpoints.c.name == NAME)
        connection.execute(moved.values(position=values["position"], updated_at=tables.now()))
        answers = {
            kind: ask(
                connection, least=max(1, kinds.of(kind).threshold(context.settings) // 10), who="schedule", why=WEEKLY,
                kind=kind, keep_refusal=_used(connection, kind),
            )
            for kind in kinds.names()
        }  # fmt: skip
    said = (f"{kind}: {f'run {one.run_id} begins.' if one.run_id else one.reason}" for kind, one in answers.items())
    context.report(1.0, " ".join(said))


def _used(connection: Connection, kind: str) -> bool:
    """Whether a refusal of this kind is worth keeping: not while an optional kind has no sample at all."""
    brought = kinds.of(kind)
    return not brought.optional or brought.new_samples(connection, training_progress.Mark())[0] > 0


def last_moment(stated: str, now: datetime, *, zone: str) -> datetime:
    """The latest `sun 02:00` that is not in the future, in UTC."""
    day, _, clock = stated.strip().lower().partition(" ")
    try:
        hour, minute = (int(each) for each in clock.split(":"))
        weekday = DAYS.index(day[:3])
        here = now.astimezone(ZoneInfo(zone))
        at = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    except (ValueError, IndexError):
        raise ConfigurationError(
            "bad-moment", f"TRAINING_WEEKLY {stated[:20]!r} is no moment of a week.", "Write it like: sun 02:00."
        ) from None
    at -= timedelta(days=(at.weekday() - weekday) % 7)
    return (at if at <= here else at - timedelta(days=7)).astimezone(now.tzinfo)
