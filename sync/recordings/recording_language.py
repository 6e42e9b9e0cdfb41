"""Recording -> the language spoken in it, and who says so.

    confirmed   an annotator chose it; of several the one chosen most often, the latest in a tie
    asked       an annotator had the recording drafted again in it (`sync.annotations.redraft_requests`)
    given       a person set it: for the company number (`calls numbers set --language`), for the project that the
                recording is decoded for, or by the folder that the audio lies in
    detected    the first version that transcribed it, when no language was given

The row is derived from these, in this order, whenever one of them changes; routing rules, aliases and experiments read
the row. `language_by` is null before the first detection, so that a rule on language waits instead of refusing the
call. The first detection is kept: a later version with another guess would move the call to another project or model,
and the next version might move it back.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.languages import transcribed_as
from ml_backend.tables import annotations as written
from ml_backend.tables import calls, company_numbers, projects, recordings, tasks, transcriptions

CONFIRMED, ASKED, GIVEN, DETECTED = "confirmed", "asked", "given", "detected"
MAX_CHARS = 10
TOGETHER = 50  # rows in one transaction


def settle(connection: Connection, recording_id: int) -> sa.Row[Any]:
    """Derive a recording's language again and store it; gives the updated row. Safe to repeat."""
    row = connection.execute(sa.select(recordings).where(recordings.c.id == recording_id)).one()
    asked = (str(row.language_asked), ASKED) if row.language_asked else None
    language, by = (
        _confirmed(connection, row) or asked or _given(connection, row) or _detected(connection, row) or (None, None)
    )
    if by is None and row.language_by == GIVEN:  # given by the folder that holds the audio
        return row
    if (language, by) == (row.language, row.language_by):
        return row
    db.update(connection, recordings, recording_id, language=language, language_by=by)
    return connection.execute(sa.select(recordings).where(recordings.c.id == recording_id)).one()


def known(connection: Connection, recording: Any) -> tuple[str | None, bool]:
    """(language, whether it was determined). Before the first transcription it is determined only if it was given."""
    if recording.language_by is not None:
        return recording.language, True
    given = of_number(connection, recording)
    return given, given is not None


def of_number(connection: Connection, recording: Any) -> str | None:
    """The language that is set for a recording's company number, or None."""
    if recording.call_id is None:
        return None
    mine = (
        sa.select(company_numbers.c.language)
        .join(calls, calls.c.company_number == company_numbers.c.pseudonym)
        .where(calls.c.id == recording.call_id)
    )
    found = connection.execute(mine).scalar()
    return None if found is None else str(found)


def set_of_number(context: Context, pseudonym: str, language: str | None) -> None:
    """Set the language of a company number's calls (None: detect it); updates recordings and open drafts."""
    with context.db.transaction() as connection:
        row_id, _ = db.insert_once(connection, company_numbers, {"pseudonym": pseudonym}, key=("pseudonym",))
        db.update(connection, company_numbers, row_id, language=language)
    mine = sa.select(recordings.c.id).join(calls, calls.c.id == recordings.c.call_id)
    mine = mine.where(calls.c.company_number == pseudonym).order_by(recordings.c.id).limit(TOGETHER)
    last = 0
    while ids := [row.id for row in context.db.rows(mine.where(recordings.c.id > last))]:
        last = ids[-1]
        with context.db.transaction() as connection:
            for recording_id in ids:
                settle(connection, recording_id)
    with context.db.transaction() as connection:
        attached = sa.select(projects.c.id).where(projects.c.state == "attached")
        for project_id in connection.execute(attached).scalars().all():
            enqueueing.enqueue(connection, job_kinds.REDRAFT_PROJECT, key=str(project_id), project_id=project_id)


def spoken(language: str | None) -> str | None:
    """The language code for the model: Hinglish is transcribed as Hindi."""
    return transcribed_as(language) if language else None


def _confirmed(connection: Connection, row: sa.Row[Any]) -> tuple[str, str] | None:
    chosen = (
        sa.select(written.c.language)
        .join(tasks, tasks.c.id == written.c.task_id)
        .where(tasks.c.recording_id == row.id, written.c.language.is_not(None))
        .where(~written.c.skipped, tables.newest_version())
        .order_by(written.c.ls_updated_at.desc(), written.c.id.desc())
    )
    votes = Counter(connection.execute(chosen).scalars())  # insertion order breaks ties: the latest wins
    return (str(votes.most_common(1)[0][0])[:MAX_CHARS], CONFIRMED) if votes else None


def _given(connection: Connection, row: sa.Row[Any]) -> tuple[str, str] | None:
    number = of_number(connection, row)
    if number is not None:
        return number, GIVEN
    given = (one["decoding"].get("language") for one in reversed(_transcriptions(connection, row)))
    language = next(filter(None, given), None)
    return (str(language)[:MAX_CHARS], GIVEN) if language else None


def _detected(connection: Connection, row: sa.Row[Any]) -> tuple[str | None, str] | None:
    """(None, detected) if nothing was said, so that no rule waits for a detection again."""
    transcribed = _transcriptions(connection, row)
    if not transcribed:
        return None
    language = next((one["language"] for one in transcribed if one["language"]), None)
    return str(language)[:MAX_CHARS] if language else None, DETECTED


def _transcriptions(connection: Connection, row: sa.Row[Any]) -> list[dict[str, Any]]:
    columns = (transcriptions.c.decoding, transcriptions.c.language)
    mine = sa.select(*columns).where(transcriptions.c.audio_sha256 == row.sha256).order_by(transcriptions.c.id)
    return [{"decoding": one.decoding or {}, "language": one.language} for one in connection.execute(mine)]
