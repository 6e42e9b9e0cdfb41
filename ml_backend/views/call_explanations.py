"""Why a call did or did not become work for annotators, in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ml_backend.calls.states import LADDER, LOOK_UP, OPEN
from ml_backend.db import Database
from ml_backend.tables import JOB_TROUBLE, jobs

_NOW = {
    "expected": "No recording of it is known yet.",
    "to-fetch": "Its recording is still to be fetched.",
    "fetched": "Its recording was fetched and is still to be decoded and measured.",
    "stored": "Its recording is stored and waits to be transcribed.",
    "heard": "It was transcribed; whether annotators get it is not decided yet.",
}
_END = {
    "no-recording": "It has no recording.",
    "missing": "Its recording cannot be had any more.",
    "refused": "Its recording cannot be used.",
    "kept": "It was transcribed and kept, but not selected.",
    "erased": "It was erased.",
    "expired": "Its time of keeping is over.",
}
_RECORDING_JOBS = (
    "fetch-recording", "ingest-recording", "transcribe-recording", "select-recording", "draft-recording",
)  # fmt: skip


def jobs_of(database: Database, call_id: int | None, recording_ids: Sequence[int]) -> Sequence[sa.Row[Any]]:
    """The latest job of each kind for a call and its recordings."""
    keys = [f"look-up-call:{call_id}"] + [f"{name}:{number}" for name in _RECORDING_JOBS for number in recording_ids]
    latest = sa.select(sa.func.max(jobs.c.id)).where(jobs.c.unique_key.in_(keys)).group_by(jobs.c.unique_key)
    return database.rows(sa.select(jobs).where(jobs.c.id.in_(latest)).order_by(jobs.c.id))


def explain(
    call: sa.Row[Any],
    recordings: Sequence[sa.Row[Any]],
    tasks: Sequence[sa.Row[Any]],
    jobs: Sequence[sa.Row[Any]],
) -> list[str]:
    """Sentences. The first says whether the call is a task; then what it waits for and what went wrong."""
    said = []
    if call.state == "tasked":
        said.append("It became work for annotators.")
    elif call.state in OPEN:
        said.append(f"It is not a task yet. {_NOW[call.state]}")
    else:
        said.append(f"It is not a task. {_END.get(call.state, '')}".strip())
    if call.reason and call.state != "tasked":
        said.append(call.reason)
    said += [_task(task) for task in tasks]
    said += [_recording(each) for each in recordings if each.reason and each.reason != call.reason]
    if call.next_action:
        said.append(next_sentence(call))
    said += trouble_of(jobs, said)
    said.append(_sources_of(call))
    return said


def trouble_of(jobs: Sequence[sa.Row[Any]], said: Sequence[str] = ()) -> list[str]:
    """What is wrong with the jobs now, and what to do; sentences in `said` are not repeated."""
    return [_trouble(job, said) for job in jobs if job.error_code and job.state != "done"]


def _task(task: sa.Row[Any]) -> str:
    name = f"Task {task.ls_task_id}" if task.ls_task_id else "A task not yet in Label Studio"
    why = f", selected as {task.selection_reason}" if task.selection_reason else ""
    if task.selection_probability is not None:
        why += f" with probability {task.selection_probability:.2g}"
    blind = ", without a draft" if task.blind else ""
    reason = f": {task.reason}" if task.reason else "."
    use = f" {task.usefulness_reason}" if task.usefulness_reason else ""
    return f"{name} in project {task.title or task.ls_project_id!r}: {task.state}{why}{blind}{reason}{use}"


def _recording(recording: sa.Row[Any]) -> str:
    return f"Recording {recording.id} is {recording.state}: {recording.reason}"


def next_sentence(call: sa.Row[Any]) -> str:
    """The next action of an open call, with its time."""
    due = f"{call.due_at:%Y-%m-%d %H:%M:%S} UTC" if isinstance(call.due_at, datetime) else "no known time"
    if call.next_action == LOOK_UP:
        return f"Exotel is asked about it at {due}, try {call.tries + 1} of {len(LADDER)}."
    words = {
        "wait": "If nothing is reported before, Exotel is asked about it at",
        "fetch": "It is to be fetched from",
        "ingest": "It is to be decoded from",
        "transcribe": "It is to be transcribed from",
        "select": "Its selection is looked at again from",
    }
    return f"{words.get(call.next_action, call.next_action + ' is due from')} {due} on."


def _trouble(job: sa.Row[Any], said: Sequence[str]) -> str:
    """What went wrong with a job, unless `said` has it, and what to do."""
    how = "ended badly" if job.state in JOB_TROUBLE else f"failed at try {job.attempt} and is tried again"
    error = f": {job.error}" if job.error not in said else "."
    return f"Job {job.id} ({job.name}) {how}{error} {job.next_step or ''}".strip()


def _sources_of(call: sa.Row[Any]) -> str:
    ways = ", ".join(str(way).replace("_", " ") for way in call.seen_by or ())
    listed = "" if call.listed_at else " Exotel's own listing has not shown it so far."
    return f"It was reported by {ways or 'no source'}.{listed}"
