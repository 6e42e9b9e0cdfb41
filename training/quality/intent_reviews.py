"""Annotations of texts -> what `annotations summary` says of them: agreement, drafts, gold, people, unread drafts.

The measures are those of transcripts where they make sense. An answer is a set of marks (`samples.mark_changes`), so a
share of changed words becomes a share of changed marks, and agreement is that of intents and of entity spans. Time says
nothing: a sentence is read at a glance. Ids and counts only, no text.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.labelling.utterance_marks import NONE_OF_THESE, UNUSABLE, MarkedUtterance, said_of, to_utterance
from ml_backend.tables import tasks
from training.quality import draft_quality, intent_agreement, stamping
from training.quality import reviews as review_rows
from training.quality.figures import share
from training.quality.intent_agreement import MarkedBy
from training.quality.reviews import Review, Scope

LEAST_GOLD = 5  # answers needed for a share of right ones


@dataclass(frozen=True)
class IntentReview:
    """One person's answer; `known` is the answer of its gold task."""

    review: Review
    marked: MarkedUtterance
    known: MarkedUtterance | None = None

    @property
    def answer(self) -> MarkedBy:
        return MarkedBy(
            self.review.task_id or 0, self.review.annotator or 0, intent_of(self.marked), self.marked.entities
        )

    @property
    def right(self) -> bool:
        """The intent and every entity as known; language and remarks do not count."""
        return self.known is not None and _meaning(self.marked) == _meaning(self.known)


def intent_of(marked: MarkedUtterance) -> str | None:
    """The intent, with a name for what is out of scope; None where the utterance is called unusable."""
    if marked.verdict == UNUSABLE:
        return None
    return NONE_OF_THESE if marked.out_of_scope else marked.intent


def read(connection: Connection, scope: Scope) -> list[IntentReview]:
    """Each person's newest answer over a text, in the order of their ids."""
    plain = {one.id: one for one in review_rows.reviews(connection, replace(scope, of_texts=True))}
    if not plain:
        return []
    each = tables.annotations.c
    statement = (
        sa.select(each.id, each.result, tasks.c.data_value, tasks.c.gold_text)
        .outerjoin(tasks, tasks.c.id == each.task_id)
        .where(each.project_id.in_(sorted({one.project_id for one in plain.values()})), tables.newest_version())
        .order_by(each.id)
    )
    rows = [row for row in connection.execute(statement) if row.id in plain]
    marked = {row.id: to_utterance(row.result, row.data_value or "") for row in rows}
    truth = {plain[row.id].task_id: marked[row.id] for row in rows if plain[row.id].ground_truth}
    found = []
    for row in rows:
        one = plain[row.id]
        known = of_gold(row.gold_text) or truth.get(one.task_id)
        gold, text = _words(known) if known else None, _words(marked[row.id])
        reject = (UNUSABLE,) if marked[row.id].verdict == UNUSABLE else ()
        found.append(IntentReview(replace(one, gold=gold, text=text, reject=reject), marked[row.id], known))
    return found


def of_gold(stored: str | None) -> MarkedUtterance | None:
    """The known answer of a gold task over a text, as `gold_tasks` stores it."""
    try:
        known = json.loads(stored or "")
        return MarkedUtterance(intent=known["intent"], entities=tuple(known["entities"]))
    except (ValueError, TypeError, KeyError):
        return None


def report(connection: Connection, scope: Scope) -> tuple[dict[str, Any], Mapping[int, str]]:
    """(the section of the summary, stamped annotations with the reason)."""
    found = read(connection, scope)
    plain = [each.review for each in found]
    findings = stamping.find(plain, review_rows.pairs(connection, plain))
    answered = [each for each in found if each.review.answered]
    body = {
        "annotations": {
            "all": len(found),
            "answered": len(answered),
            "drafted": sum(each.review.drafted for each in answered),
            "blind": sum(each.review.blind for each in answered),
            "people": len({each.review.annotator for each in found}),
            "tasks": len({each.review.task_id for each in found}),
        },
        "agreement": {
            "all": _agreement(answered),
            "blind": _agreement([each for each in answered if each.review.blind]),
            "drafted": _agreement([each for each in answered if each.review.drafted]),
        },
        "drafts": draft_quality.by_version(plain, findings.people),
        "gold": gold_of(answered),
        "people": _people(found, findings),
        "stamping": findings.to_dict(plain),
    }
    return body, findings.annotations


def gold_of(found: Sequence[IntentReview]) -> dict[str, Any]:
    """How many answers to tasks with a known one are right."""
    asked = [each for each in found if each.known is not None and not each.review.ground_truth]
    return {
        "tasks": len({each.review.task_id for each in asked}),
        "answers": len(asked),
        "right": share(sum(each.right for each in asked), len(asked), least=LEAST_GOLD),
    }


def _agreement(found: Sequence[IntentReview]) -> dict[str, Any]:
    return intent_agreement.measure(each.answer for each in found if each.review.annotator is not None)


def _people(found: Sequence[IntentReview], findings: stamping.Findings) -> list[dict[str, Any]]:
    """One row per person, the most answers first."""
    mine: dict[int | None, list[IntentReview]] = defaultdict(list)
    for each in found:
        mine[each.review.annotator].append(each)
    rows = []
    for who in sorted(mine, key=lambda one: (-len(mine[one]), one or 0)):
        theirs = mine[who]
        drafted = [each.review for each in theirs if each.review.drafted and each.review.answered]
        rows.append({
            "annotator": who,
            "annotations": len(theirs),
            "drafted": len(drafted),
            "blind": sum(each.review.blind for each in theirs),
            "accepted_unchanged": share(sum(one.unchanged for one in drafted), len(drafted)),
            "gold": gold_of(theirs),
            "unusable": sum(bool(each.review.reject) for each in theirs),
            "stamped": sum(each.review.id in findings.annotations for each in theirs),
            "signs": [sign.name for sign in findings.people.get(who or 0, ())],
        })  # fmt: skip
    return rows


def _meaning(marked: MarkedUtterance) -> frozenset[tuple[Any, ...]]:
    return said_of(MarkedUtterance(intent=intent_of(marked), entities=marked.entities))


def _words(marked: MarkedUtterance) -> str:
    """An answer as one line, which is equal where the meaning is."""
    return " ".join(sorted(":".join(map(str, each)) for each in _meaning(marked)))
