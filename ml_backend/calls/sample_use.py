"""A recording, or the consent of its call, has changed -> whether its samples may still be used.

Whether a sample may be used is one state with one reason on its row; export, training and progress read that row.
`training.samples.sampling` decides it. Two of the facts it rests on change without any annotation: audio goes or comes
back, and an operator records what the speakers of a call consented to. What forbids use takes effect here, in the
transaction that brought the fact; what allows it again has the tasks sampled anew.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.calls.consent import NO_TRAINING
from ml_backend.calls.states import GONE, SUPERSEDED
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import calls, recordings, samples

NO_AUDIO, NO_CONSENT, ELSEWHERE = "audio-missing", "consent", "superseded"
REASONS = {
    NO_AUDIO: "The recording is not there.",
    NO_CONSENT: "What the people in the call agreed to does not cover training.",
    ELSEWHERE: "The call's whole recording is used in place of what its live requests sent.",
}


def objection(state: str | None, purpose: str | None) -> str:
    """Why audio in this state, of a call with this consent purpose, teaches nothing, as a code; empty when it may."""
    if state is None or state in GONE:
        return NO_AUDIO
    if state == SUPERSEDED:
        return ELSEWHERE
    return NO_CONSENT if purpose in NO_TRAINING else ""


def decide(connection: Connection, concerned: sa.ColumnElement[bool]) -> None:
    """Bring the samples of these recordings (a condition on `recordings` and `calls`) in line with their facts."""
    with_calls = recordings.outerjoin(calls, calls.c.id == recordings.c.call_id)
    gone, elsewhere = recordings.c.state.in_(GONE), recordings.c.state == SUPERSEDED
    forbidden = sa.func.coalesce(calls.c.consent_purpose, "").in_(NO_TRAINING)
    for code, applies in ((NO_AUDIO, gone), (ELSEWHERE, elsewhere), (NO_CONSENT, forbidden)):
        theirs = sa.select(recordings.c.id).select_from(with_calls).where(concerned, applies)
        used = sa.and_(samples.c.recording_id.in_(theirs), samples.c.state == "accepted")
        left_out = sa.update(samples).where(used)
        connection.execute(left_out.values(state="excluded", reason_code=code, reason=REASONS[code]))
    allowed = sa.select(recordings.c.id).select_from(with_calls).where(concerned, ~gone, ~elsewhere, ~forbidden)
    back = sa.and_(samples.c.recording_id.in_(allowed), samples.c.reason_code.in_(REASONS))
    tasks = list(connection.execute(sa.select(samples.c.task_id).where(back).distinct()).scalars())
    enqueueing.enqueue_many(connection, job_kinds.SAMPLE_TASK, "task_id", tasks, priority=job_kinds.BULK)


def recording_moved(connection: Connection, recording_id: int) -> None:
    """`decide` for one recording, where it has samples at all."""
    mine = sa.select(samples.c.id).where(samples.c.recording_id == recording_id).limit(1)
    if connection.execute(mine).first() is not None:
        decide(connection, recordings.c.id == recording_id)
