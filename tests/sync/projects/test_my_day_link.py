"""A project that we make has the link to My day in its instructions; instructions of other people stay as they are."""

from __future__ import annotations

import re

from ml_backend.labelling import labelconfig
from ml_backend.page.annotating.personal_links import PROJECT, PersonalLink, PersonalLinks
from sync.projects import my_day_link
from tests.sync.conftest import Service


def test_a_new_project_has_the_link_once_and_label_studio_keeps_it(service: Service) -> None:
    project = service.project("calls")
    page = service.client.project(project.ls_project_id)["expert_instruction"]
    (address,) = re.findall(r'href="[^"]*/page/my-day/([^"]+)"', page)
    assert PersonalLinks(service.context).read(address) == PersonalLink(PROJECT, project.ls_project_id)
    config = labelconfig.read("calls")
    assert my_day_link.put(service.context, service.client, project.ls_project_id, config) is False
    assert my_day_link.words(my_day_link.without(page)) == my_day_link.words(labelconfig.instructions(config))
    service.client.change_project(project.ls_project_id, expert_instruction="<p>Our own rules.</p>")
    assert my_day_link.put(service.context, service.client, project.ls_project_id, config) is False
    assert service.client.project(project.ls_project_id)["expert_instruction"] == "<p>Our own rules.</p>"
