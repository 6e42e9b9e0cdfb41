"""A draft that costs more time than it saves is left out: decided once, stored with its reason, and not blind."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.labelling.prediction_lookup import Deliveries
from ml_backend.labelling.project_rows import Project
from ml_backend.usefulness import draft_choice, team_model
from ml_backend.views import call_views
from sync.annotations import annotation_rows
from sync.drafts import drafts
from sync.projects import redrafting
from sync.tasks import prediction_push
from tests.sync.tasks.test_selection import SURE, UNSURE, World, world

__all__ = ["world"]
SPEECH = {"speech": [[0.5, 2.0, 0], [3.0, 6.0, 0]]}


def teach(world: World, *, break_even: float = 0.3, corrections: int = 100) -> None:
    """As the job does: unsure Hindi drafts have 60 % errors, sure ones 5 %."""
    body = {
        "errors": {"hi": {"edges": [0.5], "errors": [0.6, 0.05], "corrections": corrections}},
        "break_even": {"value": break_even, "low": 0.2, "high": 0.4, "drafted": 90, "undrafted": 40},
    }
    with world.context.db.transaction() as connection:
        connection.execute(sa.delete(tables.summaries).where(tables.summaries.c.name == team_model.NAME))
        connection.execute(sa.insert(tables.summaries).values(name=team_model.NAME, body=body, made_at=tables.now()))


def poor(world: World, **values: Any) -> tuple[Any, Any]:
    """(task, prediction) of a call whose draft is left out; one in ten is drawn to be shown."""
    while True:
        recording = world.heard(UNSURE, **SPEECH, **values)
        world.select(recording)
        [task] = world.rows(tables.tasks, recording_id=recording)
        if not task.draft_choice["shown"]:
            return task, world.rows(tables.predictions, task_id=task.id)[0]


def test_a_task_whose_draft_is_expected_above_the_break_even_opens_with_empty_regions_and_says_why(
    world: World,
) -> None:
    teach(world)
    task, prediction = poor(world)

    assert task.draft_choice["expected_error"] == 0.6
    assert "about 60 % of its words are expected to be wrong" in task.draft_choice["why"]
    assert task.status_line == drafts.NO_DRAFT_LINE
    result = json.loads(prediction.body)["result"]
    assert [(item["value"]["start"], item["value"]["end"]) for item in result] == [(0.5, 2.0), (3.0, 6.0)]
    assert "namaste" not in prediction.body
    assert (prediction.reason_code, prediction.model_version) == (draft_choice.NO_DRAFT, world.version)
    assert not task.blind
    assert task.selection_reason == "review"


def test_a_sure_draft_is_shown(world: World) -> None:
    teach(world)
    world.change(tables.projects, world.project, selection={"review": "all"})
    world.select(recording := world.heard(SURE, **SPEECH))
    [task] = world.rows(tables.tasks, recording_id=recording)
    assert task.draft_choice["shown"]
    assert "namaste" in world.rows(tables.predictions)[0].body


@pytest.mark.parametrize("case", ["switched-off", "few-corrections", "audit"])
def test_a_poor_draft_is_shown_all_the_same_where_it_measures_or_nothing_is_known(world: World, case: str) -> None:
    teach(world, corrections=team_model.LEAST_CORRECTIONS - 1 if case == "few-corrections" else 100)
    if case == "switched-off":
        off = world.context.settings.model_copy(update={"leave_out_poor_drafts": False})
        world.context = replace(world.context, settings=off)
    if case == "audit":
        world.change(
            tables.projects, world.project, selection={"max_confidence": 0, "audit_share": 1, "blind_share": 0}
        )
    for _ in range(4):  # all four drawn as trials: one in ten thousand, and the draw is the same every time
        recording = world.heard(UNSURE, **SPEECH)
        world.select(recording)
    bodies = [row.body for row in world.rows(tables.predictions)]
    assert len(bodies) == 4
    assert all("namaste" in body for body in bodies)


def test_what_is_learnt_later_changes_no_task_and_starts_no_redrafting(world: World) -> None:
    teach(world)
    task, prediction = poor(world)
    teach(world, break_even=0.9)
    world.change(tables.tasks, task.id, state="open", ls_task_id=7)
    drafts.draft_tasks(world.context, task.recording_id)
    [again] = world.rows(tables.predictions, task_id=task.id)
    assert again.body == prediction.body
    [project] = world.rows(tables.projects)
    page = world.context.db.rows(redrafting._open(project, project.draft_label))
    assert [row.id for row in page] == [task.id]
    assert not redrafting._stale(world.context, project, redrafting.Routes(world.context), page)


def test_predict_and_the_pusher_deliver_the_same_empty_regions_once(world: World) -> None:
    teach(world)
    task, prediction = poor(world)
    value = "s3://kaan/derived/a.wav"
    world.change(tables.tasks, task.id, state="open", ls_task_id=7, data_value=value)
    [row] = world.rows(tables.projects)
    asked = [{"id": 7, "data": {"audio": value}}]
    project = Project(row.id, row.state, row.revision, row.draft_label, row.config_sha256, "audio")
    deliveries = Deliveries(world.context)
    assert deliveries.answers(project, asked) == [prediction.body.encode()]
    [delivered] = world.rows(tables.predictions, task_id=task.id)
    assert delivered.delivered_by == "answer"
    assert not prediction_push._claim(world.context, row)


def test_an_annotation_without_the_draft_is_manual_and_may_be_learnt_from(world: World) -> None:
    teach(world)
    task, prediction = poor(world)
    world.change(tables.predictions, prediction.id, delivered_by="push", ls_prediction_id=9)
    world.change(tables.tasks, task.id, state="open", ls_task_id=7)
    [project] = world.rows(tables.projects)
    [task] = world.rows(tables.tasks, id=task.id)
    annotation = {
        "id": 1, "task": 7, "completed_by": 1, "updated_at": "2026-03-01T00:00:00Z",
        "created_at": "2026-03-01T00:00:00Z",
        "result": [], "parent_prediction": 9, "lead_time": 30.0,
    }  # fmt: skip
    with world.context.db.transaction() as connection:
        found = annotation_rows.FoundAnnotation(annotation, "webhook", tables.now())
        annotation_rows.keep(connection, project, task, found)
    [row] = world.rows(tables.annotations)
    assert (row.edited, row.draft, row.prediction_id) == ("manual", None, None)


def test_calls_show_says_why_the_task_has_its_place_and_no_draft(world: World) -> None:
    teach(world)
    task, _ = poor(world)
    [recording] = world.rows(tables.recordings, id=task.recording_id)
    said = call_views.show(world.context.db, recording.call_id)
    text = json.dumps(said, default=str)
    assert "may be wrong; correcting takes about" in text
    assert "opens without a draft, with empty regions. The draft is left out" in text
