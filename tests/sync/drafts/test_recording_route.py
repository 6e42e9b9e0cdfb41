"""A recording's project and route are decided once and read from its row; what changes them is said, and tested."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.models import registry, routing
from ml_backend.models.routing import Routes
from sync.drafts import drafts, recording_route
from sync.drafts.recording_route import RecordingRoute
from tests.sync.tasks import test_selection
from tests.sync.tasks.test_selection import UNSURE, World

world = test_selection.world
NEXT = "the-next-one"
NOT_THIS_ONE = {"source": ["upload"]}


def decide(world: World, recording_id: int) -> RecordingRoute:
    """As the job that transcribes does, before it begins and when it is done."""
    routes = Routes(world.context)
    with world.context.db.transaction() as connection:
        [recording] = connection.execute(sa.select(tables.recordings).where(tables.recordings.c.id == recording_id))
        return recording_route.decide(connection, routes, world.context.settings, recording)


def route(world: World, recording_id: int) -> dict[str, Any]:
    [recording] = world.rows(tables.recordings, id=recording_id)
    return recording.route or {}


def another_version(world: World) -> registry.Version:
    first = registry.champion(world.context)
    [row] = world.rows(tables.model_versions, id=first.id)
    values = {"version": NEXT, "kind": "asr", "location": row.location, "manifest": row.manifest}
    world._insert(tables.model_versions, {**values, "languages": list(first.languages)})
    return registry.find(world.context, NEXT)


def experiment(world: World, **values: Any) -> int:
    another_version(world)
    known = {"name": "try", "champion": world.version, "challenger": NEXT, "traffic_share": 1.0, "salt": "s"}
    return world._insert(tables.experiments, {**known, **values})


def test_a_routing_rule_that_changes_after_the_decision_moves_no_recording(world: World) -> None:
    decided, later = world.heard(UNSURE), world.heard(UNSURE)
    decide(world, decided)
    world.change(tables.projects, world.project, routing=NOT_THIS_ONE)
    other = world.add_project(2)
    world.select(decided, later)
    assert {task.recording_id: task.project_id for task in world.rows(tables.tasks)} == {
        decided: world.project, later: other,
    }  # fmt: skip


def test_a_project_that_was_detached_after_the_decision_takes_nothing(world: World) -> None:
    recording = world.heard(UNSURE)
    decide(world, recording)
    world.change(tables.projects, world.project, state="detached")
    other = world.add_project(2)
    world.select(recording)
    assert [task.project_id for task in world.rows(tables.tasks)] == [other]
    assert [row.project_id for row in world.rows(tables.recordings)] == [other]


def test_a_recording_that_no_project_takes_is_asked_about_again(world: World) -> None:
    world.change(tables.projects, world.project, routing=NOT_THIS_ONE)
    recording = world.heard(UNSURE)
    world.select(recording)
    assert [row.project_id for row in world.rows(tables.recordings)] == [None]
    world.change(tables.projects, world.project, routing=sa.null())
    world.select(recording)
    assert [row.project_id for row in world.rows(tables.recordings)] == [world.project]


def test_selection_and_drafting_take_the_route_from_the_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = world.heard(UNSURE)
    decide(world, recording)

    def again(*given: Any, **more: Any) -> None:
        raise AssertionError("the route of this recording is decided")

    monkeypatch.setattr(routing.Routes, "choose", again)
    world.select(recording)
    [draft] = world.rows(tables.predictions)
    assert draft.model_version == world.version
    with world.context.db.transaction() as connection:
        connection.execute(sa.delete(tables.predictions))
    drafts.draft_tasks(world.context, recording)
    assert [row.model_version for row in world.rows(tables.predictions)] == [world.version]


def test_another_champion_means_another_route_for_what_is_not_drafted_yet(world: World) -> None:
    recording = world.heard(UNSURE)
    decide(world, recording)
    assert route(world, recording)["version"] == world.version
    registry.move_alias(world.context, another_version(world), expected_revision=1, who="t", why="better")
    world.select(recording)
    assert route(world, recording)["version"] == NEXT
    assert world.rows(tables.predictions) == [], "a draft by a model that serves no more is not made"
    assert [job.arguments for job in world.rows(tables.jobs, name="transcribe-recording")] == [
        {"recording_id": recording}
    ]


def test_a_drafting_job_that_finds_another_champion_has_the_recording_transcribed_again(world: World) -> None:
    recording = world.heard(UNSURE)
    world.select(recording)
    with world.context.db.transaction() as connection:
        connection.execute(sa.delete(tables.predictions))
    registry.move_alias(world.context, another_version(world), expected_revision=1, who="t", why="better")
    drafts.draft_tasks(world.context, recording)
    assert world.rows(tables.predictions) == []
    assert len(world.rows(tables.jobs, name="transcribe-recording")) == 1


def test_an_experiment_that_begins_counts_and_its_side_stands_on_row_and_task(world: World) -> None:
    recording = world.heard(UNSURE)
    decide(world, recording)
    number = experiment(world, traffic_share=0.0)
    world.select(recording)
    assert (route(world, recording)["experiment_id"], route(world, recording)["arm"]) == (number, routing.CHAMPION)
    [task] = world.rows(tables.tasks)
    assert (task.experiment_id, task.arm) == (number, routing.CHAMPION)


def test_who_else_listens_in_a_shadow_experiment_stands_on_the_row(world: World) -> None:
    recording = world.heard(UNSURE)
    experiment(world, kind=routing.SHADOW)
    assert decide(world, recording).route.shadow is not None
    assert decide(world, recording).route.shadow is not None, "and is found there again"
    assert route(world, recording)["shadow"] == NEXT


def test_nothing_is_decided_while_a_language_has_to_be_detected(world: World) -> None:
    recording = world.heard(UNSURE, heard_before=True)  # nobody has transcribed it
    assert not decide(world, recording).final
    [row] = world.rows(tables.recordings)
    assert (row.project_id, row.route) == (None, None)
    world.change(tables.recordings, recording, language="hi", language_by="given")
    assert decide(world, recording).final
    [row] = world.rows(tables.recordings)
    assert (row.project_id, row.route["language"]) == (world.project, "hi")


def test_a_language_that_somebody_corrects_changes_the_route_and_not_the_project(world: World) -> None:
    recording = world.heard(UNSURE)
    decide(world, recording)
    other = another_version(world)
    world.change(tables.projects, world.project, routing={"language": ["hi"]})
    registry.move_alias(world.context, other, expected_revision=0, who="t", why="t", language="mr")
    world.change(tables.recordings, recording, language="mr", language_by="confirmed")
    decide(world, recording)
    [row] = world.rows(tables.recordings)
    assert (row.project_id, row.route["version"]) == (world.project, NEXT)
