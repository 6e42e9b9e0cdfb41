"""One person, or one call -> erased audio, text, drafts, tasks, annotations and raw events; tombstones stay.

First one transaction writes tombstones and states, so that nothing of the subject is taken in again. Then objects and
tasks are removed in other systems, and then the rows are emptied. The erasure's own row is `running` until all is done:
a run that was killed, or found a server down, is repeated and continues. Rows stay without content, so that counts and
histories remain correct.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.calls import ledger, live_spool, phone_numbers, pseudonyms, tombstones
from ml_backend.context import Context
from ml_backend.errors import PermanentError, RetryableError
from ml_backend.jobs import enqueueing, failpoints, job_kinds
from ml_backend.tables import annotations as annotation_rows
from ml_backend.tables import erasures, objects, predictions, projects, recordings, tasks, transcriptions
from ml_backend.tables import jobs as job_rows
from sync.drafts import drafts
from sync.label_studio.label_studio_client import LabelStudioClient, client_of
from sync.privacy import hidden_names, raw_events, usage
from sync.privacy.subjects import Subject, SubjectRows, find, refuse_held
from sync.recordings.removal import Removed, remove_audio, remove_live_audio

TOGETHER = 12  # calls, recordings or tasks in one transaction, each with its dependent rows
BUSY_S = 120.0  # how long running jobs about the subject are waited for
_OF_RECORDING = (
    job_kinds.FETCH_RECORDING,
    job_kinds.INGEST_RECORDING,
    job_kinds.TRANSCRIBE_RECORDING,
    job_kinds.SELECT_RECORDING,
)
WHY = "Erased at the person's request."
_EMPTY: dict[str, Any] = {
    "segments": [], "language": None, "language_probability": 0.0, "duration_s": 0.0, "confidence": 0.0,
    "model_version": "", "text": "", "flags": [],
}  # fmt: skip


def preview(context: Context, subject: Subject) -> dict[str, Any]:
    """What an erasure would remove. Raises the errors that the erasure would raise. Changes nothing."""
    with context.db.reading() as connection:
        found = find(connection, subject)
        refuse_held(connection, subject, found)
    return _counts(found)


def erase(context: Context, subject: Subject, *, who: str, busy_s: float = BUSY_S) -> dict[str, Any]:
    """Erase; gives counts and the report. Safe to repeat.

    Raises PermanentError `legal-hold`. Raises RetryableError while a job works on it or a server does not answer;
    everything that can be removed is removed before that.
    """
    erasure_id, found = _close_doors(context, subject, who)
    failpoints.hit("erase.after-tombstones")
    _wait_for_jobs(context, found, busy_s)
    removed = Removed()
    trouble: RetryableError | None = None
    try:
        _remove_tasks(context, found, removed)
    except RetryableError as error:  # audio is removed anyway; the rows stay, or what is left would be ingested again
        trouble = error
    for recording in found.recordings:
        remove_audio(context, recording, removed)
        failpoints.hit("erase.after-recording")
    if subject.kind == "caller":
        live_spool.remove_caller(context.settings, subject.identity)
    for sid in {*found.sids, *([subject.identity] if subject.kind == "call" else [])}:
        remove_live_audio(context, sid, removed)
    if trouble is not None:
        raise trouble
    key = pseudonyms.key_of(context.settings)
    events = raw_events.scrub(context, found, person=subject.identity if subject.kind == "caller" else "", key=key)
    failpoints.hit("erase.before-rows")
    with context.db.reading() as connection:
        report = usage.report(connection, context, found, left=removed.left)
    _empty_rows(context, found, key)
    with context.db.transaction() as connection:
        row = connection.execute(sa.select(erasures).where(erasures.c.id == erasure_id)).one()
        before = row.counts or {}
        counts = {name: max(number, before.get(name, 0)) for name, number in _counts(found).items()}
        counts["objects"] = int(before.get("objects", 0)) + removed.objects
        counts["events"] = int(before.get("events", 0)) + events
        values = {"counts": counts, "report": {**(row.report or {}), **report}}
        kept = {**values["report"], "left": [phone_numbers.without_numbers(each) for each in report["left"]]}
        name = phone_numbers.hidden(subject.name, key)[:80]
        done = {"counts": counts, "report": kept, "pseudonym": name, "state": "done", "finished_at": tables.now()}
        db.update(connection, erasures, erasure_id, **done)
        if report["audio_sha256"] and connection.execute(sa.select(tables.datasets.c.id).limit(1)).first():
            enqueueing.enqueue(connection, job_kinds.RENEW_DATASETS, key=str(erasure_id), erasure_id=erasure_id)
    return {"erasure": erasure_id, "subject": subject.name, **values}


def _close_doors(context: Context, subject: Subject, who: str) -> tuple[int, SubjectRows]:
    """Write the tombstones, so that nothing of the subject is taken in again; then close each call. Resumable."""
    key = pseudonyms.key_of(context.settings)
    with context.db.transaction() as connection:
        found = find(connection, subject)
        refuse_held(connection, subject, found)
        running = sa.select(erasures).where(erasures.c.pseudonym == subject.name, erasures.c.state == "running")
        row = connection.execute(running).first()
        ids = sorted({call.id for call in found.calls})
        values = {"pseudonym": subject.name, "who": who[:120], "report": {"calls": ids}}
        if row is None:
            made = sa.insert(erasures).values(**values).returning(erasures.c.id)
            erasure_id = int(connection.execute(made).scalar_one())
        else:
            erasure_id = int(row.id)
            db.update(connection, erasures, erasure_id, report={**(row.report or {}), "calls": ids})
        tombstones.mark_erased(connection, subject.kind, subject.identity, key=key)
        if subject.kind == "call":  # it may be known by its outcome alone
            ledger.forget_outcomes(connection, (subject.identity,))
    for some in _few(found.sids):
        with context.db.transaction() as connection:
            for sid in some:
                tombstones.mark_erased(connection, "call", sid, key=key)
    for few in _few(found.recordings):
        with context.db.transaction() as connection:
            for recording in few:
                tombstones.mark_erased(connection, "recording", recording.source_identity, key=key)
                if recording.bucket and recording.object_key:
                    place = f"s3://{recording.bucket}/{recording.object_key}"
                    tombstones.mark_erased(connection, "object", place, key=key)
                if recording.sha256:
                    tombstones.mark_erased(connection, "audio", tombstones.audio_identity(recording.sha256), key=key)
                _put_down(connection, recording.id)
                _forget_unasked(connection, tables.utterances.c.recording_id == recording.id)
    for calls in _few(found.calls):
        with context.db.transaction() as connection:
            for call in calls:
                ledger.move(connection, call.id, "erased", reason_code="erased", reason=WHY)
                _forget_unasked(connection, tables.utterances.c.call_id == call.id)
    with context.db.reading() as connection:  # a task may have been made of an utterance before its door was closed
        found = SubjectRows(found.calls, found.recordings, find(connection, subject).tasks)
    for some_tasks in _few(found.tasks):
        with context.db.transaction() as connection:
            for task in some_tasks:
                _unwant(connection, task)
    return erasure_id, found


def _few(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The rows in pieces, one per transaction: a person may have called a thousand times."""
    for begin in range(0, len(rows), TOGETHER):
        yield rows[begin : begin + TOGETHER]


