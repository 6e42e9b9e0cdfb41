"""Transcription -> Task with Prediction, against a real Label Studio."""

from __future__ import annotations

import base64

import httpx
import pytest

from ml_backend import tables
from sync.label_studio.label_studio_client import LabelStudioClient
from tests.sync.conftest import Service


class LosesAnswers(httpx.BaseTransport):
    """A connection that breaks after the request was carried out, as often as told, for one kind of request."""

    def __init__(self, path_end: str, times: int = 1) -> None:
        self._inner, self._path_end, self.left = httpx.HTTPTransport(), path_end, times

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.handle_request(request)
        if self.left and request.method == "POST" and request.url.path.endswith(self._path_end):
            answer.read()
            self.left -= 1
            raise httpx.ReadError("the connection broke", request=request)
        return answer

    def close(self) -> None:
        self._inner.close()


def lossy(service: Service, path_end: str, times: int = 1) -> LosesAnswers:
    """Make the service's connection to Label Studio lose answers."""
    transport = LosesAnswers(path_end, times)
    settings = service.context.settings
    client = LabelStudioClient(
        settings.label_studio_url, settings.label_studio_api_key.get_secret_value(), transport=transport
    )
    service.context.kept["label-studio"] = client
    return transport


def test_a_recording_becomes_a_task_that_opens_with_its_transcript(service: Service) -> None:
    project = service.project()
    service.bring(project, "en-short-price.mp3")
    service.run_jobs()

    [task] = service.there(project)
    [prediction] = task["predictions"]
    [text] = [item for item in prediction["result"] if item["type"] == "textarea"]
    [transcription] = service.rows(tables.transcriptions)
    assert text["value"]["text"] == [transcription.text]
    assert transcription.text
    assert any(item["type"] == "choices" for item in prediction["result"]), "quality is pre-set"
    assert prediction["model_version"] == "draft-1" == service.client.project(project.ls_project_id)["model_version"]


def test_label_studio_plays_the_normalised_audio_of_a_task(service: Service) -> None:
    project = service.project()
    service.bring(project, "en-short-price.mp3")
    service.run_jobs()

    [task] = service.there(project)
    assert task["data"]["audio"].startswith("/data/local-files/?d=")
    answer = httpx.get(
        f"{service.client.url}{task['data']['audio']}", auth=service.client.auth, headers={"Range": "bytes=0-11"}
    )
    assert answer.content[:4] == b"RIFF"


@pytest.mark.parametrize("times", [1, 2])
def test_an_import_whose_answer_was_lost_makes_no_second_task(service: Service, times: int) -> None:
    project = service.project()
    service.bring(project, "en-short-price.mp3", "hi-refund-sum.wav")
    transport = lossy(service, "/import", times)
    service.run_jobs(quiet_s=12)  # longer than the back-off of the second retry

    assert transport.left < times, "the test lost no answer"
    tasks = service.there(project)
    assert len(tasks) == 2
    assert [len(task["predictions"]) for task in tasks] == [1, 1]
    ours = {row.ls_task_id: row.state for row in service.rows(tables.tasks)}
    assert ours == {task["id"]: "open" for task in tasks}


def test_a_blind_task_appears_without_a_draft(service: Service) -> None:
    project = service.project()
    service.bring(project, "en-short-price.mp3", blind=True)
    service.run_jobs()

    [task] = service.there(project)
    assert task["predictions"] == []
    assert "draft" not in task["data"]["status"]
    assert service.rows(tables.transcriptions), "what the model heard is kept for scoring"


def test_silence_leaves_the_text_empty_and_says_so(service: Service) -> None:
    project = service.project("calls")
    service.bring(project, "silence.wav")
    service.run_jobs()

    [task] = service.there(project)
    assert task["data"]["status"] == "silent: submit if so, press Shift+5 if somebody speaks"
    drafted = [item for prediction in task["predictions"] for item in prediction["result"]]
    assert {item["type"] for item in drafted} == {"choices"}
    assert [item["value"]["choices"] for item in drafted if item["from_name"] == "reject"] == [["no-speech"]]


def test_a_recording_in_two_projects_of_different_languages_is_heard_once_for_each(service: Service) -> None:
    hindi = service.project(extra_params={"language": "hi"})
    english = service.project(extra_params={"language": "en"})
    service.bring(hindi, "en-short-price.mp3")
    service.bring(english, "en-short-price.mp3")
    service.run_jobs()

    assert len(service.rows(tables.recordings)) == 1
    assert [row.decoding["language"] for row in service.rows(tables.transcriptions)] == ["hi", "en"]
    for project, heard in zip((hindi, english), service.rows(tables.transcriptions), strict=True):
        [task] = service.there(project)
        texts = [item["value"]["text"] for item in task["predictions"][0]["result"] if item["type"] == "textarea"]
        assert texts == [[heard.text]]


def test_with_an_s3_store_tasks_hold_the_objects_name_and_label_studio_plays_it(s3_service: Service) -> None:
    service = s3_service
    project = service.project()
    service.bring(project, "en-short-price.mp3")
    service.run_jobs()

    [task] = service.there(project)
    assert task["data"]["audio"].startswith("s3://kaan-audio/derived/")
    assert len(task["predictions"]) == 1
    where = base64.b64encode(task["data"]["audio"].encode()).decode()
    answer = httpx.get(
        f"{service.client.url}/tasks/{task['id']}/resolve/", params={"fileuri": where}, auth=service.client.auth
    )
    assert answer.status_code in (200, 206)
    assert answer.content[:4] == b"RIFF"
    [storage] = service.client.storages(project.ls_project_id)
    assert not storage["presign"]
