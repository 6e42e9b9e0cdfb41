"""Three kinds of caller, each with credentials of its own; everything else is the same 401."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from ml_backend import tables
from tests.ml_backend.api.serving import BASIC, BEARER, PASSWORD, SECRET, TOKEN, USER, WEBHOOK, Serving

PROTOCOL = [("/setup", {"project": "1.1", "schema": ""}), ("/predict", {"project": "1.1", "tasks": []}),
            ("/versions", {"project": "1.1"})]  # fmt: skip
EVENT = {"action": "SOMETHING"}


def basic(pair: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


WRONG = [
    {}, basic(f"{USER}:wrong"), basic(f"wrong:{PASSWORD}"), basic(USER), basic(":"), basic(f"{USER}:{PASSWORD}x"),
    basic("é:ü"), {"Authorization": "Basic"}, {"Authorization": "Basic !!!"}, {"Authorization": "Basic ÿÿÿÿ"},
    {"Authorization": ""}, {"Authorization": "é"}, {"Authorization": f"Bearer {TOKEN}"},
    {"Authorization": f"Digest username={USER}"},
    {"Authorization": BASIC["Authorization"] + "," + BASIC["Authorization"]},
    {"Authorization": "Basic " + "A" * 5000}, WEBHOOK,
]  # fmt: skip


@pytest.mark.parametrize("headers", WRONG, ids=range(len(WRONG)))
@pytest.mark.parametrize(("path", "body"), PROTOCOL)
def test_only_label_studios_basic_auth_opens_the_protocol(
    serving: Serving, path: str, body: object, headers: dict[str, str]
) -> None:
    answer = serving.post(path, body, headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert serving.rows(tables.projects) == []
    assert serving.post(path, body).status_code == 200


def test_every_refusal_is_the_same(serving: Serving) -> None:
    bodies = []
    for headers in WRONG:
        body = serving.post("/predict", {}, headers=headers).get_json()
        body.pop("request_id")
        bodies.append(body)
    assert bodies == [bodies[0]] * len(bodies)


@pytest.mark.parametrize("path", ["/webhook", "/webhooks/label-studio"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"X-Webhook-Secret": "wrong"}, {"X-Webhook-Secret": ""}, {"X-Webhook-Secret": "é" * 24},
     {"X-Webhook-Secret": SECRET + "x"}, BEARER, basic("a:b")],
)  # fmt: skip
def test_a_webhook_without_the_secret_is_refused_and_nothing_is_stored(
    serving: Serving, path: str, headers: dict[str, str]
) -> None:
    assert serving.post(path, EVENT, headers=headers).status_code == 401
    assert serving.rows(tables.events) == []


@pytest.mark.parametrize("path", ["/webhook", "/webhooks/label-studio"])
@pytest.mark.parametrize("headers", [WEBHOOK, BASIC])
def test_a_webhook_is_accepted_with_the_secret_header_or_the_basic_auth(
    serving: Serving, path: str, headers: dict[str, str]
) -> None:
    assert serving.post(path, EVENT, headers=headers).status_code == 200
    assert len(serving.rows(tables.events)) == 1


def test_a_password_of_other_letters_is_refused_at_the_start_and_offering_one_is_a_plain_401(
    serve: Callable[..., Serving], serving: Serving
) -> None:
    """Label Studio sends it as Latin-1, others as UTF-8: it worked for `doctor` and not for Label Studio."""
    with pytest.raises(ValidationError, match="ASCII"):
        serve(basic_auth_pass="पासवर्ड-लंबा-है-बहुत")
    assert serving.post("/versions", {"project": 1}, headers=basic(f"{USER}:पासवर्ड-लंबा-है-बहुत")).status_code == 401


@pytest.mark.parametrize(
    "headers", [{}, BASIC, WEBHOOK, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer é"}]
)
def test_the_api_takes_tokens_only(serving: Serving, headers: dict[str, str]) -> None:
    answer = serving.get("/api/jobs", headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert serving.get("/api/jobs", BEARER).status_code == 200


def test_the_api_stays_shut_where_no_token_is_configured(serve: Callable[..., Serving]) -> None:
    serving = serve(api_tokens="", basic_auth_user="", basic_auth_pass="")
    assert serving.get("/api/jobs").status_code == 401
    assert serving.get("/api/jobs", {"Authorization": "Bearer "}).status_code == 401


def test_without_credentials_loopback_is_open_and_the_network_is_not(serve: Callable[..., Serving]) -> None:
    nothing = {"basic_auth_user": "", "basic_auth_pass": "", "label_studio_webhook_secret": ""}
    home = serve(**nothing)
    assert home.post("/predict", {"project": 1, "tasks": []}, headers={}).status_code == 200
    assert home.post("/webhook", EVENT, headers={}).status_code == 200
    abroad = serve(host="0.0.0.0", **nothing)
    assert abroad.post("/predict", {"project": 1, "tasks": []}, headers={}).status_code == 401
    assert abroad.post("/webhook", EVENT, headers={}).status_code == 401
    assert abroad.get("/health").status_code == 200


def test_a_missing_webhook_secret_does_not_open_the_receiver(serve: Callable[..., Serving]) -> None:
    serving = serve(label_studio_webhook_secret="")
    assert serving.post("/webhooks/label-studio", EVENT, headers={}).status_code == 401
    assert serving.post("/webhooks/label-studio", EVENT, headers={"X-Webhook-Secret": ""}).status_code == 401


def test_every_route_has_a_guard_and_only_liveness_is_open(serving: Serving) -> None:
    open_routes = set()
    for rule in serving.app.url_map.iter_rules():
        who = serving.app.view_functions[rule.endpoint].who  # type: ignore[attr-defined]
        if who.__name__ == "anyone":
            open_routes.add(rule.rule)
    assert open_routes == {"/", "/health", "/ready", "/page/sign-in", "/page/static/<name>"}
