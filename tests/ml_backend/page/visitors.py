"""People who look at the page: a browser's requests with a session."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from werkzeug.test import Client, TestResponse

from tests.ml_backend.api.serving import OPERATE, TOKEN, Serving

ADMIN = "b" * 24
TOKENS = {"read": TOKEN, "operate": OPERATE, "admin": ADMIN}
API_TOKENS = f"ops:read:{TOKEN},shop:operate:{OPERATE},boss:admin:{ADMIN},phone:live:{'p' * 24}"
HTML = {"Accept": "text/html,application/xhtml+xml"}


@dataclass
class Visitor:
    """One browser."""

    client: Client

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(path, headers=HTML, **options)

    def post(self, path: str, csrf: str | None = None, **fields: str) -> TestResponse:
        """A form of the page; with the session's CSRF secret unless another is given."""
        secret = self.csrf() if csrf is None else csrf
        return self.client.post(path, data={"csrf": secret, **fields}, headers=HTML)

    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.get("/page/reports/live").text)
        return found[1] if found else ""


def visitor(serving: Serving, role: str = "read") -> Visitor:
    """Signed in with the token of this role. `serving` must know it: `serve(api_tokens=API_TOKENS)` has all."""
    one = Visitor(serving.app.test_client())
    answer = one.client.post("/page/sign-in", data={"token": TOKENS[role]}, headers=HTML)
    assert answer.status_code == 303, answer.text
    return one
