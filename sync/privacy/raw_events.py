"""Raw webhook requests -> without their content, for those that are about an erased call or its tasks.

Exotel's bodies are the one place with phone numbers; Label Studio's carry what annotators wrote. Rows and digests stay,
so that a repetition of the same request is still known and counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from ml_backend.context import Context
from ml_backend.tables import events
from sync.privacy.subjects import Found

BATCH = 50
_GONE = {"body": b"", "query": None, "state": "erased", "reason_code": "erased", "reason": "Erased with its call."}


def scrub(context: Context, found: Found, *, digits: str = "") -> int:
    """Empty every raw event of these calls and tasks; gives how many. Safe to repeat.

    Events that named no call are searched for the number itself.
    """
    ids = [row.id for row in _of_calls(context, found)]
    number = digits.lstrip("+").encode()
    unread = sa.and_(events.c.source == "exotel", events.c.call_sid.is_(None))
    if number:
        ids += [row.id for row in _each(context, unread) if number in row.body or number.decode() in (row.query or "")]
    keys = {task.external_key for task in found.tasks}
    there = {int(task.ls_task_id) for task in found.tasks if task.ls_task_id}
    if keys:
        ids += [row.id for row in _each(context, events.c.source == "label-studio") if _names(row.body, keys, there)]
    for at in range(0, len(ids), BATCH):
        with context.db.transaction() as connection:
            some = events.c.id.in_(ids[at : at + BATCH])
            connection.execute(sa.update(events).where(some).values(**_GONE))
    return len(ids)


def _of_calls(context: Context, found: Found) -> Iterator[Any]:
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
    """Whether a body of Label Studio's is about one of these tasks, by our key or by its id."""
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
