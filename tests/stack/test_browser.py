"""What the annotator sees: the transcript on screen, corrected, submitted, and then in our database."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.db import Database
from tests.patience import until
from tests.stack import browser
from tests.stack.running import texts

pytestmark = [pytest.mark.stack, pytest.mark.browser]


@pytest.mark.parametrize("config", ["original", "calls"])
def test_a_person_sees_the_draft_corrects_it_and_the_correction_is_ours(stack, chromium, config, tmp_path):
    project_id = stack.project(config)
    tasks = [t for t in stack.label_studio.tasks(project_id) if texts(t["predictions"]) and not t["annotations"]]
    task = min(tasks, key=lambda task: len(texts(task["predictions"])))
    with browser.annotator(stack.label_studio.url, stack.facts["user"], stack.password) as person:
        person.open_task(project_id, task["id"])
        person.wait_for_text()
        shown = person.texts()
        assert " ".join(shown).split() == texts(task["predictions"]).split()
        person.correct("corrected by hand")
        person.screenshot(tmp_path / f"{config}.png")
        stored = person.submit()
    assert "corrected by hand" in texts([stored])

    database = Database(stack.settings["DATABASE_URL"])
    try:
        mine = sa.select(tables.annotations).where(tables.annotations.c.ls_annotation_id == stored["id"])
        (row,) = until(lambda: database.rows(mine), "the annotation is in our database", within_s=120, every_s=0.5)
    finally:
        database.dispose()
    assert "corrected by hand" in row.text
    assert row.prediction_id is not None, "it is known which draft the person started from"
    assert not row.skipped
