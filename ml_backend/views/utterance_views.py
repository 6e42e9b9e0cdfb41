"""Utterances for commands and /api: a list, and their counts. Reads only."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend.db import Database
from ml_backend.errors import InvalidInput
from ml_backend.tables import utterances
from ml_backend.views.call_views import text_of
from ml_backend.views.queries import PagedQuery, one_of

STATES = ("waiting", "accepted", "excluded")
SOURCES = ("human", "auto", "call", "correction")
_State = Annotated[
    str,
    one_of(STATES, InvalidInput("bad-utterance-state", "There is no such state.", f"Known: {', '.join(STATES)}.")),
]
_Source = Annotated[
    str,
    one_of(SOURCES, InvalidInput("bad-utterance-source", "There is no such source.", f"Known: {', '.join(SOURCES)}.")),
]
MOST_INTENTS = 500  # further ones are counted, and not listed


class UtteranceQuery(PagedQuery):
    """Which utterances; `before` is a row of ours."""

    state: Annotated[_State | None, Field(description=f"Only in this state: {', '.join(STATES)}.")] = None
    source: Annotated[_Source | None, Field(description=f"Only from this source: {', '.join(SOURCES)}.")] = None
    language: Annotated[str | None, Field(description="Only in this language, e.g. hi.")] = None
    intent: Annotated[str | None, Field(description="Only with this intent.")] = None
    family: Annotated[str | None, Field(description="Only rewordings of one sentence, by the family's name.")] = None
    reason: Annotated[str | None, Field(description="Only those left out for this reason code.")] = None


def find(database: Database, query: UtteranceQuery) -> list[dict[str, Any]]:
    """Utterances, the latest row first."""
    column = utterances.c
    wanted = (
        (column.state, query.state), (column.source, query.source), (column.language, query.language),
        (column.intent, query.intent), (column.family, query.family), (column.reason_code, query.reason),
    )  # fmt: skip
    statement = sa.select(utterances).order_by(column.id.desc()).limit(query.limit)
    for each, value in wanted:
        statement = statement if value is None else statement.where(each == value)
    if query.before:
        statement = statement.where(column.id < query.before)
    return [to_dict(row) for row in database.rows(statement)]


def to_dict(row: Any) -> dict[str, Any]:
    """One utterance as programs get it."""
    return {
        "row": row.id, "origin": row.origin, "id": row.external_id, "source": row.source, "text": row.text,
        "intent": row.intent, "entities": row.entities, "language": row.language, "script": row.script,
        "family": row.family, "checked": row.checked, "state": row.state, "reason_code": row.reason_code,
        "reason": row.reason, "confidence": row.confidence, "model_version": row.model_version,
        "accepted_at": text_of(row.accepted_at),
    }  # fmt: skip


def summary(database: Database) -> dict[str, Any]:
    """Counts by state and reason of all rows; by source, language, intent and family of those in use."""
    column = utterances.c
    used = column.state == "accepted"
    with database.reading() as connection:

        def counts(by: Any, which: Any) -> dict[str, int]:
            statement = sa.select(by, sa.func.count()).where(which).group_by(by)
            found = [(str(name or "unknown"), int(number)) for name, number in connection.execute(statement)]
            return dict(sorted(found, key=lambda each: (-each[1], each[0])))

        intents = counts(column.intent, used)
        checked = counts(column.intent, sa.and_(used, column.checked.is_(True)))
        wordings = sa.select(column.intent, sa.func.count(sa.distinct(column.family))).where(used)
        families = {str(name): int(number) for name, number in connection.execute(wordings.group_by(column.intent))}
        sizes = sa.select(sa.func.count().label("size")).where(used).group_by(column.family).subquery()
        number, largest = connection.execute(
            sa.select(sa.func.count(), sa.func.max(sizes.c.size)).select_from(sizes)
        ).one()
        return {
            "states": counts(column.state, sa.true()),
            "left_out": counts(column.reason_code, column.state == "excluded"),
            "checked": sum(checked.values()),
            "sources": counts(column.source, used),
            "languages": counts(column.language, used),
            "scripts": counts(column.script, used),
            "families": {"families": int(number), "largest": int(largest or 0)},
            "intents": [
                {"intent": name, "rows": rows, "checked": checked.get(name, 0), "families": families.get(name, 0)}
                for name, rows in list(intents.items())[:MOST_INTENTS]
            ],
            "more_intents": max(0, len(intents) - MOST_INTENTS),
        }
