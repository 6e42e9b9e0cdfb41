"""A draft in the wrong language is asked for again in the right one, from Label Studio alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.jobs import enqueueing, job_kinds
from sync.drafts import drafts
from sync.drafts.decoding_choice import profile_for, profile_of
from tests.sync.redrafts import Drafted, drafted

ASKED = {
    "id": "again", "from_name": "redraft", "to_name": "audio", "type": "choices", "value": {"choices": ["mr"]},
}  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Drafted]:
    with drafted(tmp_path / "data", 2) as made:
        yield made


def row(world: Drafted, table: sa.Table, **wanted: Any) -> Any:
    [found] = world.context.db.rows(sa.select(table).filter_by(**wanted))
    return found


def annotate(world: Drafted, task_id: int) -> int:
    """A usual annotation, of which our webhook hears."""
    annotation = world.studio.annotate(world.row(tables.tasks, task_id).ls_task_id, "two words")
    with world.context.db.transaction() as connection:
        ids = {"project_id": world.project_id, "ls_annotation_id": annotation}
        enqueueing.enqueue(connection, job_kinds.READ_ANNOTATION, **ids)
    world.run("read-annotation")
    return annotation


def submit(world: Drafted, task_id: int) -> int:
    """Somebody types a few words, sees that it is Marathi, and says so; our webhook hears of it."""
    annotation = world.studio.annotate(world.row(tables.tasks, task_id).ls_task_id, "two words")
    world.studio.annotations[annotation]["result"].append(ASKED)
    with world.context.db.transaction() as connection:
        enqueueing.enqueue(
            connection, job_kinds.READ_ANNOTATION, project_id=world.project_id, ls_annotation_id=annotation
        )  # fmt: skip
    world.run("read-annotation")
    return annotation


def hear_in(world: Drafted, number: int, language: str) -> None:
    """What the transcribing worker stores when it hears the recording under its profile of now."""
    heard = world._heard(number, world.first.version)
    with world.context.db.transaction() as connection:
        recording = connection.execute(sa.select(tables.recordings).where(tables.recordings.c.id == number)).one()
        decoding = profile_for(connection, recording, world.project(), world.context.settings).decoding
        assert decoding.language == language
        transcript = {**heard["transcript"], "language": language, "language_probability": 1.0}
        values = {
            **heard, "decoding_hash": decoding.digest(), "decoding": {"language": language}, "language": language,
            "transcript": transcript, "text": "मराठी",
        }  # fmt: skip
        connection.execute(sa.insert(tables.transcriptions).values(**values))
        drafts.draft_recording(connection, world.context.settings, number, world.first.version)


def test_the_task_is_open_again_with_a_draft_in_that_language_and_nothing_written_is_lost(world: Drafted) -> None:
    annotation = submit(world, 1)
    assert row(world, tables.tasks, id=1).state == "open"
    world.run("draft-again")
    assert world.studio.annotations == {}
    kept = row(world, tables.annotations, ls_annotation_id=annotation)
    assert (kept.text, kept.deleted_at is not None) == ("two words", True)
    recording = row(world, tables.recordings, id=1)
    assert (recording.language_asked, recording.language, recording.language_by) == ("mr", "mr", "asked")
    task = row(world, tables.tasks, id=1)
    assert (task.state, task.status_line) == ("open", "draft in Marathi coming")
    [waits] = enqueueing.find(world.context.db, names=["transcribe-recording"])
    assert (waits.arguments, waits.priority) == ({"recording_id": 1}, job_kinds.WAITED_FOR)

    hear_in(world, 1, "mr")
    world.run("push-predictions")
    there = [found for found in world.studio.predictions.values() if found["task"] == task.ls_task_id]
    assert [found["model_version"] for found in there] == [world.project().draft_label]
    chosen = [item["value"]["choices"] for item in there[0]["result"] if item["from_name"] == "language"]
    assert chosen == [["mr"]]
    assert row(world, tables.tasks, id=1).status_line == ""


def test_other_recordings_keep_their_drafts_and_their_language(world: Drafted) -> None:
    submit(world, 1)
    world.run("draft-again")
    other = row(world, tables.recordings, id=2)
    assert (other.language_asked, other.language) == (None, "en")
    assert row(world, tables.predictions, task_id=2).draft_label == world.project().draft_label


def test_it_is_safe_to_repeat_also_after_label_studio_refused_the_last_step(world: Drafted) -> None:
    annotation = submit(world, 1)
    world.studio.refuse = lambda method, path: 500 if method == "DELETE" and "annotations" in path else None
    world.run("draft-again")
    assert row(world, tables.annotations, ls_annotation_id=annotation).deleted_at is None
    world.studio.refuse = lambda method, path: None
    for _ in range(2):
        with world.context.db.transaction() as connection:
            ids = {"project_id": world.project_id, "ls_annotation_id": annotation}
            enqueueing.enqueue(connection, job_kinds.DRAFT_AGAIN, key=f"{world.project_id}:{annotation}", **ids)
        world.run("draft-again")
    assert world.studio.annotations == {}
    assert row(world, tables.annotations, ls_annotation_id=annotation).deleted_at is not None
    assert len(enqueueing.find(world.context.db, names=["transcribe-recording"])) == 1


def test_who_takes_the_choice_back_before_it_was_seen_keeps_the_annotation(world: Drafted) -> None:
    annotation = submit(world, 1)
    world.studio.annotations[annotation]["result"].remove(ASKED)
    world.studio.annotations[annotation]["updated_at"] = "2099-01-01T00:00:00.000000Z"
    with world.context.db.transaction() as connection:
        ids = {"project_id": world.project_id, "ls_annotation_id": annotation}
        enqueueing.enqueue(connection, job_kinds.READ_ANNOTATION, **ids)
    world.run("read-annotation")
    world.run("draft-again")
    assert list(world.studio.annotations) == [annotation]
    assert row(world, tables.recordings, id=1).language_asked is None
    assert row(world, tables.tasks, id=1).state == "annotated"


def test_a_blind_task_has_no_draft_so_the_choice_only_names_its_language(world: Drafted) -> None:
    world.context.db.update(tables.tasks, 1, blind=True)
    annotation = submit(world, 1)
    world.run("draft-again")
    assert list(world.studio.annotations) == [annotation]
    assert row(world, tables.tasks, id=1).state == "annotated"
    assert row(world, tables.recordings, id=1).language_asked is None


def test_what_the_listener_asked_for_goes_before_the_project_the_number_and_the_deployment(world: Drafted) -> None:
    project = world.project()
    world.context.db.update(tables.projects, project.id, extra_params={"language": "hi", "languages": ["hi", "en"]})
    profile = profile_of(world.project(), world.context.settings, language="en", asked="mr")
    assert (profile.decoding.language, profile.decoding.languages) == ("mr", ())
    plain = profile_of(world.project(), world.context.settings, language="en")
    assert plain.decoding.language == "hi"
    assert replace(profile.decoding, language="hi", languages=plain.decoding.languages) == plain.decoding
