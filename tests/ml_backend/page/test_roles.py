"""Every address of the page, asked by everybody: it opens for the roles that its rule names, and for nobody else."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator

import pytest

from ml_backend.page.signing_in import ROLES
from tests.ml_backend.api.serving import BASIC, OPERATOR, Serving
from tests.ml_backend.page.visitors import API_TOKENS, HTML, TOKENS, Visitor, visitor

ENTRANCE = {"/page/sign-in", "/page/static/<name>"}
BY_LINK = "/page/my-day"  # annotators come by a signed link, and see their own day only
MAY_CHANGE = {  # what the page changes, and who may: a new action has to be entered here
    "/page/sign-out": "read",
    "/page/models/compare": "operate",
    "/page/experiments/<name>/end": "operate",
    "/page/work/jobs/<job_id>/retry": "operate",
    "/page/work/jobs/<job_id>/cancel": "operate",
    "/page/errors/<evaluation_id>/<number>/review": "operate",
    "/page/models/<version>/promote": "admin",
    "/page/models/<version>/roll-back": "admin",
}
LISTENERS = ("/audio", "/page/calls/listenings")


@pytest.fixture
def site(serve: Callable[..., Serving]) -> Serving:
    return serve(api_tokens=API_TOKENS)


def rules(site: Serving) -> Iterator[tuple[str, str, str]]:
    """(method, rule, role that it needs) of every address behind the sign-in."""
    for rule in site.app.url_map.iter_rules():
        if not rule.rule.startswith("/page/") or rule.rule in ENTRANCE or rule.rule.startswith(BY_LINK):
            continue
        who = site.app.view_functions[rule.endpoint].who  # type: ignore[attr-defined]
        role = str(inspect.getclosurevars(who).nonlocals["role"])
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, rule.rule, role


def test_each_action_has_the_role_that_is_written_here(site: Serving) -> None:
    assert {rule: role for method, rule, role in rules(site) if method == "POST"} == MAY_CHANGE


def test_audio_and_who_listened_are_for_operators_and_all_other_looks_for_readers(site: Serving) -> None:
    for method, rule, role in rules(site):
        if method == "GET":
            assert role == ("operate" if rule.endswith(LISTENERS) else "read"), rule


def test_every_address_is_closed_to_strangers_to_other_credentials_and_to_lesser_roles(site: Serving) -> None:
    people: dict[str, Visitor] = {role: visitor(site, role) for role in TOKENS}
    secrets = {role: one.csrf() for role, one in people.items()}
    wrong = []
    for method, rule, role in rules(site):
        address = re.sub(r"<[^>]+>", "1", rule)
        for headers in ({}, BASIC, OPERATOR):
            answer = site.app.test_client().open(address, method=method, headers=headers)
            if answer.status_code != 401:
                wrong.append((method, rule, "a stranger", answer.status_code))
        for mine, one in people.items():
            data = {"csrf": secrets[mine], "reason": "", "sure": ""} if method == "POST" else None
            if rule == "/page/sign-out":
                continue
            answer = one.client.open(address, method=method, headers=HTML, data=data)
            refused = answer.status_code == 403
            if refused != (ROLES.index(mine) < ROLES.index(role)) or answer.status_code >= 500:
                wrong.append((method, rule, mine, answer.status_code))
            if method == "POST":
                forged = one.client.post(address, headers=HTML, data={**(data or {}), "csrf": "guess"})
                if forged.status_code != 403:
                    wrong.append((method, rule, f"{mine} without the form's secret", forged.status_code))
    assert not wrong
