"""Why has this task no draft? Answered for uploads and files of somebody's own project, which belong to no call."""

import json

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import open_context
from ml_backend.errors import InvalidInput
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.settings import Settings
from ml_backend.views import recording_views

KEY = b"k" * 32
UNREADABLE = "The file is not audio any decoder knows."


@pytest.fixture
def context(tmp_path):
    chosen = Settings(_env_file=None, data_dir=tmp_path, database_url="", object_store="")
    db.upgrade(chosen.database)
    opened = open_context(chosen)
    yield opened
    opened.db.dispose()


def put(context, table, **values):
    with context.db.transaction() as connection:
        return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())


@pytest.fixture
def project(context):
    return put(context, tables.projects, instance_url="http://ls", ls_project_id=5, title="Orders", state="attached")


def recording(context, name="a.wav", **values):
    known = {"source": "upload", "source_identity": f"http://ls/data/upload/5/{name}", "state": "ready"}
    return put(context, tables.recordings, **(known | values))


def task(context, project, number, recording_id, **values):
    known = {"project_id": project, "recording_id": recording_id, "ls_task_id": number, "external_key": f"x{number}",
             "origin": "label-studio", "state": "open"}  # fmt: skip
    return put(context, tables.tasks, **(known | values))


def said(context, what):
    (found,) = recording_views.look_up(context.db, what, key=KEY)
    return " ".join(found["explanation"])


def test_a_file_that_cannot_be_read_says_so_by_task_recording_and_object(context, project):
    refused = recording(context, state="refused", reason_code="audio-refused", reason=UNREADABLE,
                        bucket="call-recordings", object_key="odd/x.wav")  # fmt: skip
    task(context, project, 48, refused, reason_code="audio-refused", reason=UNREADABLE)
    for what in ("task:48", "48", f"recording:{refused}", "object:call-recordings/odd/x.wav",
                 "s3://call-recordings/odd/x.wav", "http://ls/projects/5/data?task=48"):  # fmt: skip
        assert f"Task 48 in project 'Orders' has no draft: {UNREADABLE}" in said(context, what), what


def test_a_task_whose_audio_was_never_taken_in_gives_the_tasks_own_reason(context, project):
    task(context, project, 49, None, state="refused", reason_code="audio-source-refused", reason="The address is no.")
    assert "has no draft: The address is no." in said(context, "task:49")


@pytest.mark.parametrize(
    ("state", "why"),
    [("found", "still to be fetched and decoded"), ("ready", "waits to be transcribed"), ("lost", "cannot be had any")],
)
def test_what_is_not_done_yet_says_how_far_it_is(context, project, state, why):
    task(context, project, 50, recording(context, state=state))
    assert why in said(context, "task:50")


def test_a_job_that_ended_badly_is_named_with_what_to_do(context, project):
    mine = recording(context)
    task(context, project, 51, mine)
    with context.db.transaction() as connection:
        job = enqueueing.enqueue(connection, job_kinds.TRANSCRIBE_RECORDING, key=str(mine), recording_id=mine)
    failed = {
        "state": "failed",
        "error_code": "model-not-loadable",
        "error": "It does not load.",
        "next_step": "Check.",
    }
    context.db.update(tables.jobs, job, **failed)
    assert f"Job {job} (transcribe-recording) ended badly: It does not load. Check." in said(context, "task:51")


def test_a_draft_that_is_there_is_said_to_be_there_and_an_empty_one_why_it_is_empty(context, project):
    for number, result in ((52, [{"value": {}}]), (53, [])):
        mine = task(context, project, number, recording(context, f"{number}.wav"))
        put(context, tables.predictions, task_id=mine, project_id=project, draft_label="draft-1", config_sha256="0",
            model_version="kaan-1", body=json.dumps({"result": result}), delivered_by="push")  # fmt: skip
    assert "Task 52 in project 'Orders' has a draft by kaan-1." in said(context, "task:52")
    assert "no speech" not in said(context, "task:52")
    assert "It is empty: no speech was found." in said(context, "task:53")


def test_a_blind_task_is_to_be_written_without_a_draft(context, project):
    task(context, project, 54, recording(context), blind=True)
    assert "has no draft: it is to be written without one" in said(context, "task:54")


def test_an_object_that_makes_no_recording_gives_the_scans_reason(context):
    with context.db.transaction() as connection:
        values = {"bucket": "voice-audio", "object_key": "x/y.wav", "etag": "e", "size_bytes": 0, "state": "refused"}
        connection.execute(
            sa.insert(tables.objects).values(**values, reason_code="empty", reason="The object is empty.")
        )
    assert "The object is refused: The object is empty." in said(context, "object:voice-audio/x/y.wav")


def test_a_recording_named_after_a_call_is_found_by_that_name(context, project):
    task(context, project, 55, recording(context, call_sid="0" * 32))
    assert "Task 55" in said(context, "0" * 32)


@pytest.mark.parametrize("what", ["task:99", "recording:99", "object:no/thing.wav", "nothing"])
def test_what_is_not_known_says_when_it_will_be(context, what):
    with pytest.raises(InvalidInput) as refused:
        recording_views.look_up(context.db, what, key=KEY)
    assert refused.value.code == "no-such-call"
    assert "project list" in refused.value.next_step


@pytest.mark.parametrize(
    ("asked", "probability", "told"), [(None, 0.43, True), (None, 0.97, False), ("hi", 0.43, False)]
)
def test_a_language_that_detection_was_not_sure_of_is_to_be_checked(context, asked, probability, told):
    row_id = recording(context)
    put(context, tables.transcriptions, recording_id=row_id, audio_sha256="a" * 64, model_version="m",
        decoding_hash="d", decoding={"language": asked}, language="hi", language_probability=probability,
        text="haan", transcript={}, confidence=0.9, duration_s=3.0)  # fmt: skip
    sentence = f"Check the language of recording {row_id}: Hindi is a guess (43 %)."
    assert (sentence in said(context, f"recording:{row_id}")) == told
