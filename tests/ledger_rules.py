"""Invariant I2 of the ledger: a call is final with a reason, or has a next action with a due time."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.calls.states import OPEN, STATES
from ml_backend.tables import calls


def violations(connection: Connection) -> list[str]:
    """Every violation of I2 as a sentence; empty if there are none. Reads every call."""
    wrong = []
    for call in connection.execute(sa.select(calls)).all():
        name = f"call {call.call_sid} ({call.state})"
        actions = STATES.get(call.state)
        if actions is None:
            wrong.append(f"{name}: unknown state")
        elif call.state in OPEN:
            if call.next_action not in actions:
                wrong.append(f"{name}: next action {call.next_action} is not one of this state")
            if call.due_at is None:
                wrong.append(f"{name}: no due time")
        else:
            if not call.reason_code:
                wrong.append(f"{name}: final without a reason")
            if call.next_action or call.due_at:
                wrong.append(f"{name}: final, yet something follows")
    late = tables.now() - timedelta(minutes=5)
    running = sa.select(tables.jobs.c.id, tables.jobs.c.name, tables.jobs.c.lease_until)
    for job in connection.execute(running.where(tables.jobs.c.state == "running")).all():
        if job.lease_until is None or job.lease_until < late:
            wrong.append(f"job {job.id} ({job.name}): running without a live lease")
    return wrong
