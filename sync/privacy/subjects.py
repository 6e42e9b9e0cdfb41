"""A caller's number, or a call's id -> the rows about it, which an erasure has to cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.calls import phone_numbers, pseudonyms, tombstones
from ml_backend.errors import InvalidInput, PermanentError
from ml_backend.settings import Settings
from ml_backend.tables import calls, company_numbers, erasures, recordings, tasks, utterances


@dataclass(frozen=True)
class Subject:
    """`name` identifies the subject in the erasure's row: a pseudonym, or `call:` and an id."""

    kind: str  # caller or call, as in tombstones
    identity: str
    hidden: str = ""  # replaces the call's id after an erasure, if the id contained a phone number

    @property
    def name(self) -> str:
        return self.identity if self.kind == "caller" else f"call:{self.identity}"[:80]

    def __repr__(self) -> str:
        return f"Subject({self.name})"


@dataclass(frozen=True)
class SubjectRows:
    """Every row about a subject."""

    calls: Sequence[Any]
    recordings: Sequence[Any]
    tasks: Sequence[Any]

    @property
    def sids(self) -> list[str]:
        """The provider's ids of the calls."""
        return [str(call.call_sid) for call in self.calls]


def subject_of(settings: Settings, *, caller: str | None = None, call: str | None = None) -> Subject:
    """The subject a person named: exactly one of a phone number (or its pseudonym) and a call id."""
    if bool(caller) == bool(call):
        raise InvalidInput("which-subject", "Name a caller or a call, one of the two.", "Use --caller or --call.")
    if call:
        return Subject("call", call.strip(), phone_numbers.hidden(call.strip(), pseudonyms.key_of(settings)))
    number = str(caller).strip()
    if pseudonyms.SHAPE.fullmatch(number):
        given = number
    else:
        given = pseudonyms.pseudonym(number, pseudonyms.key_of(settings))
        if not any(character.isdigit() for character in number) or len(pseudonyms.canonical(number)) < 5:
            raise InvalidInput("no-number", "That is no phone number.", "Give the number as digits.")
    if pseudonyms.is_masked(given):
        raise InvalidInput(
            "masked-number",
            "The provider has masked this number, so it belongs to many people.",
            "Use --call with each call's id; `calls list` shows them.",
        )
    return Subject("caller", given)


def find(connection: Connection, subject: Subject) -> SubjectRows:
    """The rows about a subject, and those that an unfinished erasure found. Refuses the company's own numbers."""
    if subject.kind == "caller":
        own = sa.select(company_numbers.c.id).where(company_numbers.c.pseudonym == subject.identity)
        if connection.execute(own).first():
            raise PermanentError(
                "company-number",
                "This is one of the company's own numbers: all its calls would be erased.",
                "Name the caller, or erase single calls with --call.",
            )
        mine = sa.or_(calls.c.from_pseudonym == subject.identity, calls.c.to_pseudonym == subject.identity)
    else:
        mine = calls.c.call_sid.in_((subject.identity, subject.hidden or subject.identity))
    before = sa.select(erasures.c.report).where(erasures.c.pseudonym == subject.name, erasures.c.state == "running")
    begun = {int(i) for report in connection.execute(before).scalars() for i in (report or {}).get("calls", ())}
    theirs = connection.execute(sa.select(calls).where(mine).order_by(calls.c.id)).all()
    ids = sorted({int(call.id) for call in theirs} | begun)
    theirs = _rows(connection, calls, calls.c.id, ids)
    audio = {row.id: row for row in _rows(connection, recordings, recordings.c.call_id, ids)}
    audio |= {row.id: row for row in _rows(connection, recordings, recordings.c.call_sid, [c.call_sid for c in theirs])}
    if subject.kind == "call":
        audio |= {row.id: row for row in _rows(connection, recordings, recordings.c.call_sid, [subject.identity])}
    made = {row.id: row for row in _rows(connection, tasks, tasks.c.recording_id, sorted(audio))}
    for column, values in ((utterances.c.recording_id, sorted(audio)), (utterances.c.call_id, ids)):
        said = {row.task_id for row in _rows(connection, utterances, column, values) if row.task_id is not None}
        made |= {row.id: row for row in _rows(connection, tasks, tasks.c.id, sorted(said))}
    return SubjectRows(theirs, [audio[row_id] for row_id in sorted(audio)], [made[row_id] for row_id in sorted(made)])


def refuse_held(connection: Connection, subject: Subject, found: SubjectRows) -> None:
    """PermanentError `legal-hold` that names every hold in the way."""
    person = subject.identity if subject.kind == "caller" else None
    held = tombstones.holds_on(connection, list(found.calls), person)
    if subject.kind == "call" and not found.calls:
        held += tombstones.holds_on(connection, [_Named(subject.identity)])
    if held:
        named = "; ".join(f"{what} ({why})" for what, why in held[:10])
        raise PermanentError(
            "legal-hold",
            f"A legal hold forbids it: {named}.",
            "When the hold may end, run `python -m ml_backend calls release`.",
        )


@dataclass(frozen=True)
class _Named:
    """A call of which only the id is known."""

    call_sid: str
    from_pseudonym: str | None = None
    to_pseudonym: str | None = None


def _rows(connection: Connection, table: sa.Table, column: sa.Column[Any], values: Sequence[Any]) -> list[Any]:
    """All rows whose column has one of many values, queried in pieces that a database accepts."""
    found: list[Any] = []
    for at in range(0, len(values), 500):
        some = sa.select(table).where(column.in_(list(values[at : at + 500])))
        found += connection.execute(some.order_by(table.c.id)).all()
    return found
