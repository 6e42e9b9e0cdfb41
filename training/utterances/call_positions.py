"""Which recordings say something new since the last run: those transcribed since, and those with new references.

A run's position is one place in the transcriptions, by their ids, and one in the accepted samples, by the time they
were made: a task's samples are made anew with every change of its annotations, and SQLite gives their ids again.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.tables import samples, transcriptions

HEARD, CORRECTED = "transcription", "sample"
READ_MOST = 500  # rows of each sort read at once
SETTLED = timedelta(minutes=1)  # younger rows are read again: an older transaction may commit beside them


@dataclass(frozen=True)
class ReadingPage:
    """The next rows of each sort, behind the position `start`."""

    start: Mapping[str, Any]
    rows: Mapping[str, Sequence[Any]]
    settled: datetime  # what is younger may still get older rows beside it

    def recordings(self) -> list[int]:
        """In the order to read them: whoever stops early has moved on in both sorts."""
        mixed = (row for some in zip_longest(*self.rows.values()) for row in some if row is not None)
        return list(dict.fromkeys(int(row.recording_id) for row in mixed if row.recording_id is not None))

    def behind(self, read: Container[int]) -> tuple[dict[str, Any], bool]:
        """(the position behind what was read, whether there may be rows behind this page)."""
        position, more = dict(self.start), False
        for name, rows in self.rows.items():
            passed = 0
            for row in rows:
                if row.created_at > self.settled or not (row.recording_id is None or row.recording_id in read):
                    break
                passed += 1
                position[name] = int(row.id) if name == HEARD else [row.created_at.isoformat(), int(row.id)]
            more = more or passed == READ_MOST
        return position, more


def page_after(context: Context, start: Mapping[str, Any]) -> ReadingPage:
    """The page behind a position; `{}` is before everything."""
    settled = tables.now() - SETTLED
    known = {name: start[name] for name in (HEARD, CORRECTED) if name in start}
    heard, row = transcriptions.c, samples.c
    new = sa.select(heard.id, heard.recording_id, heard.created_at).where(heard.id > int(known.get(HEARD, 0)))
    written = sa.select(row.id, row.recording_id, row.created_at).where(row.state == "accepted")
    if CORRECTED in known:
        made, last = datetime.fromisoformat(known[CORRECTED][0]), int(known[CORRECTED][1])
        written = written.where(sa.or_(row.created_at > made, sa.and_(row.created_at == made, row.id > last)))
    rows = {
        HEARD: context.db.rows(new.order_by(heard.id).limit(READ_MOST)),
        CORRECTED: context.db.rows(written.order_by(row.created_at, row.id).limit(READ_MOST)),
    }
    return ReadingPage(known, rows, settled)
