"""The task list's column says of a language whether detection was sure of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import tables
from tests.sync.label_studio.test_refusals import wanted
from tests.sync.redrafts import drafted


@pytest.mark.parametrize(
    ("asked", "probability", "shown"), [(None, 0.43, "en ?"), (None, 0.97, "en"), ("en", 0.43, "en")]
)
def test_a_guessed_language_is_marked_in_the_task_list(
    tmp_path: Path, asked: str | None, probability: float, shown: str
) -> None:
    with drafted(tmp_path / "data", 1) as world:
        found = {"decoding": {"language": asked}, "language_probability": probability}
        with world.context.db.transaction() as connection:
            connection.execute(sa.update(tables.transcriptions).values(**found))
        wanted(world)
        world.run("create-tasks")
        assert [task["data"]["language"] for task in world.studio.tasks.values()] == [shown]
