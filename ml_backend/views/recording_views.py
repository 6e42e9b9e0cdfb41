"""Recordings, tasks and objects that belong to no call, such as an upload in Label Studio or a file in a bucket.

They have the same names as calls (`recording:12`, `task:34`, `object:bucket/key`), and the answer has the same shape:
what is known, and why there is, or is not, a draft. Reads only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend.db import Database
from ml_backend.errors import InvalidInput
from ml_backend.tables import calls, listenings, objects, projects, recordings, tasks
from ml_backend.views import call_explanations, call_views, draft_explanations
from ml_backend.views.queries import PagedQuery, Time, Whole, one_of

_MOST = 50


def look_up(database: Database, what: str, *, key: bytes, most: int = call_views.MAX_FOUND) -> list[dict[str, Any]]:
    """Everything known under a name: its calls, else its recordings, tasks and objects.

    InvalidInput `no-such-call` when the name is unknown.
    """
    try:
        return [call_views.show(database, call_id) for call_id in call_views.resolve(database, what, key=key)[:most]]
    except InvalidInput as nothing:
        found = _others(database, what.strip().replace("\x00", "\ufffd"))
        if found is None:
            raise nothing
        return [found]


RECORDING_STATES = (
    "found", "spooled", "stored", "ready", "superseded", "refused", "lost", "erased", "expired",
)  # fmt: skip
_State = Annotated[
    str,
    one_of(
        RECORDING_STATES,
        InvalidInput("unknown-state", "There is no such state.", f"Known: {', '.join(RECORDING_STATES)}."),
    ),
]


class RecordingQuery(PagedQuery):
    """Which recordings."""

    state: Annotated[_State | None, Field(description="Only recordings in this state.")] = None


def find(database: Database, query: RecordingQuery) -> list[dict[str, Any]]:
    """Recordings of every door, those of no call too, the newest first."""
    row = recordings.c
    statement = sa.select(recordings, projects.c.title).outerjoin(projects, projects.c.id == row.project_id)
    if query.state is not None:
        statement = statement.where(row.state == query.state)
    if query.before is not None:
        statement = statement.where(row.id < query.before)
    return [
        {
            "id": each.id, "created_at": call_views.text_of(each.created_at), "source": each.source,
            "call_sid": each.call_sid, "file": (each.object_key or "").rpartition("/")[2] or None,
            "duration_s": each.duration_s, "language": each.language, "project": each.title,
            "state": each.state, "reason_code": each.reason_code,
        }
        for each in database.rows(statement.order_by(row.id.desc()).limit(query.limit))
    ]  # fmt: skip


class ListeningQuery(PagedQuery):
    """Which listenings."""

    who: Annotated[str | None, Field(description="Only by the token of this name.")] = None
    recording: Annotated[Whole | None, Field(description="Only to this recording, by its number here.")] = None
    since: Annotated[Time | None, Field(description="Only what began then or later: a time, or a date.")] = None
    until: Annotated[Time | None, Field(description="Only what began earlier.")] = None


def listened(database: Database, query: ListeningQuery) -> list[dict[str, Any]]:
    """Who listened to which recording on the page, the newest first."""
    row = listenings.c
    statement = sa.select(listenings, calls.c.call_sid).outerjoin(calls, calls.c.id == row.call_id)
    for column, value in ((row.who, query.who), (row.recording_id, query.recording)):
        statement = statement if value is None else statement.where(column == value)
    if query.since is not None:
        statement = statement.where(row.created_at >= query.since)
    if query.until is not None:
        statement = statement.where(row.created_at < query.until)
    if query.before is not None:
        statement = statement.where(row.id < query.before)
    return [
        {
            "id": each.id, "who": each.who, "began_at": call_views.text_of(each.created_at),
            "last_at": call_views.text_of(each.updated_at), "recording_id": each.recording_id,
            "call_sid": each.call_sid, "requests": each.requests,
        }
        for each in database.rows(statement.order_by(row.id.desc()).limit(query.limit))
    ]  # fmt: skip


def _others(database: Database, what: str) -> dict[str, Any] | None:
    kind, _, rest = what.partition(":")
    kind, name = (kind, rest.strip()) if kind in call_views.KINDS and rest else ("", what)
    if kind in ("", "object") and (found := _object(database, name)):
        return found
    if kind in ("", "task") and (number := call_views.task_number(name)) is not None:
        mine = _tasks(database, tasks.c.ls_task_id == number)
        if mine:
            return _to_dict(database, f"task {number}", _recordings(database, [row.recording_id for row in mine]), mine)
    if kind in ("", "recording") and (number := call_views.number_of(name)) is not None:
        found_recordings = _recordings(database, [number])
        if found_recordings:
            return _to_dict(
                database, f"recording {number}", found_recordings, _tasks(database, tasks.c.recording_id == number)
            )
    if kind in ("", "call"):  # audio named after a call that no provider has reported
        ids = [row.id for row in database.rows(sa.select(recordings.c.id).where(recordings.c.call_sid == name))]
        if ids:
            found_recordings, mine = _recordings(database, ids), _tasks(database, tasks.c.recording_id.in_(ids))
            return _to_dict(database, f"call {name}", found_recordings, mine)
    return None


def _object(database: Database, what: str) -> dict[str, Any] | None:
    bucket, _, name = what.removeprefix("s3://").partition("/")
    if not name:
        return None
    same = sa.or_(recordings.c.object_key == name, recordings.c.derived_key == name)
    mine = database.rows(sa.select(recordings.c.id).where(recordings.c.bucket == bucket, same).limit(_MOST))
    derived = database.rows(sa.select(recordings.c.id).where(recordings.c.derived_key == name).limit(_MOST))
    seen = database.rows(sa.select(objects).where(objects.c.bucket == bucket, objects.c.object_key == name))
    ids = [row.id for row in [*mine, *derived]] + [row.recording_id for row in seen if row.recording_id is not None]
    if not ids and not seen:
        return None
    found_recordings = _recordings(database, ids)
    found = _to_dict(
        database, f"object {bucket}/{name}", found_recordings, _tasks(database, tasks.c.recording_id.in_(ids))
    )
    for row in seen:
        if row.reason or not ids:
            found["explanation"].insert(0, f"The object is {row.state}: {row.reason or 'nothing was made of it yet.'}")
    return found


def _to_dict(
    database: Database, name: str, found_recordings: Sequence[sa.Row[Any]], made: Sequence[sa.Row[Any]]
) -> dict[str, Any]:
    jobs = call_explanations.jobs_of(database, None, [row.id for row in found_recordings])
    said = draft_explanations.sentences(database, made, found_recordings)
    explained = " ".join(said)
    if not made:
        said.append("It is in no project: `python -m ml_backend project add ID BUCKET/PREFIX` makes it a task.")
    said += [
        f"Recording {row.id} is {row.state}: {row.reason}"
        for row in found_recordings
        if row.reason and row.reason not in explained
    ]
    said += [each for each in call_explanations.trouble_of(jobs) if each not in explained]
    said += draft_explanations.guessed_languages(database, found_recordings)
    return {
        "name": name,
        "call_sid": None,
        "recordings": [call_views.recording_as_dict(row) for row in found_recordings],
        "tasks": [call_views.task_as_dict(row) for row in made],
        "explanation": ["It belongs to no call that a provider reported.", *said],
    }


def _recordings(database: Database, ids: Sequence[int | None]) -> Sequence[sa.Row[Any]]:
    wanted = [number for number in dict.fromkeys(ids) if number is not None]
    return database.rows(sa.select(recordings).where(recordings.c.id.in_(wanted)).order_by(recordings.c.id))


def _tasks(database: Database, condition: sa.ColumnElement[bool]) -> Sequence[sa.Row[Any]]:
    return database.rows(
        sa.select(tasks, projects.c.title, projects.c.ls_project_id, projects.c.instance_url)
        .join(projects, projects.c.id == tasks.c.project_id)
        .where(condition)
        .order_by(tasks.c.id)
        .limit(_MOST)
    )
