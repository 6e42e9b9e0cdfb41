"""Annotations of a task over an utterance -> one row in `utterances` that people checked, or none.

The corrected row stands beside the one it came from, which its source may still change. Of several people the intent
that most of them chose counts, and of those people the latest answer, with its entities. An answer that calls the
utterance unusable, and a skipped one, teaches nothing; where nothing is left, the row goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.labelling.utterance_marks import (
    CORRECTION,
    NONE_OF_THESE,
    UNUSABLE,
    MarkedUtterance,
    digest,
    to_utterance,
)
from ml_backend.languages import code_of
from ml_backend.tables import utterances
from training.samples.language_policy import script
from training.text.language_of_text import language_of

ORIGIN = "label-studio"
_DONE = {
    "corrected": "A person said what it means: the correction is a row of its own.",
    "unusable": "A person called it unusable.",
}  # why an utterance waits no more


def corrected(connection: Connection, task: Any, found: Sequence[Any]) -> bool:
    """Whether a task is over an utterance; then its correction is stored, renewed or removed. Safe to repeat."""
    mine = sa.and_(utterances.c.task_id == task.id, utterances.c.source != CORRECTION)
    asked = connection.execute(sa.select(utterances).where(mine).order_by(utterances.c.id).limit(1)).first()
    if asked is None:
        return False
    text = _shown(task, asked.text)
    answer = _answer(found, text) if task.gold_text is None else None
    here = sa.and_(utterances.c.origin == ORIGIN, utterances.c.external_id == task.external_key)
    before = connection.execute(sa.select(utterances).where(here)).first()
    _close(connection, asked, "corrected" if answer else "unusable" if _unusable(found, text) else None)
    if answer is None:
        connection.execute(sa.delete(utterances).where(here))
        return True
    row, marked, intent = answer
    language = code_of(marked.language) if marked.language else asked.language or language_of(text)
    values = {
        "source": CORRECTION, "text": text, "intent": intent, "entities": list(marked.entities),
        "language": language, "script": script(text), "family": asked.family, "checked": True,
        "call_id": asked.call_id, "recording_id": asked.recording_id,
        "caller": asked.caller, "task_id": task.id, "annotation_id": row.id,
        "model_version": row.model_version, "digest": digest(text, intent, marked.entities, language),
        "state": "accepted",
    }  # fmt: skip
    if before is None or before.digest != values["digest"] or before.state != "accepted":
        values["accepted_at"] = tables.now()
    key = {"origin": ORIGIN, "external_id": task.external_key}
    db.upsert(connection, utterances, {**key, **values, "updated_at": tables.now()}, key=tuple(key))
    return True


def _close(connection: Connection, asked: Any, code: str | None) -> None:
    """Say why an utterance that only waits for people waits no more; or that it does."""
    values = {"state": "excluded" if code else "waiting", "reason_code": code, "reason": _DONE[code] if code else None}
    if asked.reason_code != code and (asked.state == "waiting" or asked.reason_code in _DONE):
        db.update(connection, utterances, asked.id, **values)


def _unusable(found: Sequence[Any], text: str) -> bool:
    return any(not row.skipped and to_utterance(row.result, text).verdict == UNUSABLE for row in found)


def _shown(task: Any, text: str) -> str:
    """The text that people marked. The source, or a person in Label Studio, may have changed it since it was asked."""
    stored = task.data_value  # cut where it is very long
    return str(stored) if stored and not text.startswith(stored) else text


def _answer(found: Sequence[Any], text: str) -> tuple[Any, MarkedUtterance, str] | None:
    """(annotation, what it says, intent) of the answer that counts; the ground truth overrules all others."""
    latest: dict[Any, Any] = {}
    for row in sorted(found, key=lambda each: (each.ls_updated_at, each.ls_annotation_id)):
        if not row.skipped:
            latest[row.annotator] = row
    rows = sorted(latest.values(), key=lambda each: (each.ls_updated_at, each.ls_annotation_id))
    rows = [row for row in rows if row.ground_truth] or rows
    said = [(row, to_utterance(row.result, text)) for row in rows]
    votes = Counter(_intent(marked) for _, marked in said)
    if not votes:
        return None
    newest = {_intent(marked): row for row, marked in said}
    best = max(votes, key=lambda name: (votes[name], newest[name].ls_updated_at, newest[name].ls_annotation_id))
    if best is None:
        return None
    return next((row, marked, best) for row, marked in reversed(said) if _intent(marked) == best)


def _intent(marked: MarkedUtterance) -> str | None:
    if marked.verdict == UNUSABLE:
        return None
    return NONE_OF_THESE if marked.out_of_scope else marked.intent
