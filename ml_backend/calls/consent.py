"""The consent purpose of a call, and what it permits.

    training   annotators may listen to it, models may learn from it
    review     annotators may listen to it, models may not learn from it
    service    it is stored and transcribed; annotators may not listen to it
    none       no consent was given: treated as service

A call without a recorded purpose is used without restriction, as before purposes existed. `calls consent import` sets
the purpose for a company number or for single calls.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.tables import calls

PURPOSES = ("training", "review", "service", "none")
NO_TRAINING = ("review", "service", "none")
LEARNING = "training"  # what live audio is kept for needs this, stated: it would not be kept otherwise
_NOBODY_HEARS = ("service", "none")


def objection(connection: Connection, recording: sa.Row[Any]) -> str | None:
    """A sentence that says why annotators must not listen to a recording; None if they may."""
    if recording.call_id is None:
        return None
    purpose = connection.execute(sa.select(calls.c.consent_purpose).where(calls.c.id == recording.call_id)).scalar()
    if purpose in _NOBODY_HEARS:
        return f"The call's consent purpose is {purpose!r}, which does not cover review by annotators."
    return None
