"""Addresses that no client of ours would write: refused once for all routes, and never a redirect."""

from __future__ import annotations

import pytest
from werkzeug.test import EnvironBuilder

from tests.ml_backend.api.serving import BASIC, BEARER, WEBHOOK, Serving

CONTROLS = ("%00", "%01", "%09", "%0A", "%0d", "%1b", "%7F", "%C2%85")
KEEPS_QUERY = ("/webhooks/exotel/<secret>", "/api/nerve/exotel/recording-webhook")


def addresses(serving: Serving) -> list[tuple[str, str, str]]:
    """(rule, method, address) of every route."""
    return [
        (rule.rule, method, "/".join("1" if part.startswith("<") else part for part in rule.rule.split("/")))
        for rule in serving.app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


@pytest.mark.parametrize("control", CONTROLS)
def test_control_characters_in_a_path_are_refused_on_every_route(serving: Serving, control: str) -> None:
    client = serving.app.test_client()
    found = {
        path: client.open(path, method=method, headers=headers, json={}).status_code
        for _, method, address in addresses(serving)
        for path in (f"{address}{control}", f"/{control}{address}")
        for headers in ({}, BASIC, BEARER)
    }
    assert set(found.values()) == {400}, {path: status for path, status in found.items() if status != 400}


@pytest.mark.parametrize("control", CONTROLS)
def test_control_characters_in_a_query_are_refused_on_every_route_that_does_not_keep_it(
    serving: Serving, control: str
) -> None:
    client = serving.app.test_client()
    found = {
        address: client.open(f"{address}?limit={control}", method=method, headers=BEARER, json={}).status_code
        for rule, method, address in addresses(serving)
        if rule not in KEEPS_QUERY
    }
    assert set(found.values()) == {400}, found


def test_a_control_character_that_is_not_escaped_is_refused_too(serving: Serving) -> None:
    """As a server hands it over that lets it through."""
    for changed in ({"PATH_INFO": "/api/jobs\x00"}, {"QUERY_STRING": "name=\x00"}, {"PATH_INFO": "/api/jobs\xc2\x85"}):
        environ = {**EnvironBuilder("/api/jobs", headers=BEARER).get_environ(), **changed}
        answer = serving.app.test_client().open(environ)
        assert answer.status_code == 400, changed
        assert answer.get_json()["code"] == "control-characters"


def test_text_of_any_script_is_no_control_character(serving: Serving) -> None:
    assert serving.get("/api/calls/%E0%A4%95%E0%A4%BE%E0%A4%A8?", BEARER).status_code == 404
    assert serving.get("/api/jobs?name=%C3%A9%20%E2%80%8F", BEARER).status_code == 200


def test_no_address_is_answered_with_a_redirect(serving: Serving) -> None:
    """A redirect to the plain form would be sent before anybody is asked, with the secret, to the caller's Host."""
    client = serving.app.test_client()
    for _, method, address in addresses(serving):
        odd = (f"/{address}", f"//{address}", address.replace("/", "//"), f"{address}/", f"{address}//", f"/.{address}")
        for path in odd:
            for headers in ({}, {**BEARER, **WEBHOOK}):
                answer = client.open(
                    method=method, headers={**headers, "Host": "evil.example"}, json={},
                    environ_overrides={"PATH_INFO": path},
                )  # fmt: skip
                assert not 300 <= answer.status_code < 400, (method, path)
                assert "Location" not in answer.headers
                assert "evil.example" not in answer.text
