"""Hotwords as rows: suggestions, people's decisions, and the list that a project decodes with.

Decoding reads `projects.learnt`. It is rewritten from the approved rows in the same transaction as the decision, so
that the next transcription and the re-drafting of open tasks use the same list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.asr.corrections import fold
from ml_backend.errors import InvalidInput
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import hotwords, projects
from training.hotwords.collecting import Candidate, ConfusedForm
from training.text.writing import strict

SUGGESTED, CHECKING, APPROVED, REFUSED, REMOVED = "suggested", "checking", "approved", "refused", "removed"
STATES = (SUGGESTED, CHECKING, APPROVED, REFUSED, REMOVED)
PROMPT, CORRECTION, BOTH = "prompt", "correction", "both"
MOST_CHARS = 120


def suggest(connection: Connection, project_id: int, candidates: Sequence[Candidate]) -> list[int]:
    """Update the list; gives the ids of approved words whose safe forms changed, which need a new check."""
    found = {(one.language, one.word): one for one in candidates if len(one.word) <= MOST_CHARS}
    mine = sa.select(hotwords).where(hotwords.c.project_id == project_id)
    changed = []
    for row in connection.execute(mine).all():
        candidate = found.pop((row.language, row.word), None)
        if candidate is None:
            if row.state == SUGGESTED:
                connection.execute(sa.delete(hotwords).where(hotwords.c.id == row.id))
            continue
        heard = [asdict(form) for form in candidate.forms]
        if heard != row.heard or candidate.seen != row.seen:
            db.update(connection, hotwords, row.id, heard=heard, seen=candidate.seen)
        if row.state == APPROVED and set(sure_forms(heard)) - set((row.check or {}).get("forms", ())):
            changed.append(int(row.id))
    for (language, word), candidate in found.items():
        values = {"heard": [asdict(form) for form in candidate.forms], "seen": candidate.seen}
        key = {"project_id": project_id, "language": language, "word": word}
        db.insert_once(connection, hotwords, {**key, **values}, key=tuple(key))
    return changed


def sure_forms(heard: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The forms that may be corrected automatically."""
    return tuple(one["form"] for one in heard if ConfusedForm(one["form"], one["times"], one["said"]).sure)


def find(connection: Connection, name: str, *, project_id: int | None, language: str | None) -> sa.Row[Any]:
    """The row a person means by its id or its word; InvalidInput when there is none, or more than one."""
    statement = sa.select(hotwords).order_by(hotwords.c.id)
    if name.isascii() and name.isdigit():
        statement = statement.where(hotwords.c.id == int(name[:18]))
    else:
        statement = statement.where(hotwords.c.word == strict(name))
    if project_id is not None:
        statement = statement.where(hotwords.c.project_id == project_id)
    if language is not None:
        statement = statement.where(hotwords.c.language == language)
    rows = connection.execute(statement.limit(20)).all()
    if len(rows) == 1:
        return rows[0]
    if not rows:
        raise InvalidInput(
            "no-such-hotword",
            f"{name[:80]!r} is not on the list.",
            "See `python -m ml_backend hotwords list`; `approve` takes a new word with --project and --language.",
            status=404,
        )
    which = ", ".join(f"{row.id} (project {row.project_id}, {row.language})" for row in rows)
    raise InvalidInput("ambiguous-hotword", f"{name[:80]!r} is there more than once.", f"Name its id: {which}.")


def add(connection: Connection, word: str, *, project_id: int, language: str) -> sa.Row[Any]:
    """Add a word that was never corrected yet."""
    word = strict(word)
    if not fold(word) or len(word) > MOST_CHARS or "," in word:
        raise InvalidInput("bad-hotword", "That is no word.", f"Give one of at most {MOST_CHARS} characters.")
    if connection.execute(sa.select(projects.c.id).where(projects.c.id == project_id)).first() is None:
        raise InvalidInput(
            "no-such-project", f"There is no project {project_id} here.", "See `hotwords list`.", status=404
        )
    key = {"project_id": project_id, "language": language[:10], "word": word}
    row_id, _ = db.insert_once(connection, hotwords, key, key=tuple(key))
    return connection.execute(sa.select(hotwords).where(hotwords.c.id == row_id)).one()


def approve(connection: Connection, row: sa.Row[Any], *, who: str) -> int:
    """Enqueue the check that decides about the word; a word in use stays in use until then. Gives the job's id."""
    state = APPROVED if row.state == APPROVED else CHECKING
    db.update(connection, hotwords, row.id, state=state, who=who, reason_code=None, reason=None)
    return enqueueing.enqueue(
        connection, job_kinds.CHECK_HOTWORD, key=str(row.id), priority=job_kinds.WAITED_FOR, hotword_id=int(row.id)
    )


def remove(connection: Connection, row: sa.Row[Any], *, who: str) -> None:
    """Remove a word from decoding, or from the list permanently; open tasks are drafted again."""
    db.update(connection, hotwords, row.id, state=REMOVED, who=who, reason_code=None, reason=None)
    apply(connection, row.project_id)


def decide(connection: Connection, row: sa.Row[Any], *, state: str, **values: Any) -> bool:
    """Store a check's decision; False if a person decided otherwise meanwhile."""
    mine = sa.and_(hotwords.c.id == row.id, hotwords.c.state == row.state)
    moved = sa.update(hotwords).where(mine).values(state=state, updated_at=tables.now(), **values)
    if not connection.execute(moved).rowcount:
        return False
    apply(connection, row.project_id)
    return True


def apply(connection: Connection, project_id: int) -> bool:
    """Write the project's decoding list; if it changed, open tasks are drafted again. Gives whether it changed."""
    locked = sa.select(projects.c.learnt).where(projects.c.id == project_id).with_for_update()
    before = connection.execute(locked).scalar()  # of two decisions at once the second sees the first one's word
    approved = sa.select(hotwords).where(hotwords.c.project_id == project_id, hotwords.c.state == APPROVED)
    words, corrections = [], []
    for row in connection.execute(approved.order_by(hotwords.c.language, hotwords.c.word)).all():
        way, forms = (row.check or {}).get("way"), (row.check or {}).get("forms", ())
        if way in (PROMPT, BOTH):
            words.append([row.language, row.word])
        if way in (CORRECTION, BOTH):
            corrections += [[row.language, form, row.word] for form in sorted(forms)]
    learnt = {"words": words, "corrections": corrections} if words or corrections else None
    if (before or None) == learnt:
        return False
    changed = {"learnt": learnt, "revision": projects.c.revision + 1, "updated_at": tables.now()}
    connection.execute(sa.update(projects).where(projects.c.id == project_id).values(**changed))
    enqueueing.enqueue(
        connection, job_kinds.REDRAFT_PROJECT, key=str(project_id), priority=job_kinds.WAITED_FOR, project_id=project_id
    )
    return True
