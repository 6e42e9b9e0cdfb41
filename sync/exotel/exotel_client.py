"""The only code that calls Exotel's API: one call, and the listing. Raises our errors, never a library's.

Every request waits for the account's rate limiter. The answer is untrusted input: HTML, XML, an error inside a 200 or a
page without its rows is refused as a whole, and a next page is only ever a path on the host that the settings name.
Our errors leave out the provider's own message, because it may quote a phone number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, KaanError, PermanentError, RetryableError
from ml_backend.settings import Settings
from sync.exotel.rate_limiter import RateLimiter
from sync.outbound import http, origins
from sync.outbound.fetching import Basic, Outbound

NAME = "Exotel"
OWN = ".exotel.com"  # every host below it is Exotel's
PAGE_SIZE = 100  # the most Exotel gives
VALIDITY_MIN = 60  # of signed links; Exotel takes 5 to 60
ANSWER_BYTES = 16 * 1024 * 1024
DEADLINE_S = 60.0
HOLD_S = 30.0  # after a 429 that names no time
TIME = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class ListingPage:
    """One page of the listing. `next_path` is empty on the last one; `total` is the provider's count, if given."""

    calls: list[Mapping[str, Any]]
    next_path: str
    total: int | None


class ExotelClient:
    """One Exotel account."""

    def __init__(self, settings: Settings, limiter: RateLimiter, *, deadline_s: float = DEADLINE_S) -> None:
        base = _base(settings)
        self.base = f"{base.scheme}://{base.authority}"
        self.root = f"/v1/Accounts/{quote(settings.exotel_account_sid, safe='')}/Calls"
        self.basic = credentials(settings)
        self.pace = limiter
        entry = origins.AllowedOrigin(base.scheme, base.host, base.port, self.root, may_be_private=True)
        self._out = Outbound((entry,), deadline_s=deadline_s, name=NAME, ca_file=settings.ca_file)

    def call(self, call_sid: str) -> Mapping[str, Any]:
        """A call with its details, and a signed link if the account offers them. PermanentError when it is unknown."""
        path = f"{self.root}/{quote(call_sid, safe='')}.json?details=true&RecordingUrlValidity={VALIDITY_MIN}"
        found = self._json(path).get("Call")
        if not isinstance(found, Mapping) or found.get("Sid") != call_sid:
            raise _strange("a call without its Sid")
        return found

    def first_page(self, *, since: str, until: str) -> str:
        """The path of a window's first page; times are the provider's own, see TIME."""
        window = quote(f"gte:{since};lte:{until}", safe="")
        return f"{self.root}.json?DateCreated={window}&PageSize={PAGE_SIZE}&SortBy=DateCreated%3Aasc"

    def page(self, path: str) -> ListingPage:
        """One page, refused as a whole when anything about it is wrong."""
        try:
            answer = self._json(path)
        except PermanentError as error:
            if error.code == "http-missing":
                raise ConfigurationError(
                    "exotel-not-found",
                    "Exotel does not know this account at this address (404).",
                    "Check EXOTEL_ACCOUNT_SID, and EXOTEL_API_URL for the account's region.",
                ) from error
            raise
        rows, metadata = answer.get("Calls"), answer.get("Metadata")
        if not isinstance(rows, list) or not isinstance(metadata, Mapping):
            raise _strange("a page without calls or metadata")
        if not all(isinstance(row, Mapping) and isinstance(row.get("Sid"), str) and row["Sid"] for row in rows):
            raise _strange("a call without its Sid")
        total = metadata.get("Total")
        counted = (
            int(total) if isinstance(total, int | str) and str(total).isdecimal() and len(str(total)) < 12 else None
        )
        return ListingPage(rows, self._next(metadata.get("NextPageUri")), counted)

    def _next(self, given: Any) -> str:
        if given is None or given == "":
            return ""
        path = quote(given, safe="/?&=%+:;,.-_~!$'()*") if isinstance(given, str) else ""
        if not path.startswith(f"{self.root}.json?") or not _is_plain(self.base + path):
            raise _strange("a next page that is no path of this account's listing")
        return path

    def _json(self, path: str) -> Mapping[str, Any]:
        self.pace.take()
        try:
            status, headers, body = self._out.read(self.base + path, limit_bytes=ANSWER_BYTES, basic=self.basic)
        except PermanentError as error:  # a redirect elsewhere, an odd encoding, too many bytes: Exotel sends none
            raise _strange("in a way it never does") from error
        if status == 429:
            waits = headers.get("retry-after", "")
            self.pace.hold(min(float(waits), http.RETRY_AFTER_LIMIT_S) if waits.isdecimal() else HOLD_S)
        if status != 200:
            raise _refused(status, headers.get("retry-after", ""))
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            kind = "a page of markup" if body.lstrip()[:1] == b"<" else "something that is not JSON"
            raise _strange(kind) from None
        if not isinstance(answer, dict):
            raise _strange("JSON of another kind")
        problem = answer.get("RestException")
        if problem is not None:  # an error inside a 200
            code = str(problem.get("Status", "")) if isinstance(problem, Mapping) else ""
            raise _refused(int(code) if len(code) == 3 and code.isdecimal() and code[0] in "45" else 400, "")
        return answer


