"""What somebody who rates a voice sees and presses: a pair from the store in a real editor, in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ml_backend import tables
from ml_backend.jobs import enqueueing, job_kinds
from tests.stack.browser import Annotator
from tests.sync.conftest import Service
from tests.sync.outside import OTHER_SPEECH, Outside

TEXT = "आपका ऑर्डर कल आएगा"

pytestmark = pytest.mark.browser


def test_a_voice_is_rated_with_one_key_for_each_question(service: Service, person: Annotator, tmp_path: Path) -> None:
    rating = service.project("tts")
    outside = Outside(service.context)
    outside.put("training-data", "tts/hi/ab12.wav", OTHER_SPEECH)
    outside.put("training-data", "tts/hi/ab12.txt", TEXT.encode())
    outside.scan("training-data")
    service.run_jobs()
    with service.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.FEED_RATINGS, key=str(rating.id), project_id=rating.id)
    service.run_jobs()
    [row] = service.rows(tables.tasks)

    person.open_task(rating.ls_project_id, row.ls_task_id)
    person.page.get_by_text(TEXT).first.wait_for(timeout=60_000)
    person.page.get_by_text("Naturalness").first.wait_for()
    for key in ("4", "r", "s", "v"):
        person.press(key)
    if folder := os.environ.get("KAAN_SCREENSHOTS"):
        person.screenshot(Path(folder) / "rating.png")
    person.submit()

    [annotation] = service.client.annotations(row.ls_task_id)
    chosen = {item["from_name"]: item["value"]["choices"] for item in annotation["result"]}
    assert chosen == {"naturalness": ["4"], "pronunciation": ["4"], "emotion": ["2"], "faults": ["noise"]}
    assert all(item["type"] == "choices" for item in annotation["result"])
