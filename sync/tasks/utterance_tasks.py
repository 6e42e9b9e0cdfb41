"""Utterance that nobody checked -> Task with a draft, in the project where people say what a text means.

An utterance is asked about once: its row names its task. First come those from calls, then those whose source was least
sure; more than the project's limit of open tasks wait for the next run. The correction becomes a row of its own
(`training.samples.utterance_corrections`), since the source may still change the one it came from.
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
from ml_backend.labelling.utterance_marks import CORRECTION, NONE_OF_THESE
from ml_backend.settings import Settings
from ml_backend.tables import calls, predictions, projects, tasks, utterances
from sync.drafts import drafts
from sync.drafts.recording_pieces import external_key
from sync.drafts.utterance_drafts import UtteranceDrafts
from sync.tasks.choices import policy_of

REASON = "utterance"
PER_TRANSACTION = 20  # utterances: each has a task and a prediction
_ASKED = ("waiting", "accepted")  # states of utterances that people are asked about


def feed_utterances(context: JobContext, project_id: int) -> None:
    """Make tasks of utterances, up to the project's limit, each with its draft. Safe to repeat."""
    drafter = UtteranceDrafts(context)
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
        drafted = [(row, drafter.rows(project, row, labels)) for row in found]  # outside the transaction
        with context.db.transaction() as connection:
            for row, made in drafted:
                _want(connection, project, row, made)
            drafts.bump(connection, project_id)
            enqueueing.enqueue(connection, job_kinds.CREATE_TASKS, key=str(project_id), project_id=project_id)


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
    mine = sa.and_(
        utterances.c.task_id.is_(None), utterances.c.checked.is_(False), utterances.c.source != CORRECTION,
        utterances.c.state.in_(_ASKED),
        sa.func.coalesce(calls.c.consent_purpose, "").not_in(NO_TRAINING),
    )  # fmt: skip
    first = sa.case((utterances.c.state == "waiting", 0), else_=1)
    unsure = sa.func.coalesce(utterances.c.confidence, 1.0)
    return connection.execute(
        sa.select(utterances)
        .outerjoin(calls, calls.c.id == utterances.c.call_id)
        .where(mine)
        .order_by(first, unsure, utterances.c.id)
        .limit(limit)
    ).all()


def _want(connection: Connection, project: sa.Row[Any], row: sa.Row[Any], made: Sequence[dict[str, Any]]) -> None:
    """Request the task, tie the utterance to it, and store its draft."""
    values = {
        "project_id": project.id,
        "external_key": external_key(project, f"utterance {row.origin}:{row.external_id}"),
        "origin": "ours",
        "data_value": row.text[:1000],
        "selection_reason": REASON,
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
