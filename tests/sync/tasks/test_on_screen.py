"""What annotators see and press in the `calls` project: real predictions in a real editor, in a real browser."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ml_backend.asr.transcript import Segment, Transcript
from ml_backend.labelling import labelconfig, rendering
from sync.label_studio.label_studio_client import LabelStudioClient
from tests.servers.label_studio import LabelStudioServer
from tests.stack.browser import Annotator

CALL = Path(__file__).resolve().parents[3] / "ml_backend" / "bundled" / "calls" / "hi-two-legs.wav"
CONTROLS = labelconfig.parse(labelconfig.read("calls"))
DURATION_S = 10.0
SUBMIT = "button:has-text('Submit')"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def client(label_studio_server: LabelStudioServer) -> LabelStudioClient:
    return LabelStudioClient(label_studio_server.url, label_studio_server.token)


@pytest.fixture(scope="module")
def uploaded(client: LabelStudioClient, label_studio_server: LabelStudioServer) -> tuple[int, dict[str, Any]]:
    """A `calls` project and the task of a file that somebody uploaded into it by hand."""
    xml = labelconfig.read("calls")
    project_id = client.create_project(
        title=f"screen {secrets.token_hex(4)}",
        label_config=xml,
        expert_instruction=labelconfig.instructions(xml),
        show_instruction=True,
        model_version="draft-1",
    )
    token = httpx.post(f"{label_studio_server.url}/api/token/refresh/", json={"refresh": label_studio_server.token})
    answer = httpx.post(
        f"{label_studio_server.url}/api/projects/{project_id}/import",
        headers={"Authorization": f"Bearer {token.json()['access']}"},
        files={"file": (CALL.name, CALL.read_bytes(), "audio/wav")},
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    return project_id, next(iter(client.tasks(project_id)))


@pytest.fixture
def task(uploaded: tuple[int, dict[str, Any]], client: LabelStudioClient) -> Callable[..., tuple[int, int]]:
    """Makes a task over the uploaded call with a drafted transcript: (project, task)."""
    project_id, upload = uploaded

    def make(transcript: Transcript, *, status: str = "") -> tuple[int, int]:
        data = {"audio": upload["data"]["audio"], "status": status}
        (task_id,) = client.import_tasks(project_id, [{"data": data}])
        draft = rendering.to_prediction(
            transcript,
            CONTROLS,
            draft_label="draft-1",
            duration_s=DURATION_S,
            quality_label="fair",
            script="Deva",
            minimum_confidence=0.5,
            agent_channel=1,
        )
        assert client.import_predictions(project_id, [{"task": task_id, **draft}]) == 1
        return project_id, task_id

    return make


def heard(*texts: str, unsure: tuple[int, ...] = ()) -> Transcript:
    step = DURATION_S / max(len(texts), 1)
    segments = tuple(
        Segment(n * step, (n + 0.8) * step, text, n % 2, confidence=0.2 if n in unsure else 0.9)
        for n, text in enumerate(texts)
    )
    return Transcript(segments, "hi", 0.9, DURATION_S, 0.8, "v1")


def until(condition: Callable[[], bool], within_s: float = 10) -> bool:
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_a_file_uploaded_by_hand_opens_without_a_status_line(person: Annotator, uploaded: Any) -> None:
    project_id, upload = uploaded
    assert set(upload["data"]) == {"audio"}
    person.open_task(project_id, upload["id"])
    assert (person.texts(), person.status()) == ([], "")


def test_every_control_is_pre_filled_and_fits_a_laptop_screen(person: Annotator, task: Any) -> None:
    texts = ["नमस्ते, मुझे अपना ऑर्डर देखना है", "जी, ऑर्डर नंबर बताइए", "पाँच सात आठ"]
    person.open_task(*task(heard(*texts, unsure=(1,)), status="unsure: listen at 0:03"))
    person.wait_for_text()
    assert person.texts() == texts
    assert person.status() == "unsure: listen at 0:03"
    assert person.chosen() == ["Hindi", "Devanagari", "Fair"]
    assert person.region_labels() == ["Customer", "Agent, check", "Customer"]
    assert all(map(person.is_reachable, (SUBMIT, ".kaan-fact >> nth=-1", ".lsf-outliner-item >> nth=2")))


def test_silence_leaves_no_text_and_has_its_reject_reason_set(person: Annotator, task: Any) -> None:
    person.open_task(*task(heard(), status="silent: submit if so"))
    assert (person.texts(), person.status(), person.chosen()) == ([], "silent: submit if so", ["Fair", "No speech"])
    person.press("Shift+5")
    assert until(lambda: person.chosen() == ["Fair"])


def test_original_has_a_status_line_choices_with_keys_and_a_key_for_unclear(
    person: Annotator, uploaded: tuple[int, dict[str, Any]], client: LabelStudioClient
) -> None:
    xml = labelconfig.read("original")
    project_id = client.create_project(title=f"screen {secrets.token_hex(4)}", label_config=xml)
    data = {"audio": uploaded[1]["data"]["audio"], "status": "1 unsure region: listen at 0:03"}
    (task_id,) = client.import_tasks(project_id, [{"data": data}])
    controls = labelconfig.parse(xml)
    draft = rendering.to_prediction(
        heard("हाँ जी", "पाँच"), controls, draft_label="draft-1", duration_s=DURATION_S, quality_label="fair"
    )
    assert client.import_predictions(project_id, [{"task": task_id, **draft}]) == 1
    person.open_task(project_id, task_id)
    person.wait_for_text()
    assert (person.status(), person.chosen()) == ("1 unsure region: listen at 0:03", ["Fair"])
    person.page.locator("[data-testid=htx-textbox-edit-button]").first.click()
    box = person.page.locator("[data-testid=htx-textbox-input]")
    box.press("End")
    box.press("Alt+u")
    assert until(lambda: box.input_value() == "हाँ जी पाँच[unclear]")
    box.press("Shift+Enter")
    box.wait_for(state="detached")
    person.press("Shift+Z", "Shift+K")
    assert until(lambda: person.chosen() == ["Fair", "Angry", "as Marathi"])
    reference = rendering.to_reference(person.submit()["result"], controls)
    assert (reference.text, reference.emotion, reference.redraft) == ("हाँ जी पाँच[unclear]", "angry", "mr")


def test_a_wrong_language_and_an_emotion_are_a_key_each(person: Annotator, task: Any) -> None:
    person.open_task(*task(heard("हाँ जी")))
    person.wait_for_text()
    person.press("Shift+U", "Shift+K")
    assert until(lambda: person.chosen() == ["Hindi", "Devanagari", "Fair", "Urgent", "as Marathi"])
    reference = rendering.to_reference(person.submit_with_keys()["result"], CONTROLS)
    assert (reference.emotion, reference.redraft) == ("urgent", "mr")


def test_who_writes_from_nothing_gets_empty_regions_to_fill(
    person: Annotator, uploaded: tuple[int, dict[str, Any]], client: LabelStudioClient
) -> None:
    project_id, upload = uploaded
    data = {"audio": upload["data"]["audio"], "status": "write what you hear"}
    (task_id,) = client.import_tasks(project_id, [{"data": data}])
    speech = [[0.5, 2.0, 0], [3.0, 5.0, 1]]
    made = rendering.to_empty_regions(speech, CONTROLS, draft_label="draft-1", duration_s=DURATION_S)
    assert made is not None
    assert client.import_predictions(project_id, [{"task": task_id, **made}]) == 1
    person.open_task(project_id, task_id)
    assert until(lambda: person.region_labels() == ["Speech", "Speech"])
    assert person.texts() == []
    person.press("Alt+Period", "Enter")
    person.page.locator("textarea:focus").wait_for()
    person.page.keyboard.type("नमस्ते")
    assert until(lambda: person.focused_text() == "नमस्ते")
    person.press("Enter")
    person.page.locator("textarea:focus").wait_for(state="detached")
    reference = rendering.to_reference(person.submit_with_keys()["result"], CONTROLS)
    assert [(region.start_s, region.text) for region in reference.segments] == [(0.5, "नमस्ते"), (3.0, "")]


def test_a_draft_submitted_unchanged_reads_back_as_the_same_text(person: Annotator, task: Any) -> None:
    texts = ["हाँ जी", "धन्यवाद, order कल मिलेगा"]
    person.open_task(*task(heard(*texts)))
    person.wait_for_text()
    reference = rendering.to_reference(person.submit()["result"], CONTROLS)
    assert reference.text == " ".join(texts)
    assert (reference.language, reference.script, reference.quality) == ("hi", "Deva", "fair")


def test_a_correction_and_a_resolved_doubt_are_stored(person: Annotator, task: Any) -> None:
    person.open_task(*task(heard("हाँ जी", "कल मिलेग", unsure=(1,))))
    person.wait_for_text()
    person.correct("कल मिलेगा", 1)
    person.press("4")  # the check mark off
    assert until(lambda: person.region_labels() == ["Customer", "Agent"])
    reference = rendering.to_reference(person.submit()["result"], CONTROLS)
    assert reference.text == "हाँ जी कल मिलेगा"
    assert [region.labels for region in reference.segments] == [("Customer",), ("Agent",)]


def test_the_keyboard_alone_is_enough(person: Annotator, task: Any) -> None:
    """Next region (also one far down the list), into its text, play while typing, out, a choice, submit."""
    project_id, task_id = task(heard(*(f"वाक्य {n}" for n in range(30))))
    person.open_task(project_id, task_id)
    person.wait_for_text()
    person.press(*["Alt+Period"] * 25, "Enter")
    assert until(lambda: person.focused_text() == "वाक्य 24")
    assert person.plays_at("Control+p")
    person.press("Control+p", "End")
    person.page.keyboard.type(" ok")
    person.press("Enter", "Shift+R")
    assert until(lambda: "Poor" in person.chosen())
    result = person.submit_with_keys()["result"]
    reference = rendering.to_reference(result, CONTROLS)
    assert reference.segments[24].text == "वाक्य 24 ok"
    assert reference.quality == "poor"


def test_letters_typed_beside_the_text_change_nothing(person: Annotator, task: Any) -> None:
    person.open_task(*task(heard("हाँ जी")))
    person.wait_for_text()
    before = (person.texts(), person.chosen(), person.region_labels())
    person.press(*"bcdefghmnoqrsw")
    assert (person.texts(), person.chosen(), person.region_labels()) == before
