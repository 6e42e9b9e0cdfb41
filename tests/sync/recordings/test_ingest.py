"""Recording -> Object: which audio is fetched, which never is, and what becomes of audio that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from werkzeug.wrappers import Request, Response

from ml_backend import tables
from ml_backend.jobs import enqueueing, job_kinds
from sync.recordings.sources import RecordingSource, add_recording
from tests.sync import web
from tests.sync.conftest import CALLS, Service, changed


def find(service: Service, project_id: int) -> None:
    with service.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.FIND_TASKS, key=str(project_id), project_id=project_id)
    service.run_jobs()


def test_audio_outside_storage_label_studio_and_listed_origins_is_never_fetched(service: Service) -> None:
    wav = (CALLS / "en-delivery-noisy.wav").read_bytes()
    with web.serving(lambda request: Response(wav, mimetype="audio/wav")) as elsewhere:
        project = service.project("calls")
        addresses = [
            f"{elsewhere.url}/call.wav",
            "http://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            "/data/local-files/?d=../../../etc/passwd",
            "/data/local-files/?d=somewhere/else.wav",
            "s3://another-bucket/call.wav",
            "",
        ]
        service.client.import_tasks(project.ls_project_id, [{"data": {"audio": address}} for address in addresses])
        find(service, project.id)

        assert elsewhere.asked == []
    rows = service.rows(tables.tasks)
    assert [row.reason_code for row in rows] == ["audio-source-refused"] * 6 + ["audio-missing"]
    assert service.rows(tables.recordings) == []
    for task in service.there(project):
        assert task["predictions"] == []
        assert task["data"]["status"], "the annotator is told why there is no draft"


def test_audio_at_a_listed_origin_is_fetched_but_not_what_it_redirects_to(service: Service) -> None:
    wav = (CALLS / "en-delivery-noisy.wav").read_bytes()
    with web.serving(lambda request: Response(wav)) as elsewhere:

        def answer(request: Request) -> Response:
            if request.path == "/moved.wav":
                return Response(status=302, headers={"Location": f"{elsewhere.url}/secret.wav"})
            return Response(wav, mimetype="audio/wav")

        with web.serving(answer) as listed:
            context = changed(service.context, exotel_recording_origins=listed.url)
            here = Service(context, service.client, service.url)
            with context.db.transaction() as connection:
                for name in ("good.wav", "moved.wav"):
                    recording_id, _ = add_recording(connection, RecordingSource("web", f"{listed.url}/{name}"))
                    enqueueing.enqueue(connection, job_kinds.INGEST_RECORDING, recording_id=recording_id)
            here.run_jobs()
        assert elsewhere.asked == []
    good, moved = service.rows(tables.recordings)
    assert good.state == "ready"
    assert (moved.state, moved.reason_code) == ("refused", "audio-source-refused")


def test_a_file_uploaded_into_label_studio_by_hand_gets_its_transcript(service: Service) -> None:
    project = service.project("calls")
    with (CALLS / "en-delivery-noisy.wav").open("rb") as stream:
        service.client.call(
            "POST",
            f"/api/projects/{project.ls_project_id}/import",
            files={"file": ("my call.wav", stream, "audio/wav")},
        )
    service.run_jobs()

    [task] = service.there(project)
    assert task["data"]["audio"].startswith("/data/upload/")
    [prediction] = task["predictions"]
    assert any(item["type"] == "textarea" for item in prediction["result"])
    assert "coming" not in task["data"]["status"]
    [recording] = service.rows(tables.recordings)
    assert recording.source == "upload"
    assert recording.object_key == f"originals/{recording.sha256}.wav", "a copy stays when the upload is deleted"


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "audio-empty"), (b"<html>Not found</html>" * 50, "audio-not-audio")],
    ids=["empty", "html"],
)
def test_what_is_no_audio_is_a_state_with_a_reason_and_makes_no_task(
    service: Service, tmp_path: Path, content: bytes, code: str
) -> None:
    project = service.project()
    broken = tmp_path / "broken.wav"
    broken.write_bytes(content)
    service.bring(project, str(broken))
    service.run_jobs()

    [recording] = service.rows(tables.recordings)
    assert (recording.state, recording.reason_code) == ("refused", code)
    assert recording.reason
    [task] = service.rows(tables.tasks)
    assert (task.state, task.reason_code) == ("refused", code)
    assert service.there(project) == []


def test_a_recording_cut_short_is_drafted_and_says_where_it_ends(service: Service, tmp_path: Path) -> None:
    project = service.project("calls")
    whole = (CALLS / "hi-late-fan.wav").read_bytes()
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole[: len(whole) // 2])
    service.bring(project, str(cut))
    service.run_jobs()

    [recording] = service.rows(tables.recordings)
    assert (recording.state, recording.reason_code) == ("ready", "audio-cut")
    assert recording.duration_s < recording.header_duration_s
    [task] = service.there(project)
    assert f"audio cut at {recording.duration_s:.0f} s" in task["data"]["status"]


def test_an_object_that_is_gone_is_a_state_with_a_reason(service: Service) -> None:
    service.context.store.ensure_bucket("call-recordings")
    with service.context.db.transaction() as connection:
        recording_id, _ = add_recording(connection, RecordingSource("object", "s3://call-recordings/gone.wav"))
        enqueueing.enqueue(connection, job_kinds.INGEST_RECORDING, recording_id=recording_id)
    service.run_jobs()

    [recording] = service.rows(tables.recordings)
    assert (recording.state, recording.reason_code) == ("refused", "audio-missing")


def test_an_erased_recording_is_not_fetched_again(service: Service) -> None:
    identity = "s3://call-recordings/erased.wav"
    service.context.store.ensure_bucket("call-recordings")
    service.context.store.put_file("call-recordings", "erased.wav", CALLS / "silence.wav")
    with service.context.db.transaction() as connection:
        connection.execute(tables.tombstones.insert().values(kind="recording", identity=identity, why="erased"))
        recording_id, _ = add_recording(connection, RecordingSource("object", identity))
        enqueueing.enqueue(connection, job_kinds.INGEST_RECORDING, recording_id=recording_id)
    service.run_jobs()

    [recording] = service.rows(tables.recordings)
    assert (recording.state, recording.reason_code) == ("refused", "erased")
