"""The ledger for commands and /api: one call in detail, a list of calls, and a day's balance. Reads only.

A call is found by its id, a recording's or Label Studio task's id, an object's name, or a phone number, which is
replaced by its pseudonym before the search.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend.calls import phone_numbers
from ml_backend.calls import states as callstates
from ml_backend.calls.events import INDIA, zone_of
from ml_backend.calls.pseudonyms import SHAPE, is_masked, pseudonym
from ml_backend.db import Database
from ml_backend.errors import InvalidInput
from ml_backend.tables import calls, events, objects, projects, recordings, tasks
from ml_backend.views import call_explanations, draft_explanations, ledger_balance, outcome_views
from ml_backend.views.queries import Day, Fits, PagedQuery, Time, Whole, one_of

KINDS = ("call", "number", "object", "task", "recording")  # the order in which kinds without a prefix are tried
MAX_FOUND = 200
SHORT_SID, LONG_SID = 8, 16  # tasks show so much of a long random call id, such as Exotel's
_SHORT = re.compile(rf"[0-9a-f]{{{SHORT_SID}}}", re.ASCII)
_SID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_NUMBER = re.compile(r"\+?[\d\s()\-]{8,20}", re.ASCII)
_RECORDING = (
    "id", "source", "source_identity", "state", "reason_code", "reason", "bucket", "object_key", "duration_s",
    "header_duration_s", "call_duration_s", "channels", "quality_score", "synthetic",
)  # fmt: skip
_TASK = (
    "id", "recording_id", "state", "reason_code", "reason", "selection_reason", "selection_probability", "usefulness",
    "usefulness_reason", "expected", "draft_choice", "overlap", "blind", "start_s", "end_s", "ls_task_id",
)  # fmt: skip

_State = Annotated[
    str,
    one_of(
        callstates.STATES,
        InvalidInput("unknown-state", "There is no such state.", f"Known: {', '.join(callstates.STATES)}."),
    ),
]
_Person = Annotated[
    str,
    Fits(
        SHAPE.fullmatch,
        InvalidInput(
            "bad-person", "The person is not a pseudonym.", "Copy it from `from` or `to` of a call; not a number."
        ),
        {"pattern": f"^(?:{SHAPE.pattern})$"},
    ),
]


class CallQuery(PagedQuery):
    """Which calls; a call's state and the like may be any of several."""

    state: Annotated[tuple[_State, ...], Field(description="Only calls in this state.")] = ()
    source: Annotated[tuple[str, ...], Field(description="Only calls first reported by this.")] = ()
    reason_code: Annotated[tuple[str, ...], Field(description="Only calls with this reason, e.g. audio-cut.")] = ()
    person: Annotated[_Person | None, Field(description="Only calls of this pseudonym, from or to.")] = None
    since: Annotated[Time | None, Field(description="Only calls that began then or later: a time, or a date.")] = None
    until: Annotated[Time | None, Field(description="Only calls that began earlier.")] = None
    day: Annotated[Day | None, Field(description="Only calls that began on this day of EXOTEL_TIME_ZONE.")] = None
    language: Annotated[str | None, Field(description="Only calls with a recording in this language, e.g. hi.")] = None
    project: Annotated[
        Whole | None, Field(description="Only calls of this project, by its number in Label Studio.")
    ] = None
    sort: Annotated[
        str | None,
        Field(description="-id: the latest first (the usual order); id: the first first."),
        one_of(("id", "-id"), InvalidInput("bad-sort", "There is no such order.", "Use id or -id.")),
    ] = None


def find(database: Database, query: CallQuery, *, zone: str = INDIA) -> list[dict[str, Any]]:
    """Calls, newest row first; days are those of `zone`."""
    first = query.sort == "id"
    statement = sa.select(calls).order_by(calls.c.id if first else calls.c.id.desc()).limit(query.limit)
    for column, values in (
        (calls.c.state, query.state),
        (calls.c.source, query.source),
        (calls.c.reason_code, query.reason_code),
    ):
        statement = statement.where(column.in_(values)) if values else statement
    if query.person:
        statement = statement.where(
            sa.or_(calls.c.from_pseudonym == query.person, calls.c.to_pseudonym == query.person)
        )
    if query.since or query.until:
        statement = statement.where(ledger_balance.began_between(query.since, query.until))
    if query.day:
        begin = datetime.combine(query.day, time(), zone_of(zone))
        statement = statement.where(ledger_balance.began_between(begin, begin + timedelta(days=1)))
    if query.before:
        statement = statement.where(calls.c.id > query.before if first else calls.c.id < query.before)
    for column, value in ((recordings.c.language, query.language), (recordings.c.project_id, query.project)):
        if value is not None:
            statement = statement.where(_with_recording(database, query, column, value))
    return [to_dict(row) for row in database.rows(statement)]


