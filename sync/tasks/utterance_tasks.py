"""Utterance that nobody checked -> Task with a draft, in the project where people say what a text means.

An utterance is asked about once: its row names its task. First come those from calls, then those whose source was least
sure; more than the project's limit of open tasks wait for the next run. The correction becomes a row of its own
(`training.samples.utterance_corrections`), since the source may still change the one it came from.

A task that a person imported into such a project becomes an utterance too (`adopt`), which waits for its annotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.calls.consent import NO_TRAINING
from ml_backend.context import Context, JobContext
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig
from ml_backend.labelling.utterance_marks import CORRECTION, HUMAN, NONE_OF_THESE, WAITING, digest
from ml_backend.settings import Settings
from ml_backend.tables import calls, predictions, projects, tasks, utterances
from ml_backend.views.training_progress import BLIND_AUDIT
from sync.drafts import drafts
from sync.drafts.recording_pieces import external_key
from sync.drafts.utterance_drafts import UtteranceDrafts
from sync.tasks.choices import Policy, draw, policy_of

REASON = "utterance"
IMPORTED = "label-studio-import"  # the origin of utterances that people imported as tasks
MOST_CHARS = 1000  # of a task's text that our row holds whole
PER_TRANSACTION = 20  # utterances: each has a task and a prediction
_ASKED = ("waiting", "accepted")  # states of utterances that people are asked about


def feed_utterances(context: JobContext, project_id: int) -> None:
    """Make tasks of utterances, up to the project's limit, each with its draft. Safe to repeat."""
    drafter = UtteranceDrafts(context)
    _draft_adopted(context, drafter, project_id)
    while True:
        with context.db.reading() as connection:
            project = connection.execute(sa.select(projects).where(projects.c.id == project_id)).one()
            if project.state != "attached" or not labelconfig.parse(project.label_config).parses:
                return
            room = policy_of(project.selection, context.settings).max_open - _open_tasks(connection, project_id)
            found = _unchecked(connection, min(room, PER_TRANSACTION)) if room > 0 else []
        if not found:
            return
        labels = tuple(filter(None, (project.draft_label, project.next_draft_label)))
        policy = policy_of(project.selection, context.settings)
        wished = [(row, _wish(policy, row)) for row in found]
        drafted = [(row, wish, drafter.rows(project, row, labels, blind=wish["blind"])) for row, wish in wished]
        with context.db.transaction() as connection:  # parsed before it began
            still = _still_unchecked(connection, found)
            for row, wish, made in drafted:
                if row.id in still:
                    _want(connection, project, row, wish, made)
            drafts.bump(connection, project_id)
            enqueueing.enqueue(connection, job_kinds.CREATE_TASKS, key=str(project_id), project_id=project_id)


def adopt(connection: Connection, task: sa.Row[Any]) -> None:
    """Make an utterance of a task that a person imported, or bring its text up to date. Safe to repeat."""
    text = task.data_value
    if task.origin == "ours" or task.reason_code == "erased" or not text or not text.strip() or len(text) >= MOST_CHARS:
        return
    row = utterances.c
    mine = sa.select(row.id, row.text).where(row.task_id == task.id, row.source != CORRECTION)
    there = connection.execute(mine.order_by(row.id).limit(1)).first()
    values = {"text": text, "digest": digest(text, None, (), None)}
    if there is None:
        known = {"origin": IMPORTED, "external_id": task.external_key}
        new = {**known, **values, "source": HUMAN, "task_id": task.id, "state": WAITING, "checked": False}
        db.insert_once(connection, utterances, new, key=tuple(known))
        key = str(task.project_id)
        enqueueing.enqueue(connection, job_kinds.FEED_UTTERANCES, key=key, project_id=task.project_id)
        enqueueing.enqueue(connection, job_kinds.SAMPLE_TASK, key=str(task.id), task_id=task.id)
    elif there.text != text and task.ls_task_id is not None:
        own = sa.and_(row.id == there.id, row.origin == IMPORTED)
        connection.execute(sa.update(utterances).where(own).values(**values, updated_at=tables.now()))


def _draft_adopted(context: JobContext, drafter: UtteranceDrafts, project_id: int) -> None:
    """Store drafts of imported tasks that have none, and push them."""
    project = context.db.row(projects, project_id)
    if project.state != "attached" or not labelconfig.parse(project.label_config).parses:
        return
    drafted = sa.exists().where(predictions.c.task_id == tasks.c.id, predictions.c.draft_label == project.draft_label)
    mine = (
        sa.select(utterances, tasks.c.data_value)
        .join(tasks, tasks.c.id == utterances.c.task_id)
        .where(tasks.c.project_id == project_id, tasks.c.state == "open", tasks.c.origin != "ours", ~drafted)
        .where(utterances.c.source != CORRECTION, tasks.c.reason_code.is_(None))
        .order_by(tasks.c.id)
        .limit(PER_TRANSACTION)
    )
    labels = tuple(filter(None, (project.draft_label, project.next_draft_label)))
    while found := context.db.rows(mine):
        made = [(row.task_id, drafter.rows(project, row, labels)) for row in found]
        with context.db.transaction() as connection:
            for task_id, rows in made:
                for values in rows:
                    row = {"task_id": task_id, **values}
                    db.insert_once(connection, predictions, row, key=("task_id", "draft_label"))
            drafts.bump(connection, project_id)
            key = str(project_id)
            enqueueing.enqueue(connection, job_kinds.PUSH_PREDICTIONS, key=key, project_id=project_id)


