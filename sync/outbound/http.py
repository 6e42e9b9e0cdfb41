"""HTTP for services that the settings name: clients with timeouts and limits, and one mapping of foreign errors.

Exotel, and addresses from outside, go through `sync.outbound.fetching`, which does not trust the server.

    timeout, no connection, 408, 425, 429, 5xx  -> RetryableError (`Retry-After` is obeyed)
    a certificate that is not trusted           -> RetryableError that names CA_FILE
    401                                         -> ConfigurationError: the credentials are wrong
    other 4xx, 3xx that leads nowhere, bad URL  -> PermanentError

Messages name the service and the status, never the address with its query, never a header, never a secret.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from ml_backend import certificates, quantities
from ml_backend.errors import ConfigurationError, KaanError, PermanentError, RetryableError

CONNECT_S, READ_S = 5.0, 60.0
JSON_LIMIT = 64 * 1024 * 1024  # one page of 500 tasks with all predictions is about 3 MB
MAX_HOPS = 3
RETRY_AFTER_LIMIT_S = 3600.0
_TEMPORARY = (408, 425, 429)
_ASK = "Trying again will not help: see what the service says about it."
_PERMANENT_STEP = {
    "http-forbidden": "Check what the user or key may do there.",
    "http-missing": "Check that it still exists there.",
}


def client(
    base_url: str = "",
    *,
    read_s: float = READ_S,
    transport: httpx.BaseTransport | None = None,
    ca_file: str = "",
    **options: Any,
) -> httpx.Client:
    """A client that never follows redirects by itself; `transport` is the seam for tests.

    It has its own transport, so that it ignores the environment's proxies: a plain http proxy would receive every
    credential. SSL_CERT_FILE and SSL_CERT_DIR are still read.
    """
    timeout = httpx.Timeout(read_s, connect=CONNECT_S)
    transport = transport or httpx.HTTPTransport(verify=trust(ca_file), trust_env=True)
    return httpx.Client(base_url=base_url, timeout=timeout, transport=transport, follow_redirects=False, **options)


def trust(ca_file: str) -> ssl.SSLContext:
    """The certificates that HTTPS connections trust: httpx's, and those of CA_FILE."""
    return certificates.with_file(httpx.create_ssl_context(), ca_file)


