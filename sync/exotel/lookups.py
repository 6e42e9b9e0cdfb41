"""Call without a known recording -> its current facts from the provider's API.

A callback may arrive before the file exists, or without its address, and further callbacks may never arrive. So an
answered call without a recording is looked up after 2, 5, 15, 60 minutes, 6 and 24 hours; after that it has none.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.calls import ledger, pseudonyms
from ml_backend.calls.events import of_call
from ml_backend.calls.states import FETCH, LOOK_UP, WAIT
from ml_backend.context import Context, JobContext
from ml_backend.errors import ConfigurationError, PermanentError, RetryableError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.jobs.enqueueing import urgency
from ml_backend.jobs.schedules import last_ended
from ml_backend.tables import calls, recordings
from ml_backend.tables import jobs as job_rows
from sync.exotel import exotel_client as exotel
from sync.exotel import rate_limiter, stops


def look_up_call(context: JobContext, call_id: int) -> None:
    """Call -> its current facts and its next look-up. Safe to repeat: a call that waits for something else is left."""
    call = context.db.row(calls, call_id)
    if call.next_action not in (LOOK_UP, WAIT):
        return
    if at := stops.until(context):
        _again(context, call_id, at)
        return
    try:
        found = exotel.client_of(context).call(call.call_sid)
    except ConfigurationError as error:
        if error.code != "http-unauthorised":
            raise
        _again(context, call_id, stops.stop(context, error))
        return
    except PermanentError as error:
        unknown = error.code == "http-missing"
        code, sentence = ("call-unknown", "Exotel does not know the call.") if unknown else (error.code, error.sentence)
        _later(context, call, code, sentence)
        return
    except RetryableError as error:
        wait_s = rate_limiter.pause_s(error, context.attempt)
        if context.attempt < job_kinds.LOOK_UP_CALL.max_attempts:
            raise RetryableError(error.code, error.sentence, error.next_step, after_s=wait_s) from error
        if error.code in rate_limiter.THEIRS:
            _later(context, call, error.code, error.sentence)
        else:
            _again(context, call_id, tables.now() + timedelta(seconds=wait_s))
        return
    stops.accepted(context)
    event = of_call(found, source="details", zone=context.settings.exotel_time_zone)
    key, priority = pseudonyms.key_of(context.settings), urgency(context)
    with context.db.transaction() as connection:
        now = ledger.record(connection, event, key=key, priority=priority)
    if (now.next_action, now.due_at) == (call.next_action, call.due_at):  # nothing new was learnt
        _later(context, call, "recording-not-named", f"Exotel names no recording yet; the call is {now.status}.")


def _again(context: JobContext, call_id: int, at: datetime) -> None:
    """Reschedule the same look-up for that time; this does not count as an attempt."""
    stops.again(context, job_kinds.LOOK_UP_CALL, at, key=call_id, priority=urgency(context), call_id=call_id)


def _later(context: JobContext, call: sa.Row[Any], code: str, sentence: str) -> None:
    """Schedule the next look-up, or end them."""
    priority = urgency(context)
    with context.db.transaction() as connection:
        if not ledger.look_up_later(connection, call.id, reason_code=code, reason=sentence, priority=priority):
            ended = f"{sentence.replace(' yet', '')} It was asked for over a day."
            ledger.look_ups_ended(connection, call.id, reason_code=code, reason=ended)


OVERDUE = timedelta(minutes=15)
AT_ONCE = 50
_SERVED = ("waiting", "queued", "running", "quarantined")


def take_up(context: Context) -> int:
    """Enqueue overdue jobs; gives how many."""
    late = tables.now() - OVERDUE
    fetches = (
        sa.select(recordings.c.id, recordings.c.priority)
        .join(calls, calls.c.id == recordings.c.call_id)
        .where(calls.c.next_action == FETCH, calls.c.due_at < late)
        .where(recordings.c.state == "found", recordings.c.object_key.is_(None))
        .where(~_served(job_kinds.FETCH_RECORDING, recordings.c.id))
        .order_by(recordings.c.priority, last_ended(job_kinds.FETCH_RECORDING, recordings.c.id).asc().nulls_first())
        .order_by(recordings.c.id)
        .limit(AT_ONCE)
    )
    look_ups = (
        sa.select(calls.c.id)
        .where(calls.c.next_action.in_((LOOK_UP, WAIT)), calls.c.due_at < late)
        .where(~_served(job_kinds.LOOK_UP_CALL, calls.c.id))
        .order_by(last_ended(job_kinds.LOOK_UP_CALL, calls.c.id).asc().nulls_first(), calls.c.due_at)
        .limit(AT_ONCE)
    )
    found, asked = context.db.rows(fetches), context.db.rows(look_ups)
    with context.db.transaction() as connection:
        for row in found:
            enqueueing.enqueue(
                connection, job_kinds.FETCH_RECORDING, key=str(row.id), priority=row.priority, recording_id=row.id
            )
    with context.db.transaction() as connection:
        for row in asked:
            enqueueing.enqueue(connection, job_kinds.LOOK_UP_CALL, key=str(row.id), call_id=row.id)
    return len(found) + len(asked)


def _served(kind: job_kinds.JobKind, row_id: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    key = sa.literal(f"{kind.name}:") + sa.cast(row_id, sa.String)
    return sa.exists(sa.select(job_rows.c.id).where(job_rows.c.unique_key == key, job_rows.c.state.in_(_SERVED)))
