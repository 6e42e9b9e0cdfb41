"""Gold tasks: tasks with a known answer, to measure annotators.

The answer is the task's `gold_text`, planted by a person, else the text of an annotation marked as ground truth in
Label Studio (whose author is not measured by it). Annotators cannot distinguish these tasks from others. A draft with
mistakes also tests whether they read it. Planted tasks are not used for training.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.errors import InvalidInput
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig
from ml_backend.labelling.utterance_marks import INTENT, NONE_OF_THESE, to_utterance
from ml_backend.tables import projects, tasks
from training.quality import intent_reviews
from training.quality.figures import LEAST_WORDS, rate, share
from training.quality.intent_reviews import IntentReview
from training.quality.reviews import Review
from training.scoring.error_counts import ErrorCounts, count
from training.text import readings

LEAST = 5  # answers needed for a share of right ones
RIGHT = 0.1  # of the words may differ in an answer that counts as right


def answers(reviews: Sequence[Review]) -> list[Review]:
    """The reviews that answer gold tasks."""
    return [each for each in reviews if each.gold is not None and each.answered and not each.ground_truth]


def errors(review: Review) -> ErrorCounts:
    """Edits between the known answer and the given one, in words without case and punctuation."""
    return count(review.gold or "", review.text or "", normaliser=readings.INDIC, language=review.language)


def measure(reviews: Sequence[Review], *, least_words: int = LEAST_WORDS) -> dict[str, Any]:
    """Errors per word against the known answers, and the share of answers with at most one word in ten wrong."""
    found = [errors(each) for each in answers(reviews)]
    total = sum(found, ErrorCounts())
    return {
        "tasks": len({each.task_id for each in answers(reviews)}),
        "answers": len(found),
        "wer": rate(total.word_edits.total, total.words, least=least_words),
        "cer": rate(total.char_edits, total.chars, least=5 * least_words),
        "right": share(sum(map(_right, found)), len(found), least=LEAST),
    }


def tasks_of(
    connection: Connection, reviews: Sequence[Review], intents: Sequence[IntentReview] = (), *, limit: int = 200
) -> list[dict[str, Any]]:
    """Planted gold tasks, newest first, with their answers: those over calls, and with `intents` those over texts."""
    right: dict[int | None, list[bool]] = defaultdict(list)
    for review in answers(reviews):
        right[review.task_id].append(_right(errors(review)))
    for each in intents:
        if each.known is not None and each.review.answered and not each.review.ground_truth:
            right[each.review.task_id].append(each.right)
    found = (
        sa.select(tasks.c.id, tasks.c.ls_task_id, tasks.c.gold_text, tasks.c.overlap, tasks.c.state, projects.c.title)
        .join(projects, projects.c.id == tasks.c.project_id)
        .where(tasks.c.gold_text.is_not(None))
        .order_by(tasks.c.id.desc())
        .limit(limit)
    )
    return [
        {"id": row.id, "ls_task_id": row.ls_task_id, "project": row.title, "text": shown(row.gold_text)}
        | {"state": row.state, "people": row.overlap, "answers": len(right[row.id]), "right": sum(right[row.id])}
        for row in connection.execute(found)
    ]


def plant(connection: Connection, task_id: int, text: str, *, people: int | None = None) -> sa.Row[Any]:
    """Make a task a gold task for `people` annotators; returns the task's new row."""
    text = " ".join(text.split())
    if not text:
        raise InvalidInput("no-gold-text", "A known answer has words.", "Give --text, or --annotation with a text.")
    values: dict[str, Any] = {"gold_text": text}
    row = connection.execute(sa.select(tasks).where(tasks.c.id == task_id)).one()
    if people is not None and people > row.overlap:
        values["overlap"] = people
        enqueueing.enqueue(connection, job_kinds.SHARE_TASK, key=str(task_id), task_id=task_id)
    db.update(connection, tasks, task_id, **values)
    enqueueing.enqueue(connection, job_kinds.SAMPLE_TASK, key=str(task_id), task_id=task_id)
    return connection.execute(sa.select(tasks).where(tasks.c.id == task_id)).one()


