"""Event -> Call: a stored message of Exotel becomes part of its call's row."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ml_backend import db, log
from ml_backend.calls import events as callevents
from ml_backend.calls import ledger, pseudonyms
from ml_backend.context import JobContext
from ml_backend.errors import InvalidInput
from ml_backend.labelling import agent_channel
from ml_backend.tables import company_numbers, events
from ml_backend.views import ledger_balance
from sync.privacy import raw_events


def read_call_event(context: JobContext, event_id: int) -> None:
    """Event -> Call. Safe to repeat: an event that was already read or erased is left alone."""
    key = context.keep("pseudonym-key", lambda: pseudonyms.key_of(context.settings))
    event = context.db.row(events, event_id)
    if event.state != "new":
        return
    if event.said is None:  # received by a release that left the reading to this job
        try:
            found = callevents.parse_request(
                event.method, event.content_type, event.query or "", event.body, zone=context.settings.exotel_time_zone
            )
        except InvalidInput as error:
            context.db.update(events, event_id, state="unreadable", reason_code=error.code, reason=error.sentence)
            return
    else:
        found = callevents.CallEvent.from_json(event.said)
    with context.db.transaction() as connection:
        call = ledger.record(connection, found, key=key) if found is not None else None
        values: dict[str, Any] = {"state": "read" if found else "ignored", "said": None}
        if found is not None and (words := ledger_balance.clock_differs(event.created_at, found.sent_at_utc)):
            values |= {"reason_code": ledger_balance.CLOCK, "reason": words}
        if call is not None and call.state == "erased":  # the event would still hold the number
            reason = {"reason_code": "erased", "reason": "Erased with its call."}
            values = {"state": "erased", "said": None, "body": b"", "query": None, "call_sid": call.call_sid, **reason}
        elif raw_events.is_old(context, event):
            values |= {"body": b"", "query": None}
        db.update(connection, events, event_id, **values)


_log = log.get("company-numbers")


def learn_channels(context: JobContext) -> None:
    """Company numbers -> the channel their agents speak on, learnt from annotations. Safe to repeat."""
    unknown = sa.select(company_numbers.c.pseudonym).where(company_numbers.c.agent_channel.is_(None))
    for row in context.db.rows(unknown.order_by(company_numbers.c.id)):
        with context.db.transaction() as connection:
            channel = agent_channel.learnt(connection, row.pseudonym)
            if channel is not None:
                agent_channel.set_agent_channel(connection, row.pseudonym, channel)
                _log.info("learnt the agent's channel", company_number=row.pseudonym, channel=channel)
