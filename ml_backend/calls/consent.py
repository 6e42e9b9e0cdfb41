"""What the people in a call agreed to: its purpose, and what may be done under it.

    training   annotators may hear it, models may learn from it
    review     annotators may hear it, models may not learn from it
    service    it is stored and transcribed; nobody hears it for our purposes
    none       nothing was agreed to: as service

A call whose purpose nobody stated has none recorded; such calls are used, because that is how they came before
purposes were kept. `calls consent import` states it, for a company number or for single calls.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.tables import calls

PURPOSES = ("training", "review", "service", "none")
NO_TRAINING = ("review", "service", "none")
_NOBODY_HEARS = ("service", "none")


def objection(connection: Connection, recording: sa.Row[Any]) -> str | None:
    """Why annotators must not hear a recording, in a sentence; None when they may."""
    if recording.call_id is None:
        return None
    purpose = connection.execute(sa.select(calls.c.consent_purpose).where(calls.c.id == recording.call_id)).scalar()
    if purpose in _NOBODY_HEARS:
        return f"The call's consent purpose is {purpose!r}, which does not cover review by annotators."
    return None
