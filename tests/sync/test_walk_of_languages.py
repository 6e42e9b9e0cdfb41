"""A call of each language that came through the table alone, from its recording to its sample."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.asr.engine import Transcriber
from ml_backend.asr.transcript import Segment, Transcript, Word
from ml_backend.jobs import enqueueing, job_kinds, runner
from ml_backend.labelling import labelconfig
from ml_backend.serving import default_model
from sync.annotations.annotation_rows import FoundAnnotation, keep
from sync.projects.attachment import SCRIPT_POLICY
from sync.recordings.originals import keep_original
from tests.sync import offline
from tests.sync.offline import Offline
from training.samples.sampling import sample_task
from training.scoring.error_counts import count
from training.text.readings import NUMBER_CANONICAL

AUDIO = Path(__file__).parents[1] / "fixtures" / "audio"  # of espeak-ng's voices ta and bn
CALLS = {
    "ta": ("வணக்கம் எனக்கு நூற்று இருபது ரூபாய் refund வேண்டும்", "வணக்கம் எனக்கு ₹௧௨௦ refund வேண்டும்"),
    "bn": ("নমস্কার আমার একশো কুড়ি টাকা refund চাই", "নমস্কার আমার ₹১২০ refund চাই"),
}
IN_OWN_SCRIPT = {"ta": ("ரீஃபண்ட்", "Taml"), "bn": ("রিফান্ড", "Beng")}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Offline]:
    made = offline.opened(tmp_path, audit_share=0.0, overlap_share=0.0, blind_share=0.0, languages="ta,bn,en")
    default_model.ensure(made.context)
    yield made
    made.context.db.dispose()


def decoder(monkeypatch: pytest.MonkeyPatch, text: str, language: str) -> None:
    """The speech model writes this, whatever is said."""

    of_its_own = Transcriber.transcribe

    def transcribe(self: Transcriber, requests: Any) -> Any:
        if not requests[0].key.isdigit():
            return of_its_own(self, requests)  # its self-check
        words = tuple(Word(0.3 + 0.5 * n, 0.7 + 0.5 * n, word, 0.9) for n, word in enumerate(text.split()))
        said = (Segment(0.2, 4.0, text, 0, 0.8, words),)
        return [Transcript(said, language, 0.6, 4.1, 0.8, self.model_version) for _ in requests]

    monkeypatch.setattr(Transcriber, "transcribe", transcribe)


def walk(world: Offline, name: str) -> int:
    """A recording, and the jobs that bring it to its task; gives its id."""
    recording = world.recording(world.call())
    world.update(recording, **keep_original(world.context, recording, AUDIO / name, extension="ogg"))
    with world.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.INGEST_RECORDING, key=str(recording.id), recording_id=recording.id)
    for _ in range(20):
        due = [
            job
            for kind in ("ingest-recording", "transcribe-recording", "select-recording", "draft-recording")
            for job in world.waiting(kind)
        ]
        for job in due:
            assert not [one for one in runner.Runner(world.context).run(job.id) if one.state == "failed"]
        if not due:
            break
    return int(recording.id)


def submit(world: Offline, task: Any, result: list[Any]) -> Any:
    """An annotation comes in, and its task is sampled; gives the annotation's row."""
    world.context.db.update(tables.tasks, task.id, ls_task_id=1, state="open")
    found = {
        "id": 7, "task": 1, "completed_by": 3, "result": result,
        "created_at": "2026-11-01T10:00:00Z", "updated_at": "2026-11-01T10:00:00Z", "lead_time": 20.0,
    }  # fmt: skip
    with world.context.db.transaction() as connection:
        project = connection.execute(sa.select(tables.projects)).one()
        task = connection.execute(sa.select(tables.tasks).where(tables.tasks.c.id == task.id)).one()
        keep(connection, project, task, FoundAnnotation(found, "webhook", tables.now()))
    sample_task(world.context, task.id)
    [row] = world.context.db.rows(sa.select(tables.annotations))
    return row


@pytest.mark.parametrize("language", CALLS)
@pytest.mark.parametrize("mixed", [True, False])
def test_a_call_walks_from_its_recording_to_its_sample(
    world: Offline, monkeypatch: pytest.MonkeyPatch, language: str, mixed: bool
) -> None:
    said, in_digits = CALLS[language]
    if not mixed:
        said, in_digits = (text.replace("refund", IN_OWN_SCRIPT[language][0]) for text in (said, in_digits))
    xml = labelconfig.read("calls", labelconfig.offered_by(world.context.settings))
    world._insert(
        tables.projects,
        {
            "instance_url": "http://ls", "ls_project_id": 1, "state": "attached", "label_config": xml,
            "selection": {"review": "all"}, "routing": {"language": [language]}, "script_policy": SCRIPT_POLICY,
        },
    )  # fmt: skip
    decoder(monkeypatch, said, language)
    recording = world.row(tables.recordings, walk(world, f"{language}.ogg"))
    assert (recording.language, recording.language_by) == (language, "detected")
    [task] = world.context.db.rows(sa.select(tables.tasks))
    name = {"ta": "Tamil", "bn": "Bengali"}[language]
    assert f"check the language: {name} is a guess" in task.status_line
    [prediction] = world.context.db.rows(sa.select(tables.predictions))
    result = json.loads(prediction.body)["result"] if isinstance(prediction.body, str) else prediction.body["result"]
    chosen = {item["from_name"]: item["value"]["choices"] for item in result if item["type"] == "choices"}
    assert (chosen["language"], chosen["script"]) == ([language], ["mixed"])
    written = submit(world, task, result)
    assert (written.text, written.language, written.script) == (said, language, "Mixed")
    [sample] = world.context.db.rows(sa.select(tables.samples))
    script = "Mixed" if mixed else IN_OWN_SCRIPT[language][1]
    assert (sample.text, sample.language, sample.script, sample.state) == (said, language, script, "accepted")
    counted = count(sample.text, in_digits, normaliser=NUMBER_CANONICAL, language=sample.language)
    assert counted.word_edits.total == 0


@pytest.mark.parametrize("language", CALLS)
def test_words_of_the_language_in_the_wrong_script_are_left_out(
    world: Offline, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    xml = labelconfig.read("calls", labelconfig.offered_by(world.context.settings))
    world._insert(
        tables.projects,
        {
            "instance_url": "http://ls", "ls_project_id": 1, "state": "attached", "label_config": xml,
            "selection": {"review": "all"}, "script_policy": SCRIPT_POLICY,
        },
    )  # fmt: skip
    decoder(monkeypatch, "मेरा ऑर्डर अभी तक नहीं आया", language)
    walk(world, f"{language}.ogg")
    [task] = world.context.db.rows(sa.select(tables.tasks))
    [prediction] = world.context.db.rows(sa.select(tables.predictions))
    result = json.loads(prediction.body)["result"] if isinstance(prediction.body, str) else prediction.body["result"]
    submit(world, task, result)
    [sample] = world.context.db.rows(sa.select(tables.samples))
    assert (sample.state, sample.reason_code) == ("excluded", "script")
