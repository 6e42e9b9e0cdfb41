"""Raw webhook requests -> rows without content, once their call is erased or EVENT_RETENTION_DAYS have passed.

Only Exotel's bodies contain phone numbers; Label Studio's contain the annotators' text. Rows and digests stay, so that
a repeated request is still recognised and counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.calls import ledger, listenings, phone_numbers, pseudonyms
from ml_backend.context import Context, JobContext
from ml_backend.tables import calls, checkpoints, events, outcomes
from sync.privacy import hidden_names
from sync.privacy.subjects import SubjectRows

BATCH = 50  # rows in a transaction
REDUCED, WORDS = "events-reduced", "words-of-unknown-calls"
_GONE = {
    "body": b"",
    "query": None,
    "said": None,
    "state": "erased",
    "reason_code": "erased",
    "reason": "Erased with its call.",
}


def scrub(context: Context, found: SubjectRows, *, person: str = "", key: bytes) -> int:
    """Empty every raw event of these calls and tasks; gives how many. Safe to repeat.

    Events that named no call are searched for the person's number, in any form. Events older than EVENT_RETENTION_DAYS
    are skipped: `reduce_events` has emptied them.
    """
    ids = [row.id for row in _of_calls(context, found)]
    kept = events.c.id > _reduced_to(context)
    if person:
        nameless = sa.or_(events.c.call_sid.is_(None), events.c.state.in_(("unreadable", "ignored")))
        unread = sa.and_(events.c.source == "exotel", nameless, kept)
        ids += [row.id for row in _each(context, unread) if _says(row, person, key)]
    keys = {task.external_key for task in found.tasks}
    there = {int(task.ls_task_id) for task in found.tasks if task.ls_task_id}
    if keys:
        theirs = sa.and_(events.c.source == "label-studio", kept)
        ids += [row.id for row in _each(context, theirs) if _names(row.body, keys, there)]
    for at in range(0, len(ids), BATCH):
        with context.db.transaction() as connection:
            some = events.c.id.in_(ids[at : at + BATCH])
            connection.execute(sa.update(events).where(some).values(**_GONE))
    with context.db.transaction() as connection:
        for sid in found.sids:
            if (name := phone_numbers.hidden(sid, key)) != sid:
                connection.execute(sa.update(events).where(events.c.call_sid == sid).values(call_sid=name))
    return len(ids)


def reduce_events(context: JobContext) -> None:
    """Raw requests older than EVENT_RETENTION_DAYS -> only what the ledger needs: time, sender, call.

    In order of arrival, a few rows per transaction, from the last run's position. An unread event is left as it is, and
    reduced by the job that reads it (`is_old`). Rows of releases that kept numbers elsewhere come first, once.
    """
    hidden_names.hide_in_older_rows(context)
    _forget_words(context)
    listenings.forget_old(context)
    before = tables.now() - timedelta(days=context.settings.event_retention_days)
    while True:
        with context.db.transaction() as connection:
            after = events.c.id > _reduced_to(context, connection)
            young = sa.select(sa.func.min(events.c.id)).where(after, events.c.created_at >= before)
            upto = connection.execute(young).scalar()
            mine = sa.select(events.c.id).where(after, events.c.id < upto if upto is not None else sa.true())
            ids = list(connection.execute(mine.order_by(events.c.id).limit(BATCH)).scalars())
            if not ids:
                return
            read = sa.and_(events.c.id.in_(ids), events.c.state != "new")
            connection.execute(sa.update(events).where(read).values(body=b"", query=None, said=None))
            _note(connection, ids[-1])


def _forget_words(context: JobContext) -> None:
    """Remove intent and tags of calls that never became known: the erasure of a person cannot find these rows."""
    before = tables.now() - timedelta(days=context.settings.event_retention_days)
    position = sa.select(checkpoints.c.position).where(checkpoints.c.name == WORDS)
    reached = next((str(row.position["at"]) for row in context.db.rows(position)), "2000-01-01T00:00:00+00:00")
    since = datetime.fromisoformat(reached)
    spoken = sa.or_(outcomes.c.intent.is_not(None), outcomes.c.tags.is_not(None))
    unknown = ~sa.exists().where(calls.c.call_sid == outcomes.c.call_sid)
    mine = sa.and_(outcomes.c.updated_at >= since, outcomes.c.updated_at < before, spoken, unknown)
    while ids := context.db.scalars(sa.select(outcomes.c.id).where(mine).order_by(outcomes.c.updated_at).limit(BATCH)):
        with context.db.transaction() as connection:
            ledger.forget_words(connection, outcomes.c.id.in_(ids))
    with context.db.transaction() as connection:
        values = {"name": WORDS, "position": {"at": before.isoformat()}, "state": "done", "updated_at": tables.now()}
        db.upsert(connection, checkpoints, values, key=("name",))


def is_old(context: Context, event: Any) -> bool:
    """Whether an event is older than EVENT_RETENTION_DAYS."""
    return bool(event.created_at < tables.now() - timedelta(days=context.settings.event_retention_days))


def _reduced_to(context: Context, connection: Connection | None = None) -> int:
    position = sa.select(checkpoints.c.position).where(checkpoints.c.name == REDUCED)
    found = (
        connection.execute(position).scalar()
        if connection is not None
        else next((row.position for row in context.db.rows(position)), None)
    )
    return int((found or {}).get("event_id", 0))


def _note(connection: Connection, event_id: int) -> None:
    values = {"name": REDUCED, "position": {"event_id": event_id}, "state": "done", "updated_at": tables.now()}
    db.upsert(connection, checkpoints, values, key=("name",))


def _says(row: Any, person: str, key: bytes) -> bool:
    """Whether an unreadable request contains a person's number."""
    text = row.body.decode("utf-8", "replace")
    return pseudonyms.names(text, person, key) or pseudonyms.names(row.query or "", person, key)


def _of_calls(context: Context, found: SubjectRows) -> Iterator[Any]:
    for at in range(0, len(found.sids), BATCH):
        mine = sa.select(events.c.id).where(events.c.call_sid.in_(found.sids[at : at + BATCH]))
        yield from context.db.rows(mine.where(events.c.state != "erased"))


def _each(context: Context, which: sa.ColumnElement[bool]) -> Iterator[Any]:
    """Events with content, a batch at a time."""
    last = 0
    columns = sa.select(events.c.id, events.c.body, events.c.query)
    while rows := context.db.rows(
        columns.where(which, events.c.state != "erased", events.c.id > last).order_by(events.c.id).limit(BATCH)
    ):
        yield from rows
        last = rows[-1].id


def _names(raw: bytes, keys: set[str], task_ids: set[int]) -> bool:
    """Whether a body from Label Studio is about one of these tasks, by our key or by its id."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return False
    if not isinstance(body, dict):
        return False
    named = (
        [body.get("task"), *(body.get("tasks") or ())] if isinstance(body.get("tasks"), list) else [body.get("task")]
    )
    flat = [each for one in named for each in (one if isinstance(one, list) else [one])]
    mine = [task for task in flat if isinstance(task, dict)]
    if any(
        str((task.get("data") or {}).get("kaan_key")) in keys for task in mine if isinstance(task.get("data"), dict)
    ):
        return True
    return any(task.get("id") in task_ids and "data" in task for task in mine)