def shown(stored: str) -> str:
    """A known answer as people read it."""
    known = intent_reviews.of_gold(stored)
    if known is None:
        return stored
    return ", ".join([str(known.intent), *(f"{each['entity']}: {each['value']}" for each in known.entities)])


def known_answer(
    connection: Connection,
    task_id: int,
    *,
    text: str | None = None,
    intent: str | None = None,
    ls_annotation_id: int | None = None,
) -> str:
    """The answer to plant, given in one of three ways: a text for a call, an intent for a text, or an annotation."""
    row = connection.execute(
        sa.select(tasks.c.data_value, projects.c.label_config)
        .join(projects, projects.c.id == tasks.c.project_id)
        .where(tasks.c.id == task_id)
    ).one()
    controls = labelconfig.parse(row.label_config)
    if not controls.parses:
        if intent is not None:
            raise InvalidInput("gold-kind", "The task is over a call, which has no intent.", "Give --text.")
        return text if text is not None else text_of(connection, ls_annotation_id or 0, task_id)
    if text is not None:
        raise InvalidInput("gold-kind", "The task asks what a text means.", "Give --intent, or --annotation.")
    if intent is None:
        marked = to_utterance(_result_of(connection, ls_annotation_id or 0, task_id), row.data_value or "")
        return json.dumps(
            {"intent": intent_reviews.intent_of(marked), "entities": list(marked.entities)}, ensure_ascii=False
        )
    offered = [*controls.other_choices[INTENT].options, NONE_OF_THESE]
    if intent not in offered:
        raise InvalidInput(
            "no-such-intent", f"The project has no intent {intent[:60]!r}.", f"It has: {', '.join(offered[:30])}."
        )
    return json.dumps({"intent": intent, "entities": []})


def remove(connection: Connection, task_id: int) -> None:
    """Make it an ordinary task again; its answers stay."""
    db.update(connection, tasks, task_id, gold_text=None)
    enqueueing.enqueue(connection, job_kinds.SAMPLE_TASK, key=str(task_id), task_id=task_id)


def text_of(connection: Connection, ls_annotation_id: int, task_id: int) -> str:
    return str(_of_annotation(connection, tables.annotations.c.text, ls_annotation_id, task_id))


def _result_of(connection: Connection, ls_annotation_id: int, task_id: int) -> Any:
    return _of_annotation(connection, tables.annotations.c.result, ls_annotation_id, task_id)


def _of_annotation(connection: Connection, column: sa.Column[Any], ls_annotation_id: int, task_id: int) -> Any:
    each = tables.annotations.c
    mine = sa.and_(each.ls_annotation_id == ls_annotation_id, each.task_id == task_id, tables.newest_version())
    found = connection.execute(sa.select(column).where(mine)).scalar()
    if not found:
        raise InvalidInput(
            "no-such-annotation",
            f"Annotation {ls_annotation_id} is none of this task, or is empty.",
            "List them with `python -m ml_backend annotations list`.",
            status=404,
        )
    return found


def task_of(connection: Connection, ls_task_id: int, ls_project_id: int | None = None) -> int:
    """Our row of a Label Studio task; InvalidInput when there is none, or one in several projects."""
    found = (
        sa.select(tasks.c.id, projects.c.ls_project_id)
        .join(projects, projects.c.id == tasks.c.project_id)
        .where(tasks.c.ls_task_id == ls_task_id, tasks.c.state != "deleted")
    )
    if ls_project_id is not None:
        found = found.where(projects.c.ls_project_id == ls_project_id)
    rows = connection.execute(found).all()
    if len(rows) == 1:
        return int(rows[0].id)
    if rows:
        known = ", ".join(str(row.ls_project_id) for row in rows)
        raise InvalidInput("which-project", f"Several projects have a task {ls_task_id}: {known}.", "Add --project.")
    raise InvalidInput(
        "no-such-task", f"There is no task {ls_task_id}.", "Its number is in its address in Label Studio.", status=404
    )


def _right(counts: ErrorCounts) -> bool:
    return counts.word_edits.total <= RIGHT * counts.words