def _wait_for_jobs(context: Context, found: SubjectRows, busy_s: float) -> None:
    """Cancel waiting jobs, and wait for running ones, because they may still write; then close what they wrote."""
    deadline = time.monotonic() + busy_s
    keys = _keys(found)
    while True:
        for names in _few(keys):
            with context.db.transaction() as connection:
                mine = sa.and_(job_rows.c.unique_key.in_(names), job_rows.c.state.in_(("waiting", "queued")))
                stopped = {"state": "cancelled", "finished_at": tables.now()}
                connection.execute(sa.update(job_rows).where(mine).values(**stopped))
        for few in _few(found.recordings):
            with context.db.transaction() as connection:
                for recording in few:
                    _put_down(connection, recording.id)
        runs = sa.select(job_rows.c.id).where(job_rows.c.state == "running").limit(1)
        if not any(context.db.rows(runs.where(job_rows.c.unique_key.in_(names))) for names in _few(keys)):
            return
        if time.monotonic() > deadline:
            raise RetryableError(
                "erase-busy", "A job still works on one of these recordings.", "Run the same command in a minute."
            )
        time.sleep(0.5)


def _keys(found: SubjectRows) -> list[str]:
    return [f"{kind.name}:{r.id}" for r in found.recordings for kind in _OF_RECORDING] + [
        f"{job_kinds.LOOK_UP_CALL.name}:{call.id}" for call in found.calls
    ]


