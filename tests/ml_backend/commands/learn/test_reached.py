"""What `learn` finds when it is started again."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.commands.demo import progress
from ml_backend.commands.learn import reached
from ml_backend.context import open_context
from ml_backend.settings import Settings
from training.runs import execution
from training.runs.arguments import Arguments


@pytest.fixture
def context(tmp_path):
    settings = Settings(_env_file=None, data_dir=tmp_path)
    db.upgrade(settings.database)
    context = open_context(settings)
    yield context
    context.db.dispose()


@pytest.mark.parametrize("state", ["waiting", "running", execution.INTERRUPTED, execution.TRAINED, "done"])
def test_a_run_that_may_still_come_to_something_is_gone_on_with(context, state):
    run_id = run_of(context, state)
    assert reached.run(context, 1).id == run_id


@pytest.mark.parametrize("state", ["failed", "cancelled", "refused"])
def test_after_a_run_that_came_to_nothing_another_begins(context, state):
    run_of(context, state)
    assert reached.run(context, 1) is None


def run_of(context, state):
    values = {"name": "learn", "version": 1, "state": "ready", "manifest_sha256": "0" * 64, "filters": {}, "counts": {}}
    with context.db.transaction() as connection:
        connection.execute(sa.insert(tables.datasets).values(**values))
    run_id = execution.create(context, 1, Arguments(), who="a test", why="")
    context.db.update(tables.runs, run_id, state=state)
    return run_id


PROJECT = {
    "instance_url": "", "ls_project_id": 1, "title": "intents", "state": "attached", "draft_label": "draft-2",
}  # fmt: skip


def insert(context, table, **values):
    with context.db.transaction() as connection:
        return connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one()


def draft(context, task_id, project_id, label, version, intent):
    items = [{"from_name": "intent", "value": {"choices": [intent]}}] if intent else []
    body = json.dumps({"result": items}) if intent else "[]"
    insert(
        context, tables.predictions, task_id=task_id, project_id=project_id, draft_label=label, model_version=version,
        config_sha256="", body=body, confirmed_at=tables.now(),
    )  # fmt: skip


def test_the_intents_of_both_versions_are_read_from_the_drafts_of_open_utterances(context):
    project_id = insert(context, tables.projects, **PROJECT)
    for number, intents in enumerate((("a", "b"), ("", "b"))):
        task_id = insert(
            context, tables.tasks, project_id=project_id, external_key=f"k{number}", origin="ours",
            data_value=f"text {number}", state="open", ls_task_id=70 + number,
        )  # fmt: skip
        for label, version, intent in zip(("draft-1", "draft-2"), ("old", "new"), intents, strict=True):
            draft(context, task_id, project_id, label, version, intent)
    rows = reached.asked(context, project_id, ["text 0", "text 1", "of nobody"])
    assert [(row.data_value, row.model_version) for row in rows] == [("text 0", "new"), ("text 1", "new")]
    assert all(progress.delivered(row) for row in rows)
    found = reached.drafted_intents(context, [row.id for row in rows], ("old", "new"))
    assert found == {(rows[0].id, "old"): "a", (rows[0].id, "new"): "b", (rows[1].id, "new"): "b"}


def test_corrections_are_counted_by_project_and_the_rows_they_came_from_are_not(context):
    project_id = insert(context, tables.projects, **PROJECT)
    task_id = insert(
        context, tables.tasks, project_id=project_id, external_key="k", origin="ours", data_value="x", state="annotated"
    )
    for source in ("call", "correction"):
        insert(
            context, tables.utterances, origin=source, external_id="1", source=source, text="x", digest="d",
            state="accepted", task_id=task_id,
        )  # fmt: skip
    assert reached.corrections(context, project_id) == 1
    assert reached.corrections(context, project_id + 1) == 0
    assert reached.utterances_there(context, ["x", "y"]) == 1


def test_clips_count_by_role_once_they_passed_the_checks(context):
    recording_id = insert(context, tables.recordings, source="object", source_identity="s3://b/k", state="ready")
    for number, (role, state, known) in enumerate(
        ((None, "accepted", recording_id), (None, "excluded", recording_id), ("reference", "accepted", recording_id),
         ("degraded", "accepted", None))
    ):  # fmt: skip
        insert(
            context, tables.voice_clips, bucket="b", key=f"k{number}", role=role, state=state, recording_id=known,
            text_key="t",
        )  # fmt: skip
    assert reached.clips(context) == {"own": 1, "reference": 1, "degraded": 0}