_OF_THE_PAGE = {"limit", "before", "sort", "language", "project"}
_RARE = 2000


def _with_recording(
    database: Database, query: CallQuery, column: sa.ColumnElement[Any], value: Any
) -> sa.ColumnElement[bool]:
    """Calls with such a recording, without a look at all calls: a rare value gives its calls by an index, a frequent
    one is met soon in the order of the list."""
    of_call, first, wanted = recordings.c.call_id, query.sort == "id", column == value
    if column is recordings.c.project_id:
        wanted = column.in_(database.scalars(sa.select(projects.c.id).where(projects.c.ls_project_id == value)))
    mine = sa.select(of_call).where(wanted, of_call.is_not(None))
    few = database.scalars(mine.limit(_RARE))
    if len(few) < _RARE:
        return calls.c.id.in_(few)
    others = {name for name in query.model_fields_set - _OF_THE_PAGE if getattr(query, name)}
    if others or (query.language and query.project):
        return sa.exists().where(of_call == calls.c.id, wanted)
    if query.before:
        mine = mine.where(of_call > query.before if first else of_call < query.before)
    return calls.c.id.in_(mine.distinct().order_by(of_call if first else of_call.desc()).limit(query.limit))


def resolve(database: Database, what: str, *, key: bytes) -> list[int]:
    """The ids of the calls that `what` names, newest first; InvalidInput when there are none.

    A prefix `call:`, `recording:`, `task:`, `object:` or `number:` says the kind. Without one, its form decides, in
    this order: a call's id, a phone number, an object, the number of a Label Studio task, of a recording.
    """
    what = what.replace("\x00", "\ufffd")  # databases refuse NUL
    kind, _, rest = what.strip().partition(":")
    if kind in KINDS and rest:
        found = _of(database, kind, rest.strip(), key)
    else:
        found = next((ids for kind in KINDS if (ids := _of(database, kind, what.strip(), key))), [])
    if not found:
        raise InvalidInput(
            "no-such-call",
            "Nothing here has that name.",
            "Give a call's id, recording:12, task:34, object:bucket/key, or a phone number. Tasks are known once their "
            "project is attached (`project list`), objects once a scan has found them (`sync objects`).",
            status=404,
        )
    return found


def show(database: Database, call_id: int) -> dict[str, Any]:
    """A call with its recordings, tasks, messages and explanation, without phone numbers."""
    (call,) = database.rows(sa.select(calls).where(calls.c.id == call_id))
    mine = sa.select(recordings).where(recordings.c.call_id == call_id).order_by(recordings.c.id)
    found = database.rows(mine)
    made = database.rows(
        sa.select(tasks, projects.c.title, projects.c.ls_project_id, projects.c.instance_url)
        .join(projects, projects.c.id == tasks.c.project_id)
        .where(tasks.c.recording_id.in_([row.id for row in found]))
        .order_by(tasks.c.id)
    )
    sent = database.rows(
        sa.select(events.c.id, events.c.action, events.c.method, events.c.copies, events.c.state, events.c.created_at)
        .where(events.c.call_sid == call.call_sid, events.c.source == "exotel")
        .order_by(events.c.id)
    )
    jobs = call_explanations.jobs_of(database, call.id, [row.id for row in found])
    return to_dict(call) | {
        "recordings": [recording_as_dict(row) for row in found],
        "tasks": [task_as_dict(row) for row in made],
        "messages": [
            {"id": row.id, "source": row.action, "method": row.method, "copies": row.copies, "state": row.state}
            | {"received_at": text_of(row.created_at)}
            for row in sent
        ],
        **outcome_views.of_call(database, call.call_sid),
        "explanation": [
            *call_explanations.explain(call, found, made, jobs),
            *draft_explanations.sentences(database, made, found),
            *draft_explanations.guessed_languages(database, found),
        ],
    }


def to_dict(call: sa.Row[Any]) -> dict[str, Any]:
    """A call under the provider's field names; `from` and `to` are pseudonyms."""
    return {
        "id": call.id,
        "call_sid": call.call_sid,
        "source": call.source,
        "seen_by": list(call.seen_by or ()),
        "status": call.status,
        "recording_url": call.recording_url,
        "from": call.from_pseudonym,
        "to": call.to_pseudonym,
        "direction": call.direction,
        "talk_seconds": call.talk_seconds,
        "started_at_utc": text_of(call.started_at),
        "ended_at_utc": text_of(call.ended_at),
        "custom_field": call.custom_field,
        "wants_download": call.recording_url is not None,
        "wants_details_poll": call.status == "completed" and call.recording_url is None,
        "company_number": call.company_number,
        "consent_purpose": call.consent_purpose,
        "listed_at": text_of(call.listed_at),
        "state": call.state,
        "reason_code": call.reason_code,
        "reason": call.reason,
        "next_action": call.next_action,
        "due_at": text_of(call.due_at),
        "tries": call.tries,
        "warnings": list((call.merged or {}).get("odd", ())),
        "created_at": text_of(call.created_at),
        "updated_at": text_of(call.updated_at),
    }


