"""Annotation in Label Studio -> row: once per `updated_at`, repaired where an earlier read was incomplete.

A newer result never overwrites a row: each change has its own row, and the newest that is not deleted counts. Values
that change without a new `updated_at` are updated in place: the ground-truth mark (setting one in Label Studio removes
the task's others), the task, if the annotation was stored first, and a wrong deletion mark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig, rendering
from ml_backend.labelling.reference import Reference, Region
from ml_backend.labelling.utterance_marks import same_answer
from ml_backend.labelling.validation import is_number
from ml_backend.tables import annotations as rows
from ml_backend.tables import tasks
from sync.annotations import annotation_origins
from sync.recordings import recording_language

WEBHOOK, LIST, IMPORT = "webhook", "list", "import"
TOGETHER = 20  # annotations in one transaction, each with its task, its recording and a job
PAGE = 1000  # ids in one statement: PostgreSQL takes 65,535, and one deletion may have more


@dataclass(frozen=True)
class FoundAnnotation:
    """One annotation as Label Studio had it at `read_at` or a little later, with its task's predictions if read."""

    annotation: Mapping[str, Any]
    found_by: str
    read_at: datetime
    predictions: Sequence[Mapping[str, Any]] | None = None

    @property
    def id(self) -> int:
        """Label Studio's id. SQLite gives the id of a deleted annotation to the next imported one."""
        return int(self.annotation["id"])

    @property
    def updated_at(self) -> datetime:
        """The version of the annotation."""
        return time_of(self.annotation.get("updated_at")) or self.created_at or self.read_at

    @property
    def created_at(self) -> datetime | None:
        """When the person first submitted it."""
        return time_of(self.annotation.get("created_at"))

    @property
    def imported(self) -> bool:
        """Whether it came with an import: neither a user's request nor a prediction made it."""
        return "updated_by" in self.annotation and not (
            self.annotation["updated_by"] or self.annotation.get("parent_prediction")
        )

    @property
    def ground_truth(self) -> bool:
        """The mark, except on imported annotations: Label Studio sets it on them by default."""
        return bool(self.annotation.get("ground_truth")) and not self.imported


def keep(
    connection: Connection, project: sa.Row[Any], task: sa.Row[Any] | None, found: FoundAnnotation
) -> tuple[int | None, bool]:
    """Store one annotation; returns (id, whether anything is new). None for an erased task."""
    if task is not None and task.reason_code == "erased":
        return None, False
    here = sa.and_(rows.c.project_id == project.id, rows.c.ls_annotation_id == found.id)
    versions = connection.execute(sa.select(rows).where(here).order_by(rows.c.ls_updated_at.desc())).all()
    same = next((row for row in versions if row.ls_updated_at == found.updated_at), None)
    if same is None:
        earlier = next((row for row in versions if row.ls_created_at == found.created_at), None)
        values = _values(connection, project, task, found, earlier)
        if any(row.deleted_at and row.deleted_at >= found.read_at for row in versions):
            values["deleted_at"] = tables.now()  # deleted during the read
        key = ("project_id", "ls_annotation_id", "ls_updated_at")
        row_id, new = db.insert_once(connection, rows, values, key=key)
        changed: Mapping[str, Any] = values if new else {}
        redraft = values["redraft"]
        if new and _is_first(connection, project, row_id):
            enqueueing.enqueue(connection, job_kinds.CLOSE_INSTRUCTIONS, key=str(project.id), project_id=project.id)
    else:
        row_id, redraft = same.id, same.redraft
        changed = _corrections(connection, project, task, found, same)
        if changed:
            db.update(connection, rows, row_id, **changed)
    if changed and task is not None:
        if redraft and not task.blind and task.recording_id is not None:
            _ask_again(connection, project, found)
        else:
            _settle(connection, task)
        sample(connection, task.id)
        if task.recording_id is not None:
            recording_language.settle(connection, task.recording_id)
    return row_id, bool(changed)


def _is_first(connection: Connection, project: sa.Row[Any], row_id: int) -> bool:
    """Whether this is the first annotation in a project that we created."""
    record = project.attached_changes if isinstance(project.attached_changes, Mapping) else {}
    if not record.get("made"):
        return False
    other = sa.select(rows.c.id).where(rows.c.project_id == project.id, rows.c.id != row_id).limit(1)
    return connection.execute(other).first() is None


def _ask_again(connection: Connection, project: sa.Row[Any], found: FoundAnnotation) -> None:
    """Enqueue the job for an annotation that asks for a draft in another language; its task is not done."""
    enqueueing.enqueue(
        connection,
        job_kinds.DRAFT_AGAIN,
        key=f"{project.id}:{found.id}",
        project_id=project.id,
        ls_annotation_id=found.id,
    )