def _remove_tasks(context: Context, found: SubjectRows, removed: Removed) -> None:
    """Delete the tasks in Label Studio, also those whose import got no answer."""
    for project_id in sorted({task.project_id for task in found.tasks}):
        project = context.db.row(projects, project_id)
        mine = [task for task in found.tasks if task.project_id == project_id]
        if project.instance_url != context.settings.label_studio_url:
            removed.left.append(f"{len(mine)} tasks in {project.instance_url}, which is not the Label Studio we serve")
            continue
        _delete(client_of(context), project, mine)
    uploads = [str(recording.source_identity) for recording in found.recordings if recording.source == "upload"]
    for identity in uploads:
        _remove_upload(client_of(context), identity, removed)


def _remove_upload(client: LabelStudioClient, identity: str, removed: Removed) -> None:
    """Remove an uploaded file from Label Studio. It keeps the file in its media folder, so the report says so."""
    project_id, _, name = identity.removeprefix(client.url).removeprefix("/data/upload/").partition("/")
    place = f"/api/projects/{project_id}/file-uploads"
    try:
        there = client.call("GET", place, params={"all": "true"})
        ids = [int(each["id"]) for each in there if str(each.get("file", "")).endswith(f"/{name}")]
        if ids:
            client.call("DELETE", place, json={"file_upload_ids": ids})
    except PermanentError as error:
        if error.code != "http-missing":
            raise
    removed.left.append(f"upload/{project_id}/{name} in Label Studio's media folder: delete the file on its machine")


def _delete(client: LabelStudioClient, project: Any, mine: list[Any]) -> None:
    unsure = [task.external_key for task in mine if task.origin == "ours"]
    try:
        there = client.task_ids_by_key(project.ls_project_id, unsure)
    except PermanentError as error:
        if error.code != "project-missing":
            raise
        return
    ids = {int(task.ls_task_id) for task in mine if task.ls_task_id} | {i for some in there.values() for i in some}
    for ls_task_id in sorted(ids):
        try:
            client.delete_task(ls_task_id)
        except PermanentError as error:
            if error.code != "http-missing":
                raise


def _empty_rows(context: Context, found: SubjectRows, key: bytes) -> None:
    """Remove text, numbers, addresses, and names that contain a number, from every row about the subject."""
    for few in _few([recording.id for recording in found.recordings]):
        with context.db.transaction() as connection:
            for recording_id in few:
                _put_down(connection, recording_id)
                _refuse_objects(connection, recording_id)
                own = sa.update(transcriptions).where(transcriptions.c.recording_id == recording_id)
                connection.execute(own.values(text="", transcript=_EMPTY, confidence=0.0, language=None))
    for few in _few(found.tasks):
        with context.db.transaction() as connection:
            for task in few:
                _empty_task(connection, task)
    with context.db.transaction() as connection:
        for project_id in {task.project_id for task in found.tasks}:
            drafts.bump(connection, project_id)  # /predict drops its cache
    nothing = dict.fromkeys(("from_pseudonym", "to_pseudonym", "recording_url", "custom_field", "talk_seconds"))
    for few in _few(found.calls):
        with context.db.transaction() as connection:
            for call in few:
                ledger.move(connection, call.id, "erased", reason_code="erased", reason=WHY)
                _forget_utterances(connection, tables.utterances.c.call_id == call.id)  # their tasks are gone now
                name = hidden_names.call_name(connection, call, key)
                db.update(connection, tables.calls, call.id, **nothing, merged={}, call_sid=name)
    for few in _few(found.recordings):
        with context.db.transaction() as connection:
            for recording in few:
                _forget_utterances(connection, tables.utterances.c.recording_id == recording.id)
                hidden_names.hide(connection, recording, key)
    for names in _few(_keys(found)):
        with context.db.transaction() as connection:
            said = sa.update(job_rows).where(job_rows.c.unique_key.in_(names), job_rows.c.error.is_not(None))
            connection.execute(said.values(error=WHY))


