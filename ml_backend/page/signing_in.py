"""An API token -> a session of the page: a signed cookie, and the role of every request.

The cookie names the token, never contains it, and is looked up at each request: a token that was taken away or changed
ends its sessions at once. Nothing is stored. A form carries a second secret of the session (CSRF), and a browser that
says a request comes from another site is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from flask import Request, Response, g
from itsdangerous import BadSignature, URLSafeTimedSerializer

from ml_backend.errors import InvalidInput

COOKIE = "kaan_session"
LASTS_S = 12 * 3600
ROLES = ("read", "operate", "admin")  # each includes the ones before it; a live token opens no page
CSRF_FIELD = "csrf"
SIGN_IN = "/page/sign-in"


class _Token(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def value(self) -> bytes: ...


class _Tokens(Protocol):
    def token_of(self, value: bytes) -> _Token | None: ...
    def token_named(self, name: str) -> _Token | None: ...
    def signing_key(self) -> bytes: ...


@dataclass(frozen=True)
class Session:
    """Who looks at the page. `may("operate")` where the role includes it."""

    name: str
    role: str  # read, operate or admin
    csrf: str

    def may(self, role: str) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)


class Sessions:
    """Opens, reads and ends sessions. `secure`: browsers send the cookie over TLS only."""

    def __init__(self, tokens: _Tokens, *, secure: bool = False) -> None:
        self._tokens, self._secure = tokens, secure
        self._signer = URLSafeTimedSerializer(
            tokens.signing_key(),
            salt="kaan page",
            signer_kwargs={
                "digest_method": hashlib.sha256,
                "key_derivation": "hmac",
            },
        )

    def open(self, given: str, response: Response) -> Session:
        """Put a session for the token `given` into the response. InvalidInput for one that opens no page."""
        token = self._tokens.token_of(given.strip().encode("utf-8", "replace")) if given.strip() else None
        if token is None:
            raise InvalidInput(
                "unauthorized", "There is no such token.", "Ask the operator for one of API_TOKENS.", status=401
            )
        if token.role not in ROLES:
            raise InvalidInput(
                "forbidden",
                "This token is for the phone system.",
                "Use one of role read, operate or admin.",
                status=403,
            )
        session = Session(token.name, token.role, secrets.token_urlsafe(24))
        text = self._signer.dumps([token.name, _digest(token), session.csrf])
        response.set_cookie(
            COOKIE,
            text if isinstance(text, str) else text.decode(),
            max_age=LASTS_S,
            path="/page",
            httponly=True,
            samesite="Lax",
            secure=self._secure,
        )
        return session

    def end(self, response: Response) -> None:
        """The browser forgets the session."""
        response.delete_cookie(COOKIE, path="/page", httponly=True, samesite="Lax", secure=self._secure)

    def of(self, request: Request) -> Session | None:
        """The session of a request; None without one, or where its token is gone or has changed."""
        try:
            name, digest, csrf = self._signer.loads(request.cookies.get(COOKIE, ""), max_age=LASTS_S)
        except (BadSignature, ValueError, TypeError):
            return None
        token = self._tokens.token_named(name)
        if token is None or token.role not in ROLES or not hmac.compare_digest(_digest(token), str(digest)):
            return None
        return Session(token.name, token.role, str(csrf))

    def anyone(self, request: Request) -> str:
        """For the sign-in itself: the session where there is one."""
        g.session = self.of(request)
        return g.session.name if g.session else "anyone"

    def needs(self, role: str, *, changes: bool = False) -> Callable[[Request], str]:
        """A check for one address: signed in with at least this role; `changes`: by a form of this page."""

        def session(request: Request) -> str:
            g.session = found = self.of(request)
            if found is None:
                raise InvalidInput("unauthorized", "You are not signed in.", "Sign in with an API token.", status=401)
            if not found.may(role):
                raise InvalidInput(
                    "forbidden", f"This needs a token with role {role}.", "Ask for one in API_TOKENS.", status=403
                )
            if changes:
                _check_form(request, found)
            return found.name

        return session


def _check_form(request: Request, session: Session) -> None:
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    given: Any = request.form.get(CSRF_FIELD, "")
    if site not in ("same-origin", "none") or not hmac.compare_digest(given.encode(), session.csrf.encode()):
        raise InvalidInput(
            "not-from-here",
            "The form is not one of this page, or is from before you signed in.",
            "Go back, load the page again and repeat it.",
            status=403,
        )


def _digest(token: _Token) -> str:
    return hashlib.sha256(b"page token\0" + token.value).hexdigest()[:32]