def differs(here: Sequence[sa.Row[Any]], found: FoundAnnotation, task_id: int | None) -> bool:
    """Whether `keep` would change anything, judged by rows read in bulk."""
    same = next((row for row in here if row.ls_updated_at == found.updated_at), None)
    return (
        same is None
        or same.ground_truth != found.ground_truth
        or (same.task_id is None and task_id is not None)
        or (same.deleted_at is not None and same.deleted_at < found.read_at)
    )


def mark_deleted(context: Context, project_id: int, ids: Sequence[int], *, before: datetime | None = None) -> int:
    """Mark annotations deleted and reopen tasks with too few left; returns how many had not been deleted.

    `before` skips rows stored since then, which an earlier list cannot contain. One request may delete tens of
    thousands, so only rows that are not deleted are written, in batches.
    """
    removed = 0
    for begin in range(0, len(ids), PAGE):
        page = list(ids[begin : begin + PAGE])
        alive = sa.select(rows.c.ls_annotation_id).where(
            rows.c.project_id == project_id, rows.c.ls_annotation_id.in_(page), rows.c.deleted_at.is_(None)
        )
        here = sorted(set(context.db.scalars(alive)))
        for at in range(0, len(here), TOGETHER):
            with context.db.transaction() as connection:
                removed += _mark_deleted(connection, project_id, here[at : at + TOGETHER], before)
    return removed


def _mark_deleted(connection: Connection, project_id: int, ids: Sequence[int], before: datetime | None) -> int:
    alive = sa.and_(
        rows.c.project_id == project_id, rows.c.ls_annotation_id.in_(list(ids)), rows.c.deleted_at.is_(None)
    )
    if before is not None:
        alive = sa.and_(alive, rows.c.created_at < before)
    gone = (
        sa.update(rows).where(alive).values(deleted_at=tables.now()).returning(rows.c.task_id, rows.c.ls_annotation_id)
    )
    removed = connection.execute(gone).all()
    for task_id in sorted({row.task_id for row in removed if row.task_id}):
        left = people_done(connection, task_id)
        again = sa.and_(tasks.c.id == task_id, tasks.c.state == "annotated", tasks.c.overlap > left)
        connection.execute(sa.update(tasks).where(again).values(state="open", updated_at=tables.now()))
        sample(connection, task_id)
        recording_id = connection.execute(sa.select(tasks.c.recording_id).where(tasks.c.id == task_id)).scalar()
        if recording_id is not None:
            recording_language.settle(connection, recording_id)
    return len({row.ls_annotation_id for row in removed})


def mark_tasks_gone(context: Context, project_id: int, ls_task_ids: Sequence[int]) -> None:
    """Mark tasks that are gone from Label Studio, and their annotations, as deleted."""
    for begin in range(0, len(ls_task_ids), PAGE):
        page = list(ls_task_ids[begin : begin + PAGE])
        known = sa.select(tasks.c.id).where(tasks.c.project_id == project_id, tasks.c.ls_task_id.in_(page))
        here = context.db.scalars(known.where(tasks.c.state != "deleted").order_by(tasks.c.id))
        for at in range(0, len(here), TOGETHER):
            with context.db.transaction() as connection:
                gone = tasks.c.id.in_(here[at : at + TOGETHER])
                connection.execute(sa.update(tasks).where(gone).values(state="deleted", updated_at=tables.now()))
        theirs = sa.and_(rows.c.project_id == project_id, rows.c.ls_task_id.in_(page), rows.c.deleted_at.is_(None))
        ids = context.db.scalars(sa.select(rows.c.ls_annotation_id).where(theirs).distinct())
        mark_deleted(context, project_id, ids)


def people_done(connection: Connection, task_id: int) -> int:
    """How many people annotated a task, without skips. An unknown person counts as one."""
    person = sa.func.count(sa.distinct(sa.func.coalesce(rows.c.annotator, 0)))
    mine = sa.and_(rows.c.task_id == task_id, ~rows.c.skipped, tables.newest_version())
    return int(connection.execute(sa.select(person).where(mine)).scalar_one())


def sample(connection: Connection, task_id: int) -> None:
    """Enqueue the job that remakes a task's samples."""
    enqueueing.enqueue(connection, job_kinds.SAMPLE_TASK, key=str(task_id), task_id=task_id)


