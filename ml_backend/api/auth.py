"""Who may call what. Three kinds of caller (design D12), each with its own credentials.

Credentials are compared as bytes in constant time; every refusal is the same 401. A kind of caller without configured
credentials is allowed only while the server listens on loopback; /api always needs a token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from flask import Request

from ml_backend.api.request_rates import RequestRates
from ml_backend.errors import InvalidInput
from ml_backend.settings import Settings

ROLES = ("read", "operate", "admin")  # each includes the ones before it
LIVE = "live"  # the phone system: /v1 and how calls went, and nothing else
LIVE_ROLES = (LIVE, "operate", "admin")  # who may ask /v1 and report outcomes
LOOPBACK = ("127.0.0.1", "::1", "localhost")
SECRET_HEADER = "X-Webhook-Secret"  # noqa: S105 - a header's name


@dataclass(frozen=True)
class Token:
    """One configured bearer token."""

    name: str
    role: str
    value: bytes


class Gate:
    """The configured credentials, and one method per kind of caller: returns the caller's name or raises 401/403."""

    def __init__(self, settings: Settings, *, processes: int = 1) -> None:
        user, password = settings.basic_auth_user, settings.basic_auth_pass.get_secret_value()
        self._basic = f"{user}:{password}".encode() if user else b""
        self._secret = settings.label_studio_webhook_secret.get_secret_value().encode()
        self._exotel = exotel_secrets(settings)
        self._tokens = tokens(settings)
        self._on_loopback = settings.bind in LOOPBACK
        self._rates = RequestRates(settings, processes=processes)

    def anyone(self, request: Request) -> str:
        """Liveness only."""
        return "anyone"

    def protocol(self, request: Request) -> str:
        """Label Studio, by the basic auth of its ML backend record."""
        if self.is_label_studio(request) or (not self._basic and self._on_loopback):
            return "label-studio"
        raise refused("Basic")

    def webhook(self, request: Request) -> str:
        """Label Studio's webhook, by its secret header, or by basic auth, which `project attach` may have set."""
        if self._secret and _same(_bytes(request.headers.get(SECRET_HEADER, "")), self._secret):
            return "label-studio-webhook"
        if self.is_label_studio(request) or (not self._secret and not self._basic and self._on_loopback):
            return "label-studio-webhook"
        raise refused("Basic")

    def exotel(self, request: Request) -> str:
        """Exotel's callbacks, which are not signed, by the secret in their URL: in the path, or as `key`."""
        if not self._exotel:
            raise InvalidInput(
                "exotel-not-set-up",
                "Callbacks of Exotel are not set up here.",
                "Set EXOTEL_WEBHOOK_SECRET.",
                status=404,
            )
        path = (request.view_args or {}).get("secret")
        given = _key(request.query_string) if path is None else str(path).encode("utf-8", "replace")
        if not sum([_same(given, wanted) for wanted in self._exotel]):  # compares all, so that timing reveals nothing
            raise refused("")
        return "exotel"

    def operator(self, request: Request) -> str:
        """Metrics: Label Studio's basic auth, or any token."""
        token = self._token(request)
        if token is not None and token.role == LIVE:
            raise _forbidden("read")
        if self.is_label_studio(request) or token or (not self._basic and self._on_loopback):
            return "operator"
        raise refused("Basic")

    def live(self, request: Request) -> str:
        """The phone system, by a token of role live, as often as its rate allows; who may operate may ask as well."""
        token = self._token(request)
        if token is None:
            raise refused("Bearer")
        if token.role not in LIVE_ROLES:
            raise _forbidden(LIVE)
        self._rates.take(token.name)
        return token.name

    def bearer(self, role: str) -> Callable[[Request], str]:
        """A check for /api: a named token with at least this role."""

        def check(request: Request) -> str:
            token = self._token(request)
            if token is None:
                raise refused("Bearer")
            if token.role not in ROLES[ROLES.index(role) :]:
                raise _forbidden(role)
            return token.name

        return check

    def token_of(self, value: bytes) -> Token | None:
        """The configured token with this value. Compares all, so that timing reveals nothing."""
        found = None
        for token in self._tokens:
            if _same(value, token.value):
                found = token
        return found

    def token_named(self, name: str) -> Token | None:
        """The configured token of this name."""
        return next((token for token in self._tokens if token.name == name), None)

    def signing_key(self) -> bytes:
        """A key that all processes with these settings derive alike; another set of tokens gives another."""
        values = (token.value for token in self._tokens)
        return hashlib.sha256(b"page session\0" + b"\0".join(values)).digest()

    def is_label_studio(self, request: Request) -> bool:
        """Whether the request carries the configured basic auth."""
        scheme, value = _authorization(request)
        if scheme != b"basic" or not self._basic:
            return False
        try:
            given = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return False
        return _same(given, self._basic)

    def has_credentials(self, request: Request) -> bool:
        """Whether the request has any credentials, right or wrong."""
        return "Authorization" in request.headers

    def _token(self, request: Request) -> Token | None:
        scheme, value = _authorization(request)
        return self.token_of(value) if scheme == b"bearer" else None


def tokens(settings: Settings) -> tuple[Token, ...]:
    """API_TOKENS parsed; Settings has checked the shape."""
    found = []
    for entry in filter(None, settings.api_tokens.get_secret_value().split(",")):
        name, _, rest = entry.strip().partition(":")
        role, _, value = rest.partition(":")
        found.append(Token(name, role, value.encode()))
    return tuple(found)


def exotel_secrets(settings: Settings) -> tuple[bytes, ...]:
    """EXOTEL_WEBHOOK_SECRET: one secret, or two with a comma between during a rotation."""
    found = [part.strip() for part in settings.exotel_webhook_secret.get_secret_value().split(",")]
    return tuple(part.encode() for part in found if part)


def without_key(query: bytes) -> bytes:
    """A query string without the secret, for storage."""
    return b"&".join(part for part in query.split(b"&") if part and part.partition(b"=")[0] != b"key")


def _key(query: bytes) -> bytes:
    given = [part.partition(b"=")[2] for part in query.split(b"&") if part.partition(b"=")[0] == b"key"]
    return unquote_to_bytes(given[0]) if len(given) == 1 else b""


def _forbidden(role: str) -> InvalidInput:
    return InvalidInput(
        "forbidden", f"This needs a token with role {role}.", "Ask for one in API_TOKENS.", status=403
    )  # fmt: skip


def refused(scheme: str) -> InvalidInput:
    """The one 401."""
    error = InvalidInput(
        "unauthorized",
        "The credentials are missing or wrong.",
        "Send the credentials this server was configured with.",
        status=401,
    )
    error.scheme = scheme  # type: ignore[attr-defined]
    return error


def _authorization(request: Request) -> tuple[bytes, bytes]:
    scheme, _, value = _bytes(request.headers.get("Authorization", "")).strip().partition(b" ")
    return scheme.lower(), value.strip()


def _bytes(header: str) -> bytes:
    """A header as it was on the wire: WSGI decodes headers as Latin-1."""
    return header.encode("latin-1", "replace")


def _same(given: bytes, wanted: bytes) -> bool:
    """Equal, in a time that depends on neither value nor length."""
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(wanted).digest())
