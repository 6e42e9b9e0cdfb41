"""The demo's calls: every one becomes a task, whatever the settings, and its projects review everything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.jobs import job_kinds, runner
from ml_backend.jobs.job_kinds import KINDS
from sync.demo import bundled_calls
from sync.privacy import erasure as privacy
from sync.privacy.subjects import Subject
from sync.tasks import choices, selection
from tests.sync.persons import People

CALLS = Path(__file__).resolve().parents[3] / "ml_backend" / "bundled" / "calls" / "calls.json"


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    world = People(tmp_path)
    with world.context.db.transaction() as connection:
        world.project(connection)
    yield world
    world.context.db.dispose()


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A manifest of the first three calls."""
    some = json.loads(CALLS.read_text(encoding="utf-8"))[:3]
    for call in some:
        (tmp_path / call["file"]).write_bytes((CALLS.parent / call["file"]).read_bytes())
    (tmp_path / "calls.json").write_text(json.dumps(some), encoding="utf-8")
    return tmp_path / "calls.json"


def test_every_call_of_the_demo_becomes_a_drafted_task_and_is_not_selected_again(people: People, few: Path) -> None:
    ids = bundled_calls.bring_in(people.context, few, [1])
    outside = {"create-tasks", "push-predictions", "find-tasks"}  # they need a Label Studio
    assert {row.state for row in people.rows(tables.tasks)} == {"waiting"}
    assert bundled_calls.transcribed(people.context, ids) == 0
    runner.run_due(people.context, kinds={name: kind for name, kind in KINDS.items() if name not in outside})
    assert bundled_calls.transcribed(people.context, ids) == 3
    assert bundled_calls.choose(people.context, few, [1]) == 3
    assert bundled_calls.choose(people.context, few, [1]) == 0
    tasks = people.rows(tables.tasks)
    assert {(t.state, t.selection_probability) for t in tasks} == {("wanted", 1.0)}
    assert {t.usefulness for t in tasks} != {None}
    assert len(tasks) == len(ids) == len(people.rows(tables.predictions)) == 3
    assert people.rows(tables.jobs, name="select-recording") == []
    for recording_id in ids:
        selection.select_recording(people.context, recording_id)
    assert len(people.rows(tables.tasks)) == 3
    assert bundled_calls.bring_in(people.context, few, [1]) == ids
    assert len(people.rows(tables.tasks)) == 3


def test_a_demo_project_reviews_everything_unless_somebody_gave_it_rules(people: People, few: Path) -> None:
    bundled_calls.bring_in(people.context, few, [1])
    [project] = people.rows(tables.projects)
    policy = choices.policy_of(project.selection, people.context.settings)
    assert (policy.review, policy.audit_share, policy.overlap_share) == ("all", 0.0, 0.0)
    with people.context.db.transaction() as connection:
        connection.execute(sa.update(tables.projects).values(selection={"max_open": 3}))
    bundled_calls.bring_in(people.context, few, [1])
    assert people.rows(tables.projects)[0].selection == {"max_open": 3}
    assert job_kinds.INGEST_RECORDING.name in {row.name for row in people.rows(tables.jobs)}


def test_a_call_that_was_erased_does_not_come_back_with_the_next_start(people: People, few: Path) -> None:
    first = bundled_calls.read(few)[0]
    bundled_calls.bring_in(people.context, few, [])
    privacy.erase(people.context, Subject("call", first.call_sid), who="tester", busy_s=0)
    assert len(bundled_calls.bring_in(people.context, few, [])) == 2
    assert not any(first.call_sid in name for name in people.objects())
