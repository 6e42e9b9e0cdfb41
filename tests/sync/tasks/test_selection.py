"""Transcription -> Task or the reason why not, on a real database; Label Studio is not needed to decide."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.asr.transcript import Segment, Transcript
from ml_backend.calls import ledger
from ml_backend.calls.events import CallEvent
from ml_backend.context import JobContext, open_context
from ml_backend.jobs.schedules import projects_with_tasks_to_make, projects_with_waiting_work
from ml_backend.labelling import labelconfig
from ml_backend.models import registry
from ml_backend.serving import default_model
from ml_backend.settings import Settings
from ml_backend.usefulness.task_worth import WorthFacts, worth_of
from ml_backend.usefulness.team_model import PRIOR
from sync.annotations.annotation_rows import FoundAnnotation, keep
from sync.drafts.decoding_choice import profile_of
from sync.recordings import recording_language
from sync.tasks import selection
from tests.ledger_rules import violations

SURE, UNSURE, SILENT = 0.97, 0.4, None


class World:
    """A database with one attached project, into which heard calls are put."""

    def __init__(self, context: JobContext) -> None:
        self.context, self.calls = context, 0
        self.version = registry.champion(context).version
        self.project = self.add_project()

    def add_project(self, number: int = 1, **values: Any) -> int:
        known = {
            "instance_url": "http://ls", "ls_project_id": number, "state": "attached",
            "label_config": labelconfig.read("calls"), "config_sha256": "c", **values,
        }  # fmt: skip
        return self._insert(tables.projects, known)

    def heard(self, confidence: float | None, *, quality: float = 0.9, call: bool = True, **values: Any) -> int:
        """A recording (of a call) that was transcribed; gives its id."""
        self.calls += 1
        name, call_id = f"sid{self.calls}", None
        if call:
            with self.context.db.transaction() as connection:
                event = CallEvent(name, "listing", status="completed", recording_url=f"https://r/{name}.mp3")
                call_id = ledger.record(connection, event, key=b"k" * 32).id
                connection.execute(sa.delete(tables.recordings).where(tables.recordings.c.call_id == call_id))
        sha = values.pop("sha256", name.rjust(64, "0"))
        heard_before = values.pop("heard_before", False)
        known = {
            "source": "exotel", "source_identity": f"exotel:{name}:a.mp3", "call_id": call_id, "call_sid": name,
            "state": "ready", "sha256": sha, "derived_key": f"derived/{name}/audio.wav", "duration_s": 8.0,
            "object_key": f"recordings/{name}.mp3", "bucket": "call-recordings", "quality_score": quality,
            "quality": {"label": "good", "parts": {}}, **values,
        }  # fmt: skip
        recording_id = self._insert(tables.recordings, known)
        if heard_before:
            return recording_id
        said = () if confidence is None else (Segment(0.5, 2.0, "namaste", confidence=confidence),)
        heard = Transcript(said, "hi", 0.9, 8.0, confidence or 0.0, self.version)
        profile = profile_of(None, self.context.settings).decoding
        self._insert(tables.transcriptions, {
            "recording_id": recording_id, "audio_sha256": sha, "model_version": self.version,
            "decoding_hash": profile.digest(), "decoding": asdict(profile), "language": heard.language,
            "text": heard.text, "transcript": heard.to_json(), "confidence": heard.confidence, "duration_s": 8.0,
        })  # fmt: skip
        with self.context.db.transaction() as connection:
            recording_language.settle(connection, recording_id)  # as the job does that transcribes
        return recording_id

    def select(self, *recording_ids: int) -> None:
        for recording_id in recording_ids:
            selection.select_recording(self.context, recording_id)

    def rows(self, table: sa.Table, **wanted: Any) -> list[Any]:
        return list(self.context.db.rows(sa.select(table).order_by(sa.literal_column("id")).filter_by(**wanted)))

    def call(self, recording_id: int) -> Any:
        [recording] = self.rows(tables.recordings, id=recording_id)
        return self.rows(tables.calls, id=recording.call_id)[0]

    def change(self, table: sa.Table, row_id: int, **values: Any) -> None:
        self.context.db.update(table, row_id, **values)

    def _insert(self, table: sa.Table, values: dict[str, Any]) -> int:
        with self.context.db.transaction() as connection:
            return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    settings = Settings(
        _env_file=None, data_dir=tmp_path, label_studio_url="http://ls", audit_share=0.0, overlap_share=0.0
    )
    db.upgrade(settings.database)
    context = open_context(settings)
    default_model.ensure(context)
    yield World(JobContext(context.settings, context.db, context.store))
    context.db.dispose()


def test_a_clear_call_the_model_is_unsure_of_becomes_a_drafted_task_and_its_call_says_so(world: World) -> None:
    recording = world.heard(UNSURE)
    world.select(recording)

    [task] = world.rows(tables.tasks)
    assert (task.state, task.selection_reason, task.selection_probability) == ("wanted", "review", 1.0)
    worth = worth_of(PRIOR, WorthFacts("hi", UNSURE, ("namaste",), 8.0, 0.9))
    assert (task.usefulness, task.usefulness_reason) == (worth.usefulness, worth.reason)
    assert "About 1 of 1 words may be wrong" in task.usefulness_reason
    assert task.expected["error"] == pytest.approx(0.6)
    [prediction] = world.rows(tables.predictions)
    assert "namaste" in prediction.body
    assert "create-tasks" in {job.name for job in world.rows(tables.jobs)}
    assert (world.call(recording).state, world.call(recording).next_action) == ("tasked", None)


@pytest.mark.parametrize(
    ("confidence", "quality", "code"),
    [(SURE, 0.9, "confident"), (UNSURE, 0.2, "low-quality"), (SILENT, 0.9, "no-speech")],
)
def test_what_is_not_chosen_is_kept_and_the_call_says_why(
    world: World, confidence: float | None, quality: float, code: str
) -> None:
    recording = world.heard(confidence, quality=quality)
    world.select(recording)

    assert world.rows(tables.tasks) == []
    call = world.call(recording)
    assert (call.state, call.reason_code) == ("kept", code)
    assert call.reason.endswith(".")
    assert world.rows(tables.recordings, id=recording)[0].reason == call.reason


def test_selecting_again_changes_nothing(world: World) -> None:
    recordings = [world.heard(UNSURE), world.heard(SURE)]
    world.select(*recordings)
    before = [world.rows(table) for table in (tables.tasks, tables.predictions, tables.calls)]
    world.select(*recordings, *recordings)

    after = [world.rows(table) for table in (tables.tasks, tables.predictions, tables.calls)]
    assert [[row.id for row in rows] for rows in after] == [[row.id for row in rows] for rows in before]
    assert [call.state for call in after[2]] == ["tasked", "kept"]


def test_our_own_synthetic_voice_never_becomes_a_speech_recognition_task(world: World) -> None:
    world.change(tables.projects, world.project, selection={"review": "all"})
    recording = world.heard(UNSURE, synthetic=True)
    world.select(recording)

    assert world.rows(tables.tasks) == []
    assert world.call(recording).reason_code == "synthetic-voice"


def test_a_call_never_goes_to_a_project_of_texts(world: World) -> None:
    world.change(tables.projects, world.project, label_config=labelconfig.read("nlu"))
    waiting, taken = world.heard(UNSURE), world.heard(UNSURE)
    world.select(waiting)
    assert world.rows(tables.tasks) == []
    calls = world.add_project(2)
    world.select(taken)
    assert [(task.project_id, task.recording_id) for task in world.rows(tables.tasks)] == [(calls, taken)]


@pytest.mark.parametrize("copy_first", [True, False])
def test_a_copy_of_audio_that_is_a_task_makes_no_second_one(world: World, copy_first: bool) -> None:
    first = world.heard(UNSURE, call=not copy_first)
    world.select(first)
    sha = world.rows(tables.recordings, id=first)[0].sha256
    second = world.heard(UNSURE, call=copy_first, sha256=sha, heard_before=True)
    world.select(second)
    assert len(world.rows(tables.tasks)) == 1
    assert world.rows(tables.recordings, id=second)[0].reason_code == "kept-same-audio"


def test_two_calls_that_sound_the_same_are_two_tasks(world: World) -> None:
    first = world.heard(UNSURE)
    sha = world.rows(tables.recordings, id=first)[0].sha256
    world.select(first, world.heard(UNSURE, sha256=sha, heard_before=True))
    assert len(world.rows(tables.tasks)) == 2


def test_a_blind_task_has_no_draft_and_the_probability_of_its_draw(world: World) -> None:
    world.change(tables.projects, world.project, selection={"audit_share": 0.8, "blind_share": 1.0})
    recordings = [world.heard(SURE) for _ in range(12)]
    world.select(*recordings)

    tasks = world.rows(tables.tasks)
    assert 5 <= len(tasks) <= 12
    assert {(t.selection_reason, t.blind, round(t.selection_probability, 6)) for t in tasks} == {("blind", True, 0.8)}
    assert {p.body for p in world.rows(tables.predictions)} == {"[]"}


def test_a_project_that_reviews_everything_takes_silence_and_noise_too(world: World) -> None:
    world.change(tables.projects, world.project, selection={"review": "all"})
    world.select(world.heard(SURE), world.heard(UNSURE, quality=0.1), world.heard(SILENT))

    tasks = world.rows(tables.tasks)
    assert [(t.selection_reason, t.selection_probability) for t in tasks] == [("all", 1.0)] * 3


def test_beyond_the_cap_tasks_wait_and_the_most_useful_goes_first_when_there_is_room(world: World) -> None:
    world.change(tables.projects, world.project, selection={"max_open": 2})
    recordings = [world.heard(confidence) for confidence in (0.5, 0.6, 0.8, 0.3)]
    world.select(*recordings)

    assert [t.state for t in world.rows(tables.tasks)] == ["wanted", "wanted", "waiting", "waiting"]
    waiting = world.call(recordings[2])
    assert (waiting.state, waiting.next_action, waiting.reason_code) == ("heard", "select", "project-full")
    assert waiting.due_at is not None
    assert "2 open tasks" in waiting.reason

    selection.take_up_waiting(world.context, world.project)
    assert [t.state for t in world.rows(tables.tasks)] == ["wanted", "wanted", "waiting", "waiting"], "no room yet"

    world.change(tables.tasks, world.rows(tables.tasks)[0].id, state="annotated")
    with world.context.db.reading() as connection:
        assert projects_with_waiting_work(connection) == [{"project_id": world.project}]
    selection.take_up_waiting(world.context, world.project)
    assert [t.state for t in world.rows(tables.tasks)] == ["annotated", "wanted", "waiting", "wanted"]
    assert world.call(recordings[3]).state == "tasked"
    assert len(world.rows(tables.predictions)) == 3, "drafted when it is let in"


def test_a_finished_task_makes_room_at_once(world: World) -> None:
    world.change(tables.projects, world.project, selection={"max_open": 1})
    world.select(world.heard(0.5), world.heard(0.3))
    first = world.rows(tables.tasks)[0]
    world.change(tables.tasks, first.id, state="open", ls_task_id=7)
    [project], [task] = world.rows(tables.projects), world.rows(tables.tasks, id=first.id)
    found = FoundAnnotation({"id": 1, "task": 7, "result": [], "completed_by": 1}, "webhook", tables.now())
    with world.context.db.transaction() as connection:
        keep(connection, project, task, found)
    assert [job.arguments for job in world.rows(tables.jobs, name="take-up-waiting")] == [{"project_id": world.project}]


def test_a_call_that_no_project_takes_waits_for_one(world: World) -> None:
    world.change(tables.projects, world.project, state="detached")
    recording = world.heard(UNSURE)
    world.select(recording)
    call = world.call(recording)
    assert (call.state, call.reason_code, call.next_action) == ("heard", "no-project", "select")

    later = world.add_project(2)
    with world.context.db.reading() as connection:
        assert projects_with_waiting_work(connection) == [{"project_id": later}]
    selection.take_up_waiting(world.context, later)
    assert [job.arguments for job in world.rows(tables.jobs, name="select-recording")] == [{"recording_id": recording}]
    world.select(recording)
    assert world.call(recording).state == "tasked"
    assert world.rows(tables.recordings, id=recording)[0].reason_code is None


def test_a_call_that_waits_for_a_project_is_not_bothered_by_one_whose_rule_refuses_it(world: World) -> None:
    world.change(tables.projects, world.project, routing={"language": ["mr"]})
    recording = world.heard(UNSURE)
    world.select(recording)
    call = world.call(recording)
    world.change(tables.calls, call.id, due_at=tables.now() - timedelta(hours=2))
    selection.take_up_waiting(world.context, world.project)
    assert world.rows(tables.jobs, name="select-recording") == []
    assert world.call(recording).due_at > tables.now(), "it was looked at"


def test_a_selection_whose_job_was_lost_is_made_up_for(world: World) -> None:
    recording = world.heard(UNSURE)
    with world.context.db.transaction() as connection:
        ledger.recording_moved(connection, recording)
    assert (world.call(recording).state, world.call(recording).next_action) == ("heard", "select")
    world.change(tables.calls, world.call(recording).id, due_at=tables.now() - timedelta(hours=1))
    with world.context.db.reading() as connection:
        assert projects_with_waiting_work(connection) == [{"project_id": world.project}]
    selection.take_up_waiting(world.context, world.project)
    assert [job.arguments for job in world.rows(tables.jobs, name="select-recording")] == [{"recording_id": recording}]


def test_the_first_project_whose_rule_fits_takes_the_call(world: World) -> None:
    world.change(tables.projects, world.project, routing={"source": ["object"]})
    other = world.add_project(2)
    world.select(world.heard(UNSURE))
    assert [task.project_id for task in world.rows(tables.tasks)] == [other]


def test_a_long_call_is_chosen_piece_by_piece_and_each_draft_tells_time_from_its_own_start(world: World) -> None:
    spans = [[0.0, 300.0, "derived/x/0.wav"], [300.0, 600.0, "derived/x/1.wav"], [600.0, 700.0, "derived/x/2.wav"]]
    recording = world.heard(UNSURE, spans=spans, duration_s=700.0)
    [heard] = world.rows(tables.transcriptions)
    said = (Segment(10, 12, "first", confidence=0.4), Segment(310, 312, "second", confidence=0.99))
    whole = Transcript(said, "hi", 0.9, 700.0, 0.6, world.version)
    world.change(tables.transcriptions, heard.id, transcript=whole.to_json(), text=whole.text)
    world.change(tables.projects, world.project, selection={"max_confidence": 1.0})
    world.select(recording)

    tasks = sorted(world.rows(tables.tasks), key=lambda task: task.start_s)
    assert [(t.start_s, t.end_s) for t in tasks] == [(0.0, 300.0), (300.0, 600.0)], "nobody speaks in the third"
    assert len({t.external_key for t in tasks}) == 2
    bodies = {p.task_id: json.loads(p.body) for p in world.rows(tables.predictions)}
    second = [item for item in bodies[tasks[1].id]["result"] if item["type"] == "textarea"]
    assert [(item["value"]["text"], item["value"]["start"]) for item in second] == [(["second"], 10.0)]


def test_a_task_asked_for_before_a_long_call_was_cut_becomes_one_for_each_piece(world: World) -> None:
    spans = [[0.0, 300.0, "derived/x/0.wav"], [300.0, 600.0, "derived/x/1.wav"]]
    recording = world.heard(UNSURE, spans=spans, duration_s=600.0)
    row, project = world.rows(tables.recordings)[0], world.rows(tables.projects)[0]
    with world.context.db.transaction() as connection:
        selection.request_task(connection, project, row, reason="added by hand")
        selection.drafts.draft_recording(connection, world.context.settings, recording, world.version)
        selection.drafts.draft_recording(connection, world.context.settings, recording, world.version)

    tasks = world.rows(tables.tasks)
    assert [(t.state, t.end_s) for t in tasks] == [("deleted", None), ("wanted", 300.0), ("wanted", 600.0)]
    assert {t.selection_reason for t in tasks} == {"added by hand"}


def test_tasks_that_label_studio_was_down_for_are_made_when_it_is_back(world: World) -> None:
    world.select(world.heard(UNSURE))

    def due() -> list[dict[str, Any]]:
        with world.context.db.reading() as connection:
            return projects_with_tasks_to_make(connection)

    assert due() == [], "its own job is still at it"
    [draft] = world.rows(tables.predictions)
    world.change(tables.predictions, draft.id, created_at=tables.now() - timedelta(minutes=5))
    assert due() == [{"project_id": world.project}]
    world.change(tables.tasks, world.rows(tables.tasks)[0].id, state="open")
    assert due() == []


@pytest.mark.parametrize("purpose", ["service", "none"])
def test_a_call_whose_consent_does_not_cover_review_is_kept(world: World, purpose: str) -> None:
    recording = world.heard(UNSURE)
    world.change(tables.calls, world.call(recording).id, consent_purpose=purpose)
    world.select(recording)
    assert (world.call(recording).state, world.call(recording).reason_code) == ("kept", "consent")


def test_a_cut_recording_that_is_kept_still_says_that_it_was_cut(world: World) -> None:
    recording = world.heard(SURE, reason_code="audio-cut", reason="audio cut at 8 s")
    world.select(recording)
    assert world.rows(tables.recordings, id=recording)[0].reason_code == "audio-cut"
    assert world.call(recording).reason_code == "confident"


def test_a_project_that_decodes_in_its_own_way_has_the_call_heard_again(world: World) -> None:
    world.change(tables.projects, world.project, extra_params={"language": "mr"})
    world.select(world.heard(UNSURE))
    assert [t.state for t in world.rows(tables.tasks)] == ["wanted"]
    assert world.rows(tables.predictions) == []
    assert "transcribe-recording" in {job.name for job in world.rows(tables.jobs)}


def test_the_ledger_holds_after_every_outcome(world: World) -> None:
    world.change(tables.projects, world.project, selection={"max_open": 1})
    world.select(*[world.heard(c, quality=q) for c, q in ((0.5, 0.9), (0.6, 0.9), (SURE, 0.9), (SILENT, 0.9))])
    with world.context.db.reading() as connection:
        assert violations(connection) == []
    assert sorted(c.state for c in world.rows(tables.calls)) == ["heard", "kept", "kept", "tasked"]
