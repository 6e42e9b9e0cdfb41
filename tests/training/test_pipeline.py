"""A request to train becomes a finished job that says how much corrected material there is."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from ml_backend import db, jobs, tables
from ml_backend.context import open_context
from ml_backend.running import runner
from ml_backend.settings import Settings


def test_a_request_to_train_counts_the_usable_corrections_of_its_project(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path)
    db.upgrade(settings.database)
    context = open_context(settings)
    at = tables.now()
    with context.db.transaction() as connection:
        for number in (1, 2):
            project = {"instance_url": "http://ls", "ls_project_id": number}
            connection.execute(sa.insert(tables.projects).values(**project))
        for number, (project_id, text, more) in enumerate(
            (
                (1, "नमस्ते", {}),
                (1, "hello", {}),
                (1, "", {}),
                (1, "skipped", {"skipped": True}),
                (1, "deleted", {"deleted_at": at}),
                (2, "another project", {}),
            )
        ):
            annotation = {"project_id": project_id, "ls_annotation_id": number, "ls_updated_at": at, "result": []}
            connection.execute(sa.insert(tables.annotations).values(text=text, **annotation, **more))
        job_id = jobs.enqueue(connection, jobs.TRAIN, project_id=1)

    assert not runner.run_due(context).failed

    job = jobs.show(context.db, job_id)
    assert job.state == "done"
    assert "2 accepted corrections" in str(job.progress)
    context.db.dispose()
