"""Gold tasks: tasks with a known answer, to measure annotators.

The answer is the task's `gold_text`, planted by a person, else the text of an annotation marked as ground truth in
Label Studio (whose author is not measured by it). Annotators cannot distinguish these tasks from others. A draft with
mistakes also tests whether they read it. Planted tasks are not used for training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.errors import InvalidInput
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import projects, tasks
from training.quality.figures import LEAST_WORDS, rate, share
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


def tasks_of(connection: Connection, reviews: Sequence[Review], *, limit: int = 200) -> list[dict[str, Any]]:
    """Planted gold tasks, newest first, with their answers."""
    answered: dict[int | None, list[Review]] = defaultdict(list)
    for review in answers(reviews):
        answered[review.task_id].append(review)
    found = (
        sa.select(tasks.c.id, tasks.c.ls_task_id, tasks.c.gold_text, tasks.c.overlap, tasks.c.state, projects.c.title)
        .join(projects, projects.c.id == tasks.c.project_id)
        .where(tasks.c.gold_text.is_not(None))
        .order_by(tasks.c.id.desc())
        .limit(limit)
    )
    return [
        {"id": row.id, "ls_task_id": row.ls_task_id, "project": row.title, "text": row.gold_text, "state": row.state}
        | {"people": row.overlap, "answers": len(answered[row.id])}
        | {"right": sum(_right(errors(each)) for each in answered[row.id])}
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


def remove(connection: Connection, task_id: int) -> None:
    """Make it an ordinary task again; its answers stay."""
    db.update(connection, tasks, task_id, gold_text=None)
    enqueueing.enqueue(connection, job_kinds.SAMPLE_TASK, key=str(task_id), task_id=task_id)


def text_of(connection: Connection, ls_annotation_id: int, task_id: int) -> str:
    each = tables.annotations.c
    mine = sa.and_(each.ls_annotation_id == ls_annotation_id, each.task_id == task_id, tables.newest_version())
    found = connection.execute(sa.select(each.text).where(mine)).scalar()
    if not found:
        raise InvalidInput(
            "no-such-annotation",
            f"Annotation {ls_annotation_id} is none of this task, or has no text.",
            "List them with `python -m ml_backend annotations list`.",
            status=404,
        )
    return str(found)


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