def counts(database: Database) -> dict[str, int]:
    """Calls per state, in the order of the states."""
    rows = database.rows(sa.select(calls.c.state, sa.func.count().label("number")).group_by(calls.c.state))
    found = {row.state: int(row.number) for row in rows}
    return {state: found[state] for state in callstates.STATES if state in found}


def text_of(at: datetime | None) -> str | None:
    """A time as the API writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else None


def _of(database: Database, kind: str, what: str, key: bytes) -> list[int]:
    condition = _CONDITIONS[kind](what, key)
    if condition is None:
        return []
    statement = sa.select(calls.c.id).where(condition).order_by(calls.c.id.desc()).limit(MAX_FOUND)
    return [int(row.id) for row in database.rows(statement)]


def _by_call(what: str, key: bytes) -> Any:
    if not _SID.fullmatch(what):
        return None
    named: Any = calls.c.call_sid.in_((what, phone_numbers.hidden(what, key)))
    if _SHORT.fullmatch(what):  # the short form that tasks show
        named = sa.or_(named, sa.and_(calls.c.call_sid.startswith(what), sa.func.length(calls.c.call_sid) >= LONG_SID))
    return named


def _by_recording(what: str, key: bytes) -> Any:
    if (number := number_of(what)) is not None:
        condition = recordings.c.id == number
    elif what.startswith("exotel:"):
        condition = recordings.c.source_identity == what
    else:
        return None
    return calls.c.id.in_(sa.select(recordings.c.call_id).where(condition))


def task_number(what: str) -> int | None:
    """Label Studio's number of a task, written alone or as the task's address."""
    if what.startswith(("http://", "https://")):
        found = re.search(r"(?:[?&]task=|/tasks/)(\d{1,12})(?:\D|$)", what)
        what = found[1] if found else ""
    return number_of(what)


def _by_task(what: str, key: bytes) -> Any:
    if (number := task_number(what)) is None:
        return None
    theirs = sa.select(tasks.c.recording_id).where(tasks.c.ls_task_id == number)
    return calls.c.id.in_(sa.select(recordings.c.call_id).where(recordings.c.id.in_(theirs)))


def _by_object(what: str, key: bytes) -> Any:
    bucket, _, name = what.removeprefix("s3://").partition("/")
    if not name and "." not in bucket:
        return None
    same = sa.and_(
        recordings.c.bucket == bucket, sa.or_(recordings.c.object_key == name, recordings.c.derived_key == name)
    )
    seen = sa.select(objects.c.recording_id).where(objects.c.bucket == bucket, objects.c.object_key == name)
    same = sa.or_(same, recordings.c.id.in_(seen))  # a copy of it that a scan has found
    stem, _, ending = (name or bucket).rpartition("/")[2].rpartition(".")
    named = calls.c.call_sid == stem if ending and _SID.fullmatch(stem) else sa.false()
    return sa.or_(calls.c.id.in_(sa.select(recordings.c.call_id).where(same)), named)


def _by_number(what: str, key: bytes) -> Any:
    if SHAPE.fullmatch(what):
        person = what
    elif _NUMBER.fullmatch(what) or what.startswith(("sip:", "tel:")):
        person = pseudonym(what, key)
    else:
        return None
    if is_masked(person):
        return None
    return sa.or_(calls.c.from_pseudonym == person, calls.c.to_pseudonym == person)


_CONDITIONS = {
    "call": _by_call,
    "recording": _by_recording,
    "task": _by_task,
    "object": _by_object,
    "number": _by_number,
}


def number_of(text: str) -> int | None:
    """A row's number, or None."""
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,11}", text) else None


def recording_as_dict(row: sa.Row[Any]) -> dict[str, Any]:
    return _named(row, _RECORDING)


def task_as_dict(row: sa.Row[Any]) -> dict[str, Any]:
    return _named(row, _TASK) | _place(row)


def _named(row: sa.Row[Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _place(task: sa.Row[Any]) -> dict[str, Any]:
    """The task's project and address in Label Studio."""
    address = f"{task.instance_url}/projects/{task.ls_project_id}/data?task={task.ls_task_id}"
    return {"project": task.title, "ls_project_id": task.ls_project_id, "url": address if task.ls_task_id else None}
