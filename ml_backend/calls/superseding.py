"""A call's own recording and what its live requests sent -> which of the two is worked on, never both.

The recording that the provider made, or that a scan found, holds the same speech as the live pieces, whole and with
both sides. So it supersedes them once it is ready: a piece becomes `superseded`, its tasks are withdrawn, and what
somebody still writes for it teaches nothing. If a person has annotated a piece before, that work counts: the pieces
stay, and the recording is kept without a task. A recording that is lost or refused later gives its place back.

The decision is derived again, under the call's lock, whenever a recording of the call moves; so it is the same for any
order of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.calls import sample_use
from ml_backend.calls.events import LIVE_SOURCE
from ml_backend.calls.states import GONE, SUPERSEDED
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import annotations as written_rows
from ml_backend.tables import recordings, tasks

NOT_WORKED_ON = "kept-same-call"
WITHDRAWN = "The call's whole recording took the place of this piece."


def own(found: Sequence[Any]) -> list[Any]:
    """The recordings that hold the whole call."""
    return [each for each in found if each.source != LIVE_SOURCE]


def annotated(connection: Connection, call_id: int | None) -> int | None:
    """A live piece of the call that counts and that a person has annotated; None if there is none."""
    if call_id is None:
        return None
    written = sa.exists().where(
        written_rows.c.task_id == tasks.c.id, written_rows.c.deleted_at.is_(None), written_rows.c.skipped.is_(False)
    )
    mine = (
        sa.select(recordings.c.id)
        .join(tasks, tasks.c.recording_id == recordings.c.id)
        .where(recordings.c.call_id == call_id, recordings.c.source == LIVE_SOURCE)
        .where(recordings.c.state.not_in((*GONE, SUPERSEDED)), written)
    )
    found = connection.execute(mine.order_by(recordings.c.id).limit(1)).scalar()
    return None if found is None else int(found)


def settle(connection: Connection, call_id: int, found: Sequence[Any]) -> bool:
    """Bring a call's live pieces in line with its other recordings; gives whether one changed. Lock the call first."""
    pieces = [each for each in found if each.source == LIVE_SOURCE and each.state not in GONE]
    whole = own(found)
    if not pieces or not whole:
        return False
    standing = next((each for each in whole if each.state == "ready" and each.reason_code != NOT_WORKED_ON), None)
    if standing is not None:
        going = [each for each in pieces if each.state != SUPERSEDED]
        if not going or annotated(connection, call_id) is not None:
            return False
        for piece in going:
            _supersede(connection, piece, standing)
        return True
    if any(each.state not in ("refused", "lost") for each in whole):
        return False
    back = [each for each in pieces if each.state == SUPERSEDED and each.object_key]
    for piece in back:
        _revive(connection, piece)
    return bool(back)


def _supersede(connection: Connection, piece: Any, standing: Any) -> None:
    sentence = f"Its call has a recording of its own, recording {standing.id}, which holds the same speech."
    db.update(connection, recordings, piece.id, state=SUPERSEDED, reason_code=SUPERSEDED, reason=sentence)
    mine = tasks.c.recording_id == piece.id
    unmade = sa.and_(mine, tasks.c.state.in_(("waiting", "wanted")))
    gone = {"state": "deleted", "reason_code": SUPERSEDED, "reason": WITHDRAWN, "updated_at": tables.now()}
    connection.execute(sa.update(tasks).where(unmade).values(**gone))
    if connection.execute(sa.select(tasks.c.id).where(mine, tasks.c.state == "open").limit(1)).first():
        enqueueing.enqueue(connection, job_kinds.WITHDRAW_TASKS, key=str(piece.id), recording_id=piece.id)
    sample_use.recording_moved(connection, piece.id)


def _revive(connection: Connection, piece: Any) -> None:
    """The whole recording cannot be used after all: the piece goes its way again, and so do its tasks."""
    db.update(connection, recordings, piece.id, state="stored", reason_code=None, reason=None)
    withdrawn = sa.and_(tasks.c.recording_id == piece.id, tasks.c.state == "deleted", tasks.c.reason_code == SUPERSEDED)
    again = {"state": "wanted", "ls_task_id": None, "reason_code": None, "reason": None, "updated_at": tables.now()}
    connection.execute(sa.update(tasks).where(withdrawn).values(**again))
    enqueueing.enqueue(
        connection, job_kinds.INGEST_RECORDING, key=str(piece.id), priority=piece.priority, recording_id=piece.id
    )
    sample_use.recording_moved(connection, piece.id)
