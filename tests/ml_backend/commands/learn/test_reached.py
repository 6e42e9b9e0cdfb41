"""What `learn` finds when it is started again."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
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
