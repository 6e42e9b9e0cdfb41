"""A personal access token is exchanged for short-lived ones, and once more when one of those ends before its time."""

from __future__ import annotations

import base64
import json

import httpx
import pytest

from ml_backend.errors import ConfigurationError
from sync.label_studio.label_studio_client import LabelStudioClient

PERSONAL = ".".join(
    base64.urlsafe_b64encode(json.dumps({"of": part}).encode()).decode() for part in ("head", "body", "x")
)


class Server:
    """Takes the newest access token only, as long as it gives any out."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.given = 0
        self.expired = self.revoked = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if request.url.path == "/api/token/refresh/":
            assert json.loads(request.content) == {"refresh": PERSONAL}
            if self.revoked:
                return httpx.Response(401, json={"detail": "Token is blacklisted"})
            self.given, self.expired = self.given + 1, False
            return httpx.Response(200, json={"access": f"access-{self.given}"})
        known = request.headers["Authorization"] == f"Bearer access-{self.given}" and not self.expired
        return httpx.Response(200 if known else 401, json={"sent": request.content.decode()} if known else {})


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def client(server: Server) -> LabelStudioClient:
    return LabelStudioClient("http://studio.invalid", PERSONAL, transport=httpx.MockTransport(server))


def test_one_access_token_serves_many_requests(server: Server, client: LabelStudioClient) -> None:
    for _ in range(3):
        client.call("GET", "/api/version")
    assert server.given == 1


def test_an_access_token_that_ended_early_is_exchanged_once_and_the_request_sent_again(
    server: Server, client: LabelStudioClient
) -> None:
    client.call("GET", "/api/version")
    server.expired = True
    assert client.call("POST", "/api/dm/actions", json={"n": 1}) == {"sent": '{"n":1}'}
    assert server.given == 2
    assert server.asked.count("/api/dm/actions") == 2


def test_a_token_that_was_revoked_is_a_setting_to_correct_and_is_not_asked_for_ever(
    server: Server, client: LabelStudioClient
) -> None:
    client.call("GET", "/api/version")
    server.expired = server.revoked = True
    with pytest.raises(ConfigurationError) as caught:
        client.call("GET", "/api/version")
    assert caught.value.code == "http-unauthorised"
    assert server.asked == ["/api/token/refresh/", "/api/version", "/api/version", "/api/token/refresh/"]