def credentials(settings: Settings) -> Basic | None:
    """API key and token, if both are set, for Exotel's own hosts and no other."""
    key, token = settings.exotel_api_key.get_secret_value(), settings.exotel_api_token.get_secret_value()
    return Basic(key, token, homes(settings)) if key and token else None


def homes(settings: Settings) -> tuple[origins.CredentialHost, ...]:
    """The hosts that may receive key and token: Exotel's, the API's, and those EXOTEL_CREDENTIAL_HOSTS names."""
    base = _base(settings)
    if base.scheme != "https" and not origins.is_loopback(base.host):
        raise ConfigurationError(
            "exotel-url-not-https",
            "EXOTEL_API_URL is plain http, so the network path could read the key and the token.",
            "Write it as https://host.",
        )
    api = origins.CredentialHost(
        base.host, base.port if base.scheme == "http" else None, is_local=base.scheme == "http"
    )
    return (origins.CredentialHost(OWN), api, *named_homes(settings))


def named_homes(settings: Settings) -> tuple[origins.CredentialHost, ...]:
    """EXOTEL_CREDENTIAL_HOSTS, read by the one parser of addresses."""
    found = []
    for number, text in enumerate(settings.exotel_credential_hosts.split(","), 1):
        if not text.strip():
            continue
        try:
            host, port = origins.named_host(text.strip())
        except PermanentError as error:
            raise ConfigurationError(
                "bad-credential-host",
                f"Entry {number} of EXOTEL_CREDENTIAL_HOSTS cannot be used: it {_why(error)}",
                "Write entries as host or host:port, separated by commas; https is always used.",
            ) from None
        found.append(origins.CredentialHost(host, port))
    return tuple(found)


def is_set(settings: Settings) -> bool:
    """Whether an Exotel account is configured."""
    return bool(settings.exotel_account_sid and credentials(settings))


def client_of(context: Context) -> ExotelClient:
    """The process's client for the account the settings name."""
    settings = context.settings
    if not is_set(settings):
        raise ConfigurationError(
            "exotel-not-set",
            "No Exotel account is configured.",
            "Set EXOTEL_ACCOUNT_SID, EXOTEL_API_KEY and EXOTEL_API_TOKEN.",
        )

    def make() -> ExotelClient:
        limiter = RateLimiter(context.db, settings.exotel_account_sid, per_minute=settings.exotel_requests_per_minute)
        return ExotelClient(settings, limiter)

    client: ExotelClient = context.keep("exotel", make)
    return client


def _base(settings: Settings) -> origins.Address:
    try:
        return origins.parse(settings.exotel_api_url)
    except PermanentError:
        raise ConfigurationError(
            "bad-exotel-url",
            "EXOTEL_API_URL is not an address that can be used.",
            "Write it as https://host, without key and token: those have settings of their own.",
        ) from None


def _why(error: PermanentError) -> str:
    return error.sentence.removeprefix("The recording's address ")


def _is_plain(text: str) -> bool:
    try:
        origins.parse(text)
    except PermanentError:
        return False
    return True


def _refused(status: int, retry_after: str) -> KaanError:
    if status in (402, 403):
        return ConfigurationError(
            "exotel-forbidden",
            f"Exotel does not permit this request with this key ({status}).",
            "Check the key's scope and its IP list, and that the account is paid for.",
        )
    return http.refused(NAME, status, retry_after=retry_after)


def _strange(what: str) -> RetryableError:
    return RetryableError(
        "exotel-strange-answer",
        f"Exotel answered {what}, so nothing of that answer was used.",
        "It is asked again; check EXOTEL_API_URL if it lasts: is a proxy answering?",
    )
