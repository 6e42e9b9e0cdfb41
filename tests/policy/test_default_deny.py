"""Every route refuses a stranger unless it is on the list here: a new route is closed until somebody opens it."""

import base64
import json

import pytest

from ml_backend import db, settings
from ml_backend.api.app import create_app, load_plugin

OPEN = {"/", "/health", "/ready"}  # liveness and readiness say nothing about anybody's calls
ENTRANCE = {"/page/sign-in", "/page/static/<name>"}  # where a token opens a session, and what that form looks like
USER, PASSWORD = "label-studio", "a-password-of-some-length"
WEBHOOK, READ, ADMIN = "webhook-secret-of-some-length", "read-token-of-some-length", "admin-token-of-some-length"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deny")
    given = settings.Settings(
        _env_file=None, data_dir=folder, database_url="", object_store="", host="0.0.0.0",
        basic_auth_user=USER, basic_auth_pass=PASSWORD, label_studio_webhook_secret=WEBHOOK,
        exotel_webhook_secret="exotel-secret-of-some-length", api_tokens=f"eyes:read:{READ},boss:admin:{ADMIN}",
    )  # fmt: skip
    db.upgrade(given.database)
    return create_app(given, load_plugin(given.plugin))


def closed(app):
    """(method, address) of everything that is not on the open list."""
    for rule in app.url_map.iter_rules():
        if rule.rule not in OPEN | ENTRANCE:
            for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
                address = rule.rule
                for name in rule.arguments:
                    address = (
                        address.replace(f"<{name}>", "1").replace(f"<int:{name}>", "1").replace(f"<path:{name}>", "1")
                    )
                yield method, address


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def asked(app, method, address, headers):
    return app.test_client().open(address, method=method, json={"project": "1.0", "tasks": []}, headers=headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic(USER, "wrong"),
        basic("", ""),
        basic(USER, PASSWORD + "x"),
        {"Authorization": "Bearer wrong-token-of-some-length"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic ÿÿ"},
        {"X-Webhook-Secret": ""},
        {"X-Webhook-Secret": "wrong-secret-of-some-length"},
        {"X-Forwarded-For": "127.0.0.1"},
    ],
    ids=str,
)
def test_a_stranger_is_refused_everywhere(app, headers):
    opened = {}
    for method, address in closed(app):
        answer = asked(app, method, address, headers)
        # 404 for an address whose secret is part of the path: it must look like no address at all.
        if answer.status_code not in (401, 404):
            opened[f"{method} {address}"] = answer.status_code
    assert not opened


def test_a_refusal_says_what_to_do_and_nothing_about_the_secret(app):
    for method, address in closed(app):
        answer = asked(app, method, address, basic(USER, "guess-of-some-length"))
        body = json.loads(answer.data)
        assert answer.headers["Content-Type"].startswith("application/json"), address
        assert PASSWORD not in answer.text, address
        assert "guess" not in answer.text, address
        assert "next_step" in json.dumps(body), address


def test_one_kind_of_caller_does_not_open_anothers_doors(app):
    label_studio, hook = basic(USER, PASSWORD), {"X-Webhook-Secret": WEBHOOK}
    for method, address in closed(app):
        if address.startswith(("/api", "/page")):
            assert asked(app, method, address, label_studio).status_code == 401, address
            assert asked(app, method, address, hook).status_code == 401, address
        elif address in ("/setup", "/predict", "/versions"):
            assert asked(app, method, address, hook).status_code == 401, address
            assert asked(app, method, address, {"Authorization": f"Bearer {ADMIN}"}).status_code == 401, address


def test_a_reader_may_not_change_anything(app):
    token = {"Authorization": f"Bearer {READ}"}
    for method, address in closed(app):
        # /api/nerve/ is the earlier system's address of Exotel's callbacks, which have a secret of their own.
        if address.startswith("/api") and not address.startswith("/api/nerve/") and method != "GET":
            assert asked(app, method, address, token).status_code == 403, f"{method} {address}"


def test_every_open_route_exists_and_answers(app):
    for address in OPEN:
        assert app.test_client().get(address).status_code in (200, 503), address


def test_without_credentials_the_server_listens_on_this_machine_only():
    assert settings.Settings(_env_file=None, basic_auth_user="", basic_auth_pass="", host="").bind == "127.0.0.1"
