"""Recording -> the slices that its speech belongs to, and how much of its caller is annotated already.

The names of slices are those of evaluations and datasets, so that shares can be compared.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.tables import calls, recordings, tasks

MOST_COUNTED = 20  # annotated tasks of one caller; further ones make no difference
_BANDS = ((5.0, "below 5 dB"), (10.0, "5-10 dB"), (20.0, "10-20 dB"), (30.0, "20-30 dB"))
_ABOVE, UNKNOWN = "30 dB and more", "unknown"


def snr_band(snr_db: float | None) -> str:
    """The name of a band of signal-to-noise ratio."""
    if snr_db is None:
        return UNKNOWN
    return next((name for below, name in _BANDS if snr_db < below), _ABOVE)


def slices_of(recording: Any) -> dict[str, str]:
    """Kind of slice -> name, of a row with `quality` and `channels`. Of several channels the noisiest counts."""
    quality = recording.quality if isinstance(recording.quality, dict) else {}
    found = [
        float(part["snr_db"])
        for part in (quality.get("parts") or {}).values()
        if isinstance(part, dict) and isinstance(part.get("snr_db"), int | float)
    ]
    channels = "several channels" if (recording.channels or 1) > 1 else "one channel"
    return {"snr": snr_band(min(found) if found else None), "channels": channels}


def speaker_tasks(connection: Connection, recording: Any) -> int | None:
    """How many tasks over calls of the same caller are annotated, at most MOST_COUNTED; None for an unknown caller."""
    if recording.call_id is None:
        return None
    caller = sa.select(calls.c.from_pseudonym).where(calls.c.id == recording.call_id)
    who = connection.execute(caller).scalar()
    if who is None:
        return None
    theirs = sa.select(calls.c.id).where(calls.c.from_pseudonym == who).order_by(calls.c.id.desc()).limit(200)
    of_calls = sa.select(recordings.c.id).where(recordings.c.call_id.in_(theirs))
    done = sa.select(tasks.c.id).where(tasks.c.recording_id.in_(of_calls), tasks.c.state == "annotated")
    return len(connection.execute(done.limit(MOST_COUNTED)).all())
