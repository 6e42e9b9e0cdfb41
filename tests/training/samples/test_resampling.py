"""Nothing that people wrote stays without a decision."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.jobs import enqueueing, schedules
from ml_backend.tables import annotations
from tests.training.samples.conftest import World
from training.samples.sampling import sample_project


def waiting(world: World) -> list[int]:
    rows = enqueueing.find(world.context.db, names=["sample-task"], states=["waiting"])
    return sorted(row.arguments["task_id"] for row in rows)


def test_a_changed_rule_decides_every_annotated_task_anew(world: World) -> None:
    done, bare, deleted = world.task(), world.task(), world.task()
    world.annotate(done, "एक बात")
    world.annotate(deleted, "एक बात", deleted_at=tables.now())
    world.sample(done)
    sample_project(world.context, world.project_id, everything=1)
    assert waiting(world) == [done]
    assert bare not in waiting(world)


def test_what_was_missed_is_found_and_what_was_done_is_left_alone_on_postgresql(world_on_postgresql: World) -> None:
    test_what_was_missed_is_found_and_what_was_done_is_left_alone(world_on_postgresql)


def test_what_was_missed_is_found_and_what_was_done_is_left_alone(world: World) -> None:
    done, missed = world.task(), world.task()
    world.annotate(done, "पुरानी", ls_annotation_id=7)
    world.annotate(done, "नई", ls_annotation_id=7)
    world.sample(done)
    made = world.annotate(missed, "एक बात")

    def due() -> list[dict[str, int]]:
        with world.context.db.reading() as connection:
            return schedules.projects_with_annotations_not_sampled(connection)

    assert due() == []  # it may be under way
    with world.context.db.transaction() as connection:
        before = tables.now() - timedelta(hours=1)
        connection.execute(sa.update(annotations).values(created_at=before))
    assert due() == [{"project_id": world.project_id, "everything": 0}]
    sample_project(world.context, world.project_id, everything=0)
    assert waiting(world) == [missed]
    world.sample(missed)
    assert world.context.db.row(annotations, made).measures
    assert due() == []