def labels_of(context: Context) -> dict[str, Sequence[str]] | None:
    """The intents and entities that the utterances here have, for a new project's config; None without any."""
    mine = sa.select(utterances.c.intent, utterances.c.entities).where(utterances.c.state == "accepted")
    intents, entities = set[str](), set[str]()
    with context.db.reading() as connection:
        for row in connection.execute(mine, execution_options={"yield_per": 2000}):
            intents.add(row.intent or NONE_OF_THESE)
            entities |= {str(each["entity"]) for each in row.entities or ()}
    intents.discard(NONE_OF_THESE)
    return {"intents": sorted(intents), "entities": sorted(entities)} if intents else None


def config_of(context: Context, settings: Settings, name: str) -> str:
    """A ready-made config with the languages of the settings and, for `nlu`, the labels of the utterances here."""
    labels = labels_of(context) if name == "nlu" else None
    return labelconfig.read(name, labelconfig.offered_by(settings), labels=labels)


def _unchecked(connection: Connection, limit: int) -> Sequence[sa.Row[Any]]:
    """Within consent: what a call's people did not agree to is shown to no annotator."""
    first = sa.case((utterances.c.state == "waiting", 0), else_=1)
    unsure = sa.func.coalesce(utterances.c.confidence, 1.0)
    return connection.execute(_to_be_asked().order_by(first, unsure, utterances.c.id).limit(limit)).all()


def _to_be_asked() -> sa.Select[Any]:
    return (
        sa.select(utterances)
        .outerjoin(calls, calls.c.id == utterances.c.call_id)
        .where(
            utterances.c.task_id.is_(None), utterances.c.checked.is_(False), utterances.c.source != CORRECTION,
            utterances.c.state.in_(_ASKED),
            sa.func.coalesce(calls.c.consent_purpose, "").not_in(NO_TRAINING),
        )
    )  # fmt: skip


def _still_unchecked(connection: Connection, found: Sequence[sa.Row[Any]]) -> set[int]:
    """The ids of those that may still be asked about as they were read, locked.

    While they were parsed a person may have been erased, a consent withdrawn, or a text replaced.
    """
    texts = {row.id: row.text for row in found}
    mine = _to_be_asked().where(utterances.c.id.in_(texts)).order_by(utterances.c.id)
    rows = connection.execute(mine.with_for_update(of=utterances)).all()
    return {row.id for row in rows if row.text == texts[row.id]}


def _wish(policy: Policy, row: sa.Row[Any]) -> dict[str, Any]:
    """Whether it is asked without a draft, and of how many people: drawn by hash, by the rules for calls."""
    name = f"{row.origin}:{row.external_id}"
    share = policy.audit_share * policy.blind_share
    blind = draw(name, "audit") < share
    return {
        "blind": blind,
        "selection_reason": BLIND_AUDIT if blind else REASON,
        "selection_probability": share if blind else 1 - share,
        "overlap": 2 if draw(name, "overlap") < policy.overlap_share else 1,
    }


def _want(
    connection: Connection,
    project: sa.Row[Any],
    row: sa.Row[Any],
    wish: dict[str, Any],
    made: Sequence[dict[str, Any]],
) -> None:
    """Request the task, tie the utterance to it, and store its draft."""
    values = {
        **wish,
        "project_id": project.id,
        "external_key": external_key(project, f"utterance {row.origin}:{row.external_id}"),
        "origin": "ours",
        "data_value": row.text[:1000],
        "usefulness": round(1.0 - (made[0]["score"] or 0.0), 4),
        "state": "wanted",
    }
    task_id, _ = db.insert_once(connection, tasks, values, key=("external_key",))
    mine = sa.and_(utterances.c.id == row.id, utterances.c.task_id.is_(None))
    connection.execute(sa.update(utterances).where(mine).values(task_id=task_id, updated_at=tables.now()))
    for drafted in made:
        db.insert_once(connection, predictions, {"task_id": task_id, **drafted}, key=("task_id", "draft_label"))


def _open_tasks(connection: Connection, project_id: int) -> int:
    mine = sa.and_(tasks.c.project_id == project_id, tasks.c.origin == "ours", tasks.c.state.in_(drafts.OPEN))
    return int(connection.execute(sa.select(sa.func.count()).select_from(tasks).where(mine)).scalar_one())
