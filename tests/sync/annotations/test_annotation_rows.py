"""What Label Studio has becomes rows, whatever it looks like; what is gone is marked, however much at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.labelling import labelconfig, rendering
from sync.annotations.annotation_rows import WEBHOOK, FoundAnnotation, keep, mark_deleted, mark_tasks_gone
from tests.servers import postgres
from tests.sync import offline

MANY = 70_000  # more than PostgreSQL takes as parameters of one statement


def test_more_tasks_and_annotations_than_one_statement_takes_are_deleted_at_once(tmp_path: Path) -> None:
    with postgres.running() as server:
        service = offline.opened(tmp_path, database_url=server.database())
        made = {"instance_url": "http://ls", "ls_project_id": 1}
        with service.context.db.transaction() as connection:
            project_id = connection.execute(sa.insert(tables.projects).values(**made)).inserted_primary_key[0]
            common = {"project_id": project_id, "ls_updated_at": tables.now(), "result": []}
            last = [{**common, "ls_annotation_id": MANY, "ls_task_id": 1}, {**common, "ls_annotation_id": 5}]
            last[1]["ls_task_id"] = MANY
            connection.execute(sa.insert(tables.annotations), last)
        assert mark_deleted(service.context, project_id, range(1, MANY + 1), before=tables.now()) == 2
        with service.context.db.transaction() as connection:
            connection.execute(sa.update(tables.annotations).values(deleted_at=None))
            task = {"project_id": project_id, "ls_task_id": MANY, "external_key": "k", "origin": "ours"}
            connection.execute(sa.insert(tables.tasks).values(**task, state="open"))
        mark_tasks_gone(service.context, project_id, range(1, MANY + 1))
        assert [row.state for row in service.context.db.rows(sa.select(tables.tasks))] == ["deleted"]
        assert all(row.deleted_at for row in service.context.db.rows(sa.select(tables.annotations)))
        service.context.db.dispose()


@pytest.mark.parametrize(("told", "kept"), [(12.5, 12.5), (0, 0.0), (-3, None), ("12", None), ({}, None), (True, None)])
def test_a_lead_time_that_is_none_keeps_no_annotation_out(tmp_path: Path, told: Any, kept: float | None) -> None:
    service = offline.opened(tmp_path)
    with service.context.db.transaction() as connection:
        made = {"instance_url": "http://ls", "ls_project_id": 1}
        connection.execute(sa.insert(tables.projects).values(**made))
        project = connection.execute(sa.select(tables.projects)).one()
        annotation = {"id": 3, "task": 4, "result": [], "lead_time": told, "updated_at": "2026-11-01T10:00:00Z"}
        assert keep(connection, project, None, FoundAnnotation(annotation, WEBHOOK, tables.now()))[1]
        assert connection.execute(sa.select(tables.annotations.c.lead_time_s)).scalar_one() == kept
    service.context.db.dispose()


def test_what_an_annotation_says_is_read_once_for_each_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = offline.opened(tmp_path)
    asks = {"id": "r", "from_name": "redraft", "to_name": "audio", "type": "choices", "value": {"choices": ["mr"]}}
    read: list[Any] = []
    real = rendering.to_reference

    def counted(result: Any, controls: Any) -> Any:
        read.append(result)
        return real(result, controls)

    monkeypatch.setattr(rendering, "to_reference", counted)
    with service.context.db.transaction() as connection:
        made = {"instance_url": "http://ls", "ls_project_id": 1, "label_config": labelconfig.read("calls")}
        project_id = connection.execute(sa.insert(tables.projects).values(**made)).inserted_primary_key[0]
        project = connection.execute(sa.select(tables.projects)).one()
        recording = {"source": "upload", "source_identity": "here"}
        recording_id = connection.execute(sa.insert(tables.recordings).values(**recording)).inserted_primary_key[0]
        values = {"project_id": project_id, "recording_id": recording_id, "external_key": "k", "origin": "ours"}
        connection.execute(sa.insert(tables.tasks).values(**values, ls_task_id=4, state="open"))
        task = connection.execute(sa.select(tables.tasks)).one()
        for _ in range(2):  # the same version, reported twice
            annotation = {"id": 3, "task": 4, "result": [asks], "updated_at": "2026-11-01T10:00:00Z"}
            keep(connection, project, task, FoundAnnotation(annotation, WEBHOOK, tables.now()))
    assert read == [[asks]]
    [row] = service.context.db.rows(sa.select(tables.annotations))
    assert (row.redraft, row.choices) == ("mr", {"redraft": ["mr"]})
    assert [job.name for job in service.waiting("draft-again")] == ["draft-again"]
    assert [task.state for task in service.context.db.rows(sa.select(tables.tasks))] == ["open"]
    service.context.db.dispose()
