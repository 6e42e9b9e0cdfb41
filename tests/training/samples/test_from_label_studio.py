"""From what Label Studio has, over the row we keep of it, to samples: the same words, times and legs."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.asr.transcript import Segment, Transcript, Word
from ml_backend.jobs import enqueueing
from ml_backend.labelling import labelconfig, rendering
from ml_backend.tables import annotations, predictions, projects, tasks
from sync.annotations.annotation_rows import WEBHOOK, FoundAnnotation, keep
from tests.training.samples.conftest import World, words_of
from training.samples.sampling import sample_task

SAID = "नमस्ते मेरा ऑर्डर अभी तक नहीं आया है कृपया देखकर बता दीजिए कब तक आएगा मुझे जल्दी चाहिए धन्यवाद आपका जी"


def drafted(world: World, config: str) -> int:
    """A task of 45 seconds with our draft, as Label Studio has it."""
    task_id = world.task(length_s=45.0)
    words = tuple(Word(a, b, t, 0.9) for a, b, t in words_of(SAID, each_s=1.2, pause_s=3.0))
    segments = (
        Segment(0.0, words[8].end_s, " ".join(w.text for w in words[:9]), 0, 0.8, words[:9]),
        Segment(words[9].start_s, words[-1].end_s, " ".join(w.text for w in words[9:]), 0, 0.8, words[9:]),
    )
    transcript = Transcript(segments, "hi", 0.99, 45.0, 0.8, "v1")
    row = world.context.db.row(tasks, task_id)
    heard = world._insert(
        tables.transcriptions, recording_id=row.recording_id, audio_sha256="a" * 64, model_version="v1",
        decoding_hash="h", decoding={}, language="hi", language_probability=0.99, text=transcript.text,
        transcript=transcript.to_json(), confidence=0.8, duration_s=45.0,
    )  # fmt: skip
    body = rendering.to_prediction(
        transcript, labelconfig.parse(labelconfig.read(config)), draft_label="draft-1", duration_s=45.0
    )
    world._insert(
        predictions, task_id=task_id, project_id=world.project_id, transcription_id=heard, draft_label="draft-1",
        model_version="v1", config_sha256="", body=json.dumps(body), score=0.8, delivered_by="push", ls_prediction_id=9,
    )  # fmt: skip
    return task_id


def submitted(world: World, task_id: int, result: list[Any]) -> None:
    """The annotation comes in as from the API, and the job it asks for runs."""
    found = {
        "id": 31, "task": task_id, "completed_by": 3, "result": result, "parent_prediction": 9,
        "created_at": "2026-11-01T10:00:00Z", "updated_at": "2026-11-01T10:00:00Z", "lead_time": 40.0,
    }  # fmt: skip
    with world.context.db.transaction() as connection:
        project = connection.execute(sa.select(projects).where(projects.c.id == world.project_id)).one()
        task = connection.execute(sa.select(tasks).where(tasks.c.id == task_id)).one()
        keep(connection, project, task, FoundAnnotation(found, WEBHOOK, tables.now()))
    [job] = enqueueing.find(world.context.db, names=["sample-task"])
    sample_task(world.context, **job.arguments)


@pytest.mark.parametrize("config", ["calls", "original"])
def test_a_corrected_draft_becomes_samples_that_say_what_the_person_wrote(world: World, config: str) -> None:
    world.project(label_config=labelconfig.read(config), config_sha256="")
    task_id = drafted(world, config)
    [prediction] = world.context.db.rows(sa.select(predictions).where(predictions.c.task_id == task_id))
    drafted_result = json.loads(prediction.body)["result"]
    result = json.loads(json.dumps(drafted_result, ensure_ascii=False).replace("ऑर्डर", "आर्डर"))
    assert result != drafted_result
    submitted(world, task_id, result)
    rows = world.context.db.rows(sa.select(tables.samples).order_by(tables.samples.c.number))
    assert {row.state for row in rows} == {"accepted"}
    assert len(rows) >= 2
    assert " ".join(row.text for row in rows) == SAID.replace("ऑर्डर", "आर्डर")
    assert all(0 < row.end_s - row.start_s <= 30 for row in rows)
    [kept] = world.context.db.rows(sa.select(annotations))
    assert (kept.measures["words"], kept.measures["word_edits"], kept.measures["unchanged"]) == (21, 1, False)


def test_what_is_written_into_the_empty_regions_of_a_blind_task_was_written_from_nothing(world: World) -> None:
    world.project(config_sha256="")
    task_id = world.task(length_s=20.0, blind=True)
    body = rendering.to_empty_regions(
        [[0.5, 4.0, 0]], labelconfig.parse(labelconfig.read("calls")), draft_label="draft-1", duration_s=20.0
    )
    assert body is not None
    world._insert(
        predictions, task_id=task_id, project_id=world.project_id, draft_label="draft-1", model_version="none",
        config_sha256="", body=json.dumps(body), reason_code="blind", delivered_by="push", ls_prediction_id=9,
    )  # fmt: skip
    [region] = body["result"]
    said = {**region, "from_name": "transcription", "type": "textarea"}
    said["value"] = {**{k: region["value"][k] for k in ("start", "end", "channel")}, "text": ["नमस्ते जी"]}
    language = {"id": "l", "from_name": "language", "to_name": "audio", "type": "choices", "value": {"choices": ["hi"]}}
    submitted(world, task_id, [region, said, language])
    [kept] = world.context.db.rows(sa.select(annotations))
    assert (kept.edited, kept.draft, kept.prediction_id) == ("manual", None, None)
    [sample] = world.context.db.rows(sa.select(tables.samples))
    assert (sample.text, sample.start_s, sample.blind, sample.state) == ("नमस्ते जी", 0.5, True, "accepted")
