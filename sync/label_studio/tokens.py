"""A token of Label Studio -> the Authorization header of a request.

A personal access token is a refresh token: it is exchanged for an access token that lives five minutes. If an access
token is refused early, a new one is fetched once and the request is sent again. A legacy token is used as it is, if
the instance still permits them. Tokens are sent to Label Studio's own origin only.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import Any

import httpx

from sync.outbound import http

_ACCESS_S = 240.0  # of the 300 s an access token lives


class TokenAuth(httpx.Auth):
    """Adds the Authorization header: `Token` for a legacy token, a fresh `Bearer` for a personal access token."""

    requires_response_body = True

    def __init__(self, url: str, token: str, *, name: str) -> None:
        self.is_personal = _is_jwt(token)
        self._url, self._token, self._name = url, token, name
        self._access, self._until = "", 0.0
        self._lock = threading.Lock()

    def auth_flow(self, request: httpx.Request) -> Any:
        """See httpx.Auth. Any other origin gets no token."""
        if http.origin(str(request.url)) != http.origin(self._url):
            request.headers.pop("Authorization", None)
            yield request
            return
        if not self.is_personal:
            request.headers["Authorization"] = f"Token {self._token}"
            yield request
            return
        fresh = time.monotonic() >= self._until
        if fresh:
            yield from self._exchange()
        answer = yield self._with_access(request)
        if answer.status_code == 401 and not fresh:  # it expired early: sleep, or other server settings
            yield from self._exchange()
            answer = yield self._with_access(request)
        if answer.status_code == 401:
            self._until = 0.0

    def _exchange(self) -> Any:
        answer = yield httpx.Request("POST", f"{self._url}/api/token/refresh/", json={"refresh": self._token})
        with self._lock:
            self._access = str(http.json_of(http.checked(answer, self._name), self._name)["access"])
            self._until = time.monotonic() + _ACCESS_S

    def _with_access(self, request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = f"Bearer {self._access}"
        return request


def _is_jwt(token: str) -> bool:
    """Whether a token is a personal access token: three parts, the middle one JSON."""
    parts = token.split(".")
    if len(parts) != 3:
        return False
    try:
        return isinstance(json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))), dict)
    except ValueError:
        return False
