"""Redrafting many open tasks costs each task once, and keeps no other writer waiting: counted, not timed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.jobs.schedules import projects_being_redrafted
from ml_backend.labelling import agent_channel
from sync.drafts import drafts
from tests.sync.redrafts import NEXT, Drafted, drafted


@contextmanager
def statements(world: Drafted) -> Iterator[list[str]]:
    """Every statement sent to the database meanwhile."""
    found: list[str] = []

    def sent(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        found.append(statement)

    sa.event.listen(world.context.db.engine, "before_cursor_execute", sent)
    try:
        yield found
    finally:
        sa.event.remove(world.context.db.engine, "before_cursor_execute", sent)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Drafted]:
    with drafted(tmp_path / "data", 60) as made:
        yield made


def counted(folder: Path, number: int, *, one_by_one: bool) -> int:
    """Statements of a whole redraft of so many open tasks."""
    with drafted(folder, number) as world:
        if not one_by_one:
            world.transcribe(*range(1, number + 1))
        world.promote()
        with statements(world) as sent:
            world.run("redraft-project")
            for each in range(1, number + 1) if one_by_one else ():
                world.arrive(each)
                world.run("redraft-project")
            for _ in range(4):
                world.run("push-predictions", "redraft-project")
        assert (world.project().draft_label, world.project().next_draft_label) == ("draft-2", None)
        assert world.drafted("draft-2") == number
    return len(sent)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_twice_as_many_open_tasks_cost_twice_as_much(tmp_path: Path, one_by_one: bool) -> None:
    few, many = (counted(tmp_path / str(number), number, one_by_one=one_by_one) for number in (30, 60))
    assert many < 2.4 * few, (few, many)


def test_no_transaction_of_a_redraft_writes_more_than_fifty_rows_of_work(world: Drafted) -> None:
    world.transcribe(*range(1, 51))
    world.promote()
    world.run("redraft-project")  # tests/transactions.py counts in every test
    assert (world.drafted("draft-2"), world.waiting("transcribe-recording")) == (50, 10)


def test_nothing_is_rendered_while_other_writers_wait(world: Drafted, monkeypatch: pytest.MonkeyPatch) -> None:
    from ml_backend.labelling import rendering

    held: list[bool] = []
    plain = rendering.to_prediction

    def watched(*arguments: Any, **options: Any) -> Any:
        with world.context.db.transaction(wait_s=5):  # would wait for ever for whoever renders
            held.append(False)
        return plain(*arguments, **options)

    world.transcribe(*range(1, 61))
    world.promote()
    monkeypatch.setattr(rendering, "to_prediction", watched)
    world.run("redraft-project")
    assert world.drafted("draft-2") == 60
    assert len(held) >= 60


def test_a_look_with_nothing_new_reads_no_task(world: Drafted) -> None:
    world.redraft()
    with statements(world) as sent:
        world.redraft()
    assert not [statement for statement in sent if "FROM tasks" in statement], "only the job and the project"
    assert world.project().next_draft_label is None


def test_a_transcription_that_never_came_is_asked_for_again(world: Drafted) -> None:
    world.promote()
    world.run("redraft-project")
    assert world.waiting("transcribe-recording") == 60
    with world.context.db.transaction() as connection:
        connection.execute(sa.update(tables.jobs).values(state="cancelled"))
    world.redraft()
    assert world.waiting("transcribe-recording") == 0, "each is asked for once"
    with world.context.db.reading() as connection:
        assert projects_being_redrafted(connection) == [{"project_id": world.project_id, "again": 1}]
    from sync.projects.redrafting import redraft_project

    redraft_project(world.context, world.project_id, again=1)
    assert world.waiting("transcribe-recording") == 60


def test_a_change_during_a_redraft_begins_the_next_label(world: Drafted) -> None:
    world.transcribe(*range(1, 31))
    world.promote()
    world.run("redraft-project")
    first = world.project().next_draft_label
    world.context.db.update(tables.projects, world.project_id, config_sha256="another")
    world.redraft()
    assert (first, world.project().next_draft_label) == ("draft-2", "draft-3")
    assert world.drafted("draft-3") == 30


def test_tasks_that_cannot_be_transcribed_hold_nobody_up(world: Drafted) -> None:
    world.transcribe(*range(2, 61))
    world.promote()
    world.run("redraft-project")
    lost = {"reason_code": "audio-missing", "reason": "It is gone."}
    world.context.db.update(tables.tasks, 1, **lost)
    world.redraft()
    for _ in range(4):
        world.run("push-predictions", "redraft-project")
    assert world.project().draft_label == "draft-2"
    mine = sa.select(tables.predictions.c.model_version).where(tables.predictions.c.draft_label == "draft-2")
    assert {row.model_version for row in world.context.db.rows(mine)} == {NEXT}


def test_a_leg_that_becomes_known_is_a_change(world: Drafted) -> None:
    world.redraft()
    with world.context.db.transaction() as connection:
        agent_channel.set_agent_channel(connection, "0123456789abcdef01234567-01", 1)
    with statements(world) as sent:
        world.run("redraft-project")
    assert [statement for statement in sent if "FROM tasks" in statement], "drafts are compared"
    assert world.project().next_draft_label is None, "and are the same: there is one leg"


def test_a_blind_task_shows_its_empty_regions_under_the_next_label_too(world: Drafted) -> None:
    """Label Studio shows what is under the label in force only."""
    world.context.db.update(tables.recordings, 1, speech=[[0.5, 2.0, 0], [3.0, 4.0, 0]])
    with world.context.db.transaction() as connection:
        connection.execute(sa.delete(tables.predictions).where(tables.predictions.c.task_id == 1))
        connection.execute(sa.update(tables.tasks).where(tables.tasks.c.id == 1).values(blind=True))
        drafts.draft_recording(connection, world.context.settings, 1, world.first.version)
    world.transcribe(*range(1, 61))
    world.promote()
    for _ in range(4):
        world.run("redraft-project", "push-predictions")
    assert (world.project().draft_label, world.project().next_draft_label) == ("draft-2", None)
    task = world.row(tables.tasks, 1)
    shown = [one for one in world.studio.predictions.values() if one["task"] == task.ls_task_id]
    places = {one["model_version"]: [item["value"]["start"] for item in one["result"]] for one in shown}
    assert places["draft-2"] == [0.5, 3.0]
    assert {item["type"] for one in shown for item in one["result"]} == {"labels"}