def time_of(value: Any) -> datetime | None:
    """Parse Label Studio's time format."""
    try:
        parsed = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _values(
    connection: Connection,
    project: sa.Row[Any],
    task: sa.Row[Any] | None,
    found: FoundAnnotation,
    earlier: sa.Row[Any] | None,
) -> dict[str, Any]:
    """The row of a version. Only this function parses the result; later steps read the row."""
    annotation = found.annotation
    result = annotation.get("result") or []
    reference = rendering.to_reference(result, labelconfig.parse(project.label_config))
    blind = task is not None and task.blind
    attached_at = _attached_at(project)
    before = bool(attached_at and found.created_at and found.created_at < attached_at)
    return {
        "project_id": project.id,
        "ls_annotation_id": found.id,
        "ls_updated_at": found.updated_at,
        "ls_created_at": found.created_at,
        "annotator": _user(annotation.get("completed_by")),
        "result": result,
        "text": reference.text,
        "segments": [asdict(region) for region in reference.segments],
        "reject": list(reference.reject),
        "choices": dict(reference.choices),
        "redraft": (reference.redraft or "")[:10] or None,
        "language": ((None if blind else reference.redraft) or reference.language or "")[:10] or None,
        "script": (reference.script or "")[:10] or None,
        "quality": (reference.quality or "")[:60] or None,
        "accent": (reference.accent or "")[:60] or None,
        "emotion": (reference.emotion or "")[:60] or None,
        "skipped": bool(annotation.get("was_cancelled")),
        "ground_truth": found.ground_truth,
        "lead_time_s": _seconds(annotation.get("lead_time")),
        "before_attach": earlier.before_attach if earlier is not None else before,
        "found_by": IMPORT if found.imported else found.found_by,
        **_about_task(connection, project, task, found, reference, earlier=earlier),
    }


def _about_task(
    connection: Connection,
    project: sa.Row[Any],
    task: sa.Row[Any] | None,
    found: FoundAnnotation,
    reference: Reference,
    *,
    earlier: sa.Row[Any] | None = None,
) -> dict[str, Any]:
    """The task and the draft. Later versions keep the draft of the first, even if Label Studio no longer has it."""
    ls_task_id = found.annotation.get("task")
    about: dict[str, Any] = {"task_id": task.id if task is not None else None, "ls_task_id": ls_task_id}
    if task is None:
        return {**about, "edited": None}
    result = found.annotation.get("result")
    origin = annotation_origins.origin_of(connection, project, task, found.annotation, found.predictions)
    if origin is None and earlier is not None and earlier.draft is not None:
        same = reference.text == earlier.draft.get("text") and earlier.edited == annotation_origins.UNTOUCHED
        if annotation_origins.MARKS in earlier.draft:
            drafted = earlier.draft[annotation_origins.MARKS]
            same = same_answer(result, drafted, annotation_origins.shown_text(task))
        kept = {name: getattr(earlier, name) for name in ("prediction_id", "model_version", "draft")}
        return {**about, **kept, "edited": annotation_origins.UNTOUCHED if same else annotation_origins.EDITED}
    values: dict[str, Any] = {"prediction_id": None, "model_version": None, "draft": sa.null()}
    if origin is not None:
        values = {"prediction_id": origin.prediction_id, "model_version": origin.model_version, "draft": origin.draft}
    return {**about, **values, "edited": annotation_origins.edited(reference, origin, result, task)}


def _corrections(
    connection: Connection, project: sa.Row[Any], task: sa.Row[Any] | None, found: FoundAnnotation, row: sa.Row[Any]
) -> dict[str, Any]:
    """Values that an earlier read of the same version got wrong or did not have."""
    changes: dict[str, Any] = {}
    if row.ground_truth != found.ground_truth:
        changes["ground_truth"] = found.ground_truth
    if row.deleted_at is not None and row.deleted_at < found.read_at:
        changes["deleted_at"] = None
    if row.task_id is None and task is not None:
        said = Reference(row.text or "", tuple(Region(**region) for region in row.segments or ()))
        changes |= _about_task(connection, project, task, found, said)
    return changes


def _settle(connection: Connection, task: sa.Row[Any]) -> None:
    """Mark a task with enough people annotated, and take up one that waits."""
    if people_done(connection, task.id) < task.overlap:
        return
    mine = sa.and_(tasks.c.id == task.id, tasks.c.state == "open")
    done = sa.update(tasks).where(mine).values(state="annotated", updated_at=tables.now())
    if not connection.execute(done).rowcount:
        return
    waiting = sa.select(tasks.c.id).where(tasks.c.project_id == task.project_id, tasks.c.state == "waiting")
    if connection.execute(waiting.limit(1)).first():
        enqueueing.enqueue(connection, job_kinds.TAKE_UP_WAITING, key=str(task.project_id), project_id=task.project_id)


def _user(value: Any) -> int | None:
    """`completed_by` is a number, or an object with an id in some answers."""
    user = value.get("id") if isinstance(value, Mapping) else value
    return user if isinstance(user, int) else None


def _seconds(value: Any) -> float | None:
    """A length of time; None for any other value, so that it never blocks an annotation."""
    return float(value) if is_number(value) and value >= 0 else None


def _attached_at(project: sa.Row[Any]) -> datetime | None:
    record = project.attached_changes if isinstance(project.attached_changes, Mapping) else {}
    return time_of(record.get("at")) if record.get("at") and not record.get("made") else None
