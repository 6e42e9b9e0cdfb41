"""Calls go where their language sends them, and nobody but production writes the language: real audio, real model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.calls import pseudonyms
from ml_backend.context import JobContext, PooledItem
from ml_backend.jobs import enqueueing, job_kinds, runner
from ml_backend.labelling import labelconfig
from ml_backend.models import registry
from ml_backend.serving import default_model
from sync.annotations.annotation_rows import FoundAnnotation, keep, mark_deleted
from sync.recordings import recording_language
from sync.recordings.originals import keep_original
from sync.transcription import transcription as transcribe
from tests.sync import offline
from tests.sync.offline import Offline

CALLS = Path(__file__).resolve().parents[3] / "ml_backend" / "bundled" / "calls"
HINDI, MARATHI, ENGLISH, SILENCE = "hi-refund-sum.wav", "mr-refund-days.wav", "en-short-price.mp3", "silence.wav"
NEEDED = ("ingest-recording", "transcribe-recording", "select-recording", "draft-recording")


class World(Offline):
    """A service with two projects, one for each language, and calls that walk all the way to their task."""

    def projects(self, *rules: Any) -> list[int]:
        values = {"instance_url": "http://ls", "state": "attached", "label_config": labelconfig.read("calls")}
        values |= {"selection": {"review": "all"}}
        number = len(self.rows(tables.projects))
        return [
            self._insert(tables.projects, {**values, "ls_project_id": number + at, "routing": rule})
            for at, rule in enumerate(rules, 1)
        ]

    def bring(self, name: str, **call: Any) -> int:
        recording = self.recording(self.call(**call))
        values = keep_original(self.context, recording, CALLS / name, extension=name.rpartition(".")[2])
        self.update(recording, **values)
        with self.context.db.transaction() as connection:
            enqueueing.enqueue(connection, job_kinds.INGEST_RECORDING, key=str(recording.id), recording_id=recording.id)
        self.walk()
        return int(recording.id)

    def walk(self) -> None:
        """Run what brings recordings to their tasks until nothing of it waits."""
        for _ in range(20):
            due = [job for name in NEEDED for job in self.waiting(name)]
            if not due:
                return
            for job in due:
                assert not [one for one in runner.Runner(self.context).run(job.id) if one.state == "failed"]
        pytest.fail("The jobs wake one another for ever.")

    def rows(self, table: sa.Table, **wanted: Any) -> list[Any]:
        return list(self.context.db.rows(sa.select(table).order_by(sa.literal_column("id")).filter_by(**wanted)))

    def homes(self) -> dict[int, int]:
        return {task.recording_id: task.project_id for task in self.rows(tables.tasks)}

    def language(self, recording_id: int) -> tuple[str | None, str | None]:
        row = self.row(tables.recordings, recording_id)
        return row.language, row.language_by

    def choose(self, recording_id: int, number: int, language: str | None, *, minute: int = 0) -> None:
        """An annotator submits with a language."""
        [task] = self.rows(tables.tasks, recording_id=recording_id)
        project = self.row(tables.projects, task.project_id)
        chosen = {"from_name": "language", "to_name": "audio", "type": "choices", "value": {"choices": [language]}}
        annotation = {
            "id": number, "task": 1, "result": [chosen] if language else [], "completed_by": number,
            "created_at": f"2026-11-01T10:{minute:02}:00Z", "updated_at": f"2026-11-01T10:{minute:02}:00Z",
        }  # fmt: skip
        with self.context.db.transaction() as connection:
            keep(connection, project, task, FoundAnnotation(annotation, "webhook", tables.now()))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(offline.opened(tmp_path, audit_share=0.0, overlap_share=0.0).context)
    default_model.ensure(made.context)
    yield made
    made.context.db.dispose()


def test_real_calls_go_to_the_project_of_the_language_that_was_detected(world: World) -> None:
    marathi, hindi = world.projects({"language": ["mr"]}, {"language": ["hi"]})
    one, two, three = world.bring(HINDI), world.bring(MARATHI), world.bring(ENGLISH)
    assert [world.language(each) for each in (one, two, three)] == [
        ("hi", "detected"), ("mr", "detected"), ("en", "detected"),
    ]  # fmt: skip
    assert world.homes() == {one: hindi, two: marathi}
    assert world.row(tables.recordings, three).reason_code == "no-project"
    counts = {row.recording_id for row in world.rows(tables.transcriptions)}
    assert len(world.rows(tables.transcriptions)) == len(counts) == 3, "nothing is transcribed twice"


def test_a_call_waits_for_the_detection_and_does_not_fall_to_the_next_project(world: World) -> None:
    [hindi] = world.projects({"language": ["hi"]})
    recording = world.recording(world.call(), state="ready", sha256="a" * 64, quality_score=0.9)
    world.run(job_kinds.SELECT_RECORDING, recording_id=recording.id)
    assert world.rows(tables.tasks) == []
    assert [job.arguments for job in world.waiting("transcribe-recording")] == [{"recording_id": recording.id}]
    assert world.row(tables.recordings, recording.id).reason_code is None
    world.update(recording, state="lost")
    world.projects(None)
    found = world.bring(HINDI)
    assert world.homes() == {found: hindi}


def test_a_silent_call_has_no_language_to_wait_for_and_goes_to_the_next_project(world: World) -> None:
    _, rest = world.projects({"language": ["hi"]}, None)
    recording = world.bring(SILENCE)
    assert world.homes() == {recording: rest}
    assert world.language(recording) == (None, "detected")


def test_a_usual_language_of_the_deployment_does_not_decide_where_calls_go(tmp_path: Path) -> None:
    world = World(offline.opened(tmp_path, audit_share=0.0, overlap_share=0.0, default_language="hi").context)
    default_model.ensure(world.context)
    marathi, hindi = world.projects({"language": ["mr"]}, None)
    one, two = world.bring(MARATHI), world.bring(HINDI)
    assert world.homes() == {one: marathi, two: hindi}
    assert world.language(one) == ("mr", "detected")
    world.context.db.dispose()


def test_the_language_of_a_company_number_is_given_and_decoded_with(world: World) -> None:
    number = "0123456789abcdef01234567-01"
    assert pseudonyms.SHAPE.fullmatch(number)
    marathi, _ = world.projects({"language": ["mr"]}, None)
    recording_language.set_of_number(world.context, number, "mr")
    recording = world.bring(HINDI, company_number=number)  # whatever the model would guess
    assert (world.homes(), world.language(recording)) == ({recording: marathi}, ("mr", "given"))
    [transcription] = world.rows(tables.transcriptions)
    assert transcription.decoding["language"] == "mr"
    recording_language.set_of_number(world.context, number, "en")
    assert world.language(recording) == ("en", "given")


def test_what_annotators_chose_overrides_the_detection_until_they_take_it_back(world: World) -> None:
    world.projects(None)
    recording = world.bring(HINDI)
    world.choose(recording, 1, "mr")
    assert world.language(recording) == ("mr", "confirmed")
    world.choose(recording, 2, "hi-en", minute=1)
    assert world.language(recording) == ("hi-en", "confirmed"), "of two the latest"
    world.choose(recording, 3, "mr", minute=2)
    assert world.language(recording) == ("mr", "confirmed")
    world.choose(recording, 4, None, minute=3)
    assert world.language(recording) == ("mr", "confirmed"), "who chose nothing says nothing"
    mark_deleted(world.context, 1, [1, 2, 3])
    assert world.language(recording) == ("hi", "detected")


def test_a_wrong_route_is_not_repeated_once_a_person_has_said_the_language(world: World) -> None:
    world.projects(None)
    recording = world.bring(HINDI)
    world.choose(recording, 1, "mr")
    with world.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.TRANSCRIBE_RECORDING, key=str(recording), recording_id=recording)
    world.walk()  # hears it again, detects what it detected before
    assert world.language(recording) == ("mr", "confirmed")


def test_the_champion_of_a_language_transcribes_calls_that_were_detected_to_be_in_it(world: World) -> None:
    world.projects(None)
    first = registry.champion(world.context)
    values = {name: getattr(world.row(tables.model_versions, first.id), name) for name in ("location", "manifest")}
    values |= {"version": "for-marathi", "kind": "asr", "languages": list(first.languages)}
    world._insert(tables.model_versions, values)
    other = registry.find(world.context, "for-marathi")
    registry.move_alias(world.context, other, expected_revision=0, who="t", why="t", language="mr")
    one, two = world.bring(MARATHI), world.bring(HINDI)
    made_by = {task.recording_id: drafted.model_version for task in world.rows(tables.tasks)
               for drafted in world.rows(tables.predictions, task_id=task.id)}  # fmt: skip
    assert made_by == {one: "for-marathi", two: first.version}


def test_an_upgrade_takes_over_what_is_known_of_older_recordings(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'kaan.db'}"
    from alembic import command

    old = db.Database(url)
    with old.engine.connect() as connection:
        config = db._alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        at = "2026-11-22 00:00:00"
        for statement in (
            "INSERT INTO recordings (id, created_at, updated_at, source, source_identity, synthetic, state, priority,"
            " sha256) VALUES (1, :at, :at, 'object', 's3://b/1', false, 'ready', 50, 'a'),"
            " (2, :at, :at, 'object', 's3://b/2', false, 'ready', 50, 'b'),"
            " (3, :at, :at, 'object', 's3://b/3', false, 'found', 50, NULL)",
            "INSERT INTO transcriptions (created_at, recording_id, audio_sha256, model_version, decoding_hash,"
            " decoding, language, text, transcript, confidence, duration_s) VALUES"
            " (:at, 1, 'a', 'm', 'h', '{}', 'hi', '', '{}', 0, 1), (:at, 2, 'b', 'm', 'h', '{}', 'hi', '', '{}', 0, 1)",
            "INSERT INTO projects (id, created_at, updated_at, instance_url, ls_project_id, state, label_config,"
            " extra_params, draft_label, revision) VALUES (1, :at, :at, 'u', 1, 'attached', '', '{}', 'draft-1', 0)",
            "INSERT INTO tasks (id, created_at, updated_at, project_id, recording_id, start_s, external_key, origin,"
            " blind, overlap, state) VALUES (1, :at, :at, 1, 2, 0, 'k', 'ours', false, 1, 'open')",
            "INSERT INTO annotations (created_at, project_id, task_id, ls_annotation_id, ls_updated_at,"
            " result, language, skipped, ground_truth, before_attach)"
            " VALUES (:at, 1, 1, 1, :at, '[]', 'mr', false, false, false)",
        ):
            connection.execute(sa.text(statement), {"at": at})
        connection.commit()
    old.dispose()
    db.upgrade(url)
    new = db.Database(url)
    found = [(row.language, row.language_by) for row in new.rows(sa.select(tables.recordings).order_by(sa.text("id")))]
    assert found == [("hi", "detected"), ("mr", "confirmed"), (None, None)]
    new.dispose()


def test_a_version_that_cannot_be_loaded_fails_only_its_own_members_of_a_batch(world: World) -> None:
    world.projects(None)
    marathi, hindi = world.bring(MARATHI), world.bring(HINDI)
    first = registry.champion(world.context)
    broken = {"version": "broken", "kind": "asr", "location": "/nowhere/at/all", "languages": list(first.languages)}
    world._insert(tables.model_versions, {**broken, "manifest": first.manifest})
    other = registry.find(world.context, "broken")
    registry.move_alias(world.context, other, expected_revision=0, who="t", why="t", language="mr")
    with world.context.db.transaction() as connection:
        connection.execute(sa.update(tables.predictions).values(transcription_id=None))
        connection.execute(sa.delete(tables.transcriptions))
    items = [PooledItem(number, 1, {"recording_id": each}) for number, each in enumerate((marathi, hindi, 987654), 1)]
    context = JobContext(world.context.settings, world.context.db, world.context.store, world.context.kept)
    transcribe.transcribe_recordings(context, items)
    assert [item.settled for item in items] == [True] * 3
    assert [item.error is None for item in items] == [False, True, False], "and a recording that is gone is alone too"
    assert [row.recording_id for row in world.rows(tables.transcriptions)] == [hindi]