@contextmanager
def errors_as(name: str) -> Iterator[None]:
    """Raise everything that the HTTP library raises as our errors. `name` is the service's name for people."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise RetryableError("http-timeout", f"{name} did not answer in time.", _look(name)) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise PermanentError(
            "http-bad-address", f"The address for {name} is not a usable http address.", "Correct the address."
        ) from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        if (refusal := certificates.reason(error)) is not None:
            raise certificates.refused(name, refusal, where=_where(error)) from error
        what = type(error).__name__
        raise RetryableError("http-unreachable", f"{name} cannot be reached ({what}).", _look(name)) from error


def checked(response: httpx.Response, name: str) -> httpx.Response:
    """The response itself when it is 2xx, else our error for its status."""
    if response.is_success:
        return response
    raise refused(name, response.status_code, retry_after=response.headers.get("retry-after", ""), body=_peek(response))


def refused(name: str, status: int, *, retry_after: str = "", body: str = "") -> KaanError:
    """Our error for an HTTP status. A part of `body` is shown, so pass only what the service itself sent."""
    said = f": {body}" if body else ""
    if status == 401:
        return ConfigurationError(
            "http-unauthorised", f"{name} refused the credentials (401).", f"Check the key or token set for {name}."
        )
    if status in _TEMPORARY or status >= 500:
        wait = float(retry_after) if retry_after.isdecimal() else None
        return RetryableError(
            "http-busy" if status == 429 else "http-unavailable",
            f"{name} cannot answer now ({status}){said}",
            _look(name),
            after_s=min(wait, RETRY_AFTER_LIMIT_S) if wait is not None else None,
        )
    code = {403: "http-forbidden", 404: "http-missing", 410: "http-missing"}.get(status, "http-refused")
    return PermanentError(
        code, f"{name} refused the request ({status}){said}", _PERMANENT_STEP.get(code, _ASK), status=status
    )


def json_of(response: httpx.Response, name: str) -> Any:
    """The JSON of a checked response; anything else (a login page, a proxy's HTML) has its own error."""
    if len(response.content) > JSON_LIMIT:
        raise PermanentError("http-too-large", f"{name} sent more than {JSON_LIMIT >> 20} MB.", "Check the address.")
    try:
        return response.json()
    except ValueError as error:
        raise RetryableError(
            "http-not-json", f"{name} sent an answer that is not JSON.", "Check the address: is a proxy answering?"
        ) from error


def too_large(limit_bytes: int) -> PermanentError:
    """The refusal of a body over the cap."""
    return PermanentError(
        "audio-too-large",
        f"The recording is larger than {limit_bytes / 1e6:g} MB.",
        "Raise MAX_RECORDING_MB, or split the recording.",
    )


def download(
    http: httpx.Client,
    url: str,
    target: Path,
    *,
    name: str,
    limit_bytes: int,
    headers: Mapping[str, str] | None = None,
    allowed: Callable[[str], bool] = lambda url: True,
) -> int:
    """Stream `url` into `target`; gives the bytes written.

    Every hop is checked with `allowed` before it is requested. Headers hold credentials, so only the first origin gets
    them. A broken connection is resumed with a Range request as long as it makes progress.
    """
    written = 0
    with target.open("wb") as sink:
        while True:
            before = written
            try:
                with errors_as(name):
                    ranged = {**(headers or {}), "Accept-Encoding": "identity"}
                    if written:
                        ranged["Range"] = f"bytes={written}-"
                    with _follow(http, url, ranged, name=name, allowed=allowed) as response:
                        if written and response.status_code != 206:  # the server starts again from the beginning
                            sink.seek(0)
                            sink.truncate()
                            written = 0
                        for piece in response.iter_bytes():
                            written += len(piece)
                            if written > limit_bytes:
                                raise too_large(limit_bytes)
                            sink.write(piece)
                return written
            except RetryableError:
                if written <= before:
                    raise


@contextmanager
def _follow(
    http: httpx.Client, url: str, headers: Mapping[str, str], *, name: str, allowed: Callable[[str], bool]
) -> Iterator[httpx.Response]:
    first = origin(url)
    for _ in range(MAX_HOPS + 1):
        if not allowed(url):
            raise PermanentError(
                "audio-source-refused",
                f"{name} points to an address that is not allowed.",
                "List its origin if you trust it.",
            )
        sent = (
            dict(headers)
            if origin(url) == first
            else {k: v for k, v in headers.items() if k in ("Range", "Accept-Encoding")}
        )
        with http.stream("GET", url, headers=sent) as response:
            if not response.is_redirect:
                if not response.is_success:
                    response.read() if int(response.headers.get("content-length") or 0) < 10_000 else None
                    checked(response, name)
                yield response
                return
            url = urljoin(url, response.headers["location"])
    raise PermanentError("http-redirects", f"{name} redirected more than {MAX_HOPS} times.", "Check the address.")


def origin(url: str) -> str:
    """scheme://host:port in lower case, with the default port filled in; empty if `url` is no http address."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        return ""
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}" if parts.hostname else ""


def _peek(response: httpx.Response) -> str:
    """The service's own message (JSON `detail` or `validation_errors`), shortened; empty for HTML pages."""
    try:
        said = response.json()
    except (ValueError, httpx.ResponseNotRead):
        return ""
    if isinstance(said, dict):
        said = said.get("validation_errors") or said.get("detail") or said.get("non_field_errors") or ""
    return quantities.shortened(str(said), 80)


def _where(error: httpx.HTTPError | httpx.StreamError) -> str:
    """scheme://host:port of the request that failed, which holds no secret; empty where none is known."""
    try:
        return origin(str(error.request.url))  # type: ignore[union-attr]
    except (AttributeError, RuntimeError):
        return ""


def _look(name: str) -> str:
    return f"It is tried again; if it lasts, check that {name} runs and can be reached from here."
