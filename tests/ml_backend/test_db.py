"""One way to insert, replace or keep a row, and one answer to which version of an annotation counts."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.tables import annotations, checkpoints, jobs, projects


def test_upsert_inserts_then_replaces_the_row_of_the_same_key(context):
    for number in (1, 2):
        with context.db.transaction() as connection:
            db.upsert(connection, checkpoints, {"name": "page", "position": {"at": number}}, key=("name",))
    [row] = context.db.rows(sa.select(checkpoints))
    assert (row.position, row.state) == ({"at": 2}, "running")


def test_upsert_changes_only_what_the_caller_says_and_gives_the_row(context):
    with context.db.transaction() as connection:
        for position in ({"at": 1}, {"at": 2}):
            row = db.upsert(
                connection,
                checkpoints,
                {"name": "page", "position": position, "state": "running"},
                key=("name",),
                change=lambda refused: {"state": "held"},
                returning=(checkpoints.c.position, checkpoints.c.state),
            )
    assert tuple(row) == ({"at": 1}, "held")


def test_a_row_outside_a_partial_index_is_no_conflict(context):
    values = {"name": "a", "queue": "sync", "arguments": {}, "priority": 1, "unique_key": "a:1"}
    open_ = sa.text("state IN ('waiting','queued')")
    with context.db.transaction() as connection:
        for state in ("done", "waiting", "waiting"):
            db.upsert(connection, jobs, {**values, "state": state}, key=("unique_key",), where=open_)
    assert sorted(context.db.scalars(sa.select(jobs.c.state))) == ["done", "waiting"]


def test_insert_missing_leaves_rows_that_are_there_and_gives_those_it_made(context):
    with context.db.transaction() as connection:
        one = {"name": "one", "position": {"at": 1}}
        assert db.insert_missing(connection, checkpoints, []) == []
        db.insert_missing(connection, checkpoints, [one])
        rows = [{**one, "position": {"at": 2}}, {"name": "two", "position": {"at": 2}}]
        made = db.insert_missing(connection, checkpoints, rows, returning=("name",))
    assert [row.name for row in made] == ["two"]
    assert context.db.scalars(sa.select(checkpoints.c.position).where(checkpoints.c.name == "one")) == [{"at": 1}]


@pytest.mark.parametrize(
    ("deleted", "counts"),
    [((), ["b"]), (("b",), ["a"]), (("a",), ["b"]), (("a", "b"), [])],
    ids=["the later", "the later was deleted", "the earlier was deleted", "all were deleted"],
)
def test_the_version_of_an_annotation_that_counts_is_the_latest_that_is_not_deleted(context, deleted, counts):
    begun = tables.now()
    with context.db.transaction() as connection:
        project_id, _ = db.insert_once(
            connection,
            projects,
            {"instance_url": "http://label-studio", "ls_project_id": 1},
            key=("instance_url", "ls_project_id"),
        )
        for number, text in enumerate("ab"):
            values = {
                "project_id": project_id,
                "ls_annotation_id": 7,
                "ls_updated_at": begun + timedelta(seconds=number),
                "result": [],
                "text": text,
                "deleted_at": begun if text in deleted else None,
            }
            connection.execute(sa.insert(annotations).values(**values))
    assert context.db.scalars(sa.select(annotations.c.text).where(tables.newest_version())) == counts
