"""What somebody who rates a voice sees and presses: a pair from the store in a real editor, in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ml_backend import tables
from tests.stack.browser import Annotator
from tests.sync.conftest import Service
from tests.sync.outside import OTHER_SPEECH, Outside
from tests.sync.tasks.test_ratings import feed

TEXT = "आपका ऑर्डर कल आएगा"

pytestmark = pytest.mark.browser


def test_a_voice_is_rated_with_one_key_for_each_question(service: Service, person: Annotator, tmp_path: Path) -> None:
    rating = service.project("tts")
    outside = Outside(service.context)
    outside.put("training-data", "tts/hi/ab12.wav", OTHER_SPEECH)
    outside.put("training-data", "tts/hi/ab12.txt", TEXT.encode())
    outside.scan("training-data")
    service.run_jobs()
    feed(service, rating.id)
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


def test_somebody_hears_both_voices_and_chooses_with_one_key(service: Service, person: Annotator) -> None:
    pairs = service.project("tts-pairs")
    outside = Outside(service.context)
    for version in ("one", "two"):
        outside.put("training-data", f"tts/hi/{version}-1.wav", OTHER_SPEECH + version.encode())
        outside.put("training-data", f"tts/hi/{version}-1.txt", TEXT.encode())
    outside.scan("training-data")
    service.run_jobs()
    feed(
        service, pairs.id, tts_voice_rules="training-data/tts/hi/one=version:one, training-data/tts/hi/two=version:two"
    )
    [row] = [task for task in service.rows(tables.tasks) if task.project_id == pairs.id]

    person.open_task(pairs.ls_project_id, row.ls_task_id)
    person.page.get_by_text(TEXT).first.wait_for(timeout=60_000)
    assert person.page.locator("audio").count() == 2
    for key in ("2", "q"):
        person.press(key)
    if folder := os.environ.get("KAAN_SCREENSHOTS"):
        person.screenshot(Path(folder) / "pairs.png")
    person.submit()

    [task] = service.there(pairs)
    assert task["data"]["audio"] != task["data"]["audio_b"]
    assert not any(version in str(task["data"]) for version in ("one-1", "two-1")), "nothing says who speaks"
    [annotation] = service.client.annotations(row.ls_task_id)
    chosen = {item["from_name"]: item["value"]["choices"] for item in annotation["result"]}
    assert chosen == {"better": ["B"], "why": ["naturalness"]}
