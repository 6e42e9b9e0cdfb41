"""Our tab in a real browser: what the person sees first, and what the button in it opens."""

from __future__ import annotations

import json

import pytest

from sync.label_studio.streams import TAB
from sync.tasks.task_creation import TaskRequest
from tests.stack.browser import Annotator
from tests.sync.conftest import Service
from tests.sync.label_studio.test_streams import CALLS, bring, by_call

pytestmark = pytest.mark.browser


def test_as_displayed_opens_the_most_useful_task_although_it_was_imported_last(
    service: Service, person: Annotator
) -> None:
    project = service.project("calls")
    bring(
        service,
        project,
        (CALLS[0], TaskRequest("review", usefulness=0.05)),
        (CALLS[1], TaskRequest("review", usefulness=0.5)),
    )
    bring(service, project, (CALLS[2], TaskRequest("review", usefulness=0.73)))
    useful = by_call(service, project)[CALLS[2]]

    page = person.page
    page.goto(f"{person.base_url}/projects/{project.ls_project_id}/data")
    page.get_by_text(TAB).first.wait_for()
    page.get_by_label("Toggle open").first.click()
    with page.expect_response(lambda answer: "id=next_task" in answer.url) as opened:
        page.get_by_text("Label Tasks As Displayed").click()
    assert opened.value.json()["id"] == useful
    assert json.loads(opened.value.request.post_data or "{}")["ordering"] == ["-tasks:data.usefulness"]
    person.wait_for_text()