def _forget_unasked(connection: Connection, theirs: sa.ColumnElement[bool]) -> None:
    """Delete utterances that have no task, so that none is made of them."""
    _forget_utterances(connection, sa.and_(theirs, tables.utterances.c.task_id.is_(None)))


def _unwant(connection: Connection, task: Any) -> None:
    """Have a task that is not in Label Studio yet not made. An import that is under way deletes it again."""
    mine = sa.and_(tasks.c.id == task.id, tasks.c.state.in_(("wanted", "waiting")))
    gone = {"state": "deleted", "reason_code": "erased", "reason": WHY}
    connection.execute(sa.update(tasks).where(mine).values(**gone))


def _forget_utterances(connection: Connection, theirs: sa.ColumnElement[bool]) -> None:
    """Delete what was said there, with its corrections: an utterance is nothing without its text."""
    connection.execute(sa.delete(tables.utterances).where(theirs))


def _empty_task(connection: Connection, task: Any) -> None:
    drafted = sa.update(predictions).where(predictions.c.task_id == task.id)
    withdrawn = {"body": drafts.NOTHING, "score": None, "delivered_by": "nobody", "reason_code": "erased"}
    connection.execute(drafted.values(**withdrawn, reason=WHY, confirmed_at=tables.now()))
    written = sa.update(annotation_rows).where(annotation_rows.c.task_id == task.id)
    connection.execute(
        written.values(text=None, result=[], segments=[], choices={}, draft=sa.null(), deleted_at=tables.now())
    )
    learnt = sa.update(tables.samples).where(tables.samples.c.task_id == task.id)
    connection.execute(learnt.values(text="", state="excluded", reason_code="erased", reason=WHY))
    gone = {"state": "deleted", "reason_code": "erased", "reason": WHY, "status_line": None}
    nothing = dict.fromkeys(("data_value", "status_shown", "gold_text"))
    db.update(connection, tasks, task.id, **gone, **nothing, review_asked=sa.null())


def _refuse_objects(connection: Connection, recording_id: int) -> None:
    """Mark objects of an erased recording refused; delete a row whose key contains a number."""
    mine = objects.c.recording_id == recording_id
    for row in connection.execute(sa.select(objects).where(mine)).all():
        if phone_numbers.carries_number(row.object_key):
            this = sa.and_(objects.c.bucket == row.bucket, objects.c.object_key == row.object_key)
            connection.execute(sa.delete(objects).where(this))
    seen = sa.update(objects).where(mine)
    connection.execute(seen.values(state="refused", reason_code="erased", reason=WHY))


def _put_down(connection: Connection, recording_id: int) -> None:
    """Mark a recording erased. Its object's address is kept until the object was removed."""
    values = {"state": "erased", "reason_code": "erased", "reason": WHY, "known_text": None, "speech": None}
    db.update(connection, recordings, recording_id, **values)


def _counts(found: SubjectRows) -> dict[str, int]:
    return {"calls": len(found.calls), "recordings": len(found.recordings), "tasks": len(found.tasks)}
