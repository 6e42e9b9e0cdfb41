"""Address -> bytes in a file, without trusting the server. For recordings and Exotel's API.

A host is resolved once, every IP address it has is checked, and the connection goes to an address that was checked
(with the host's name for TLS and in the Host header), so DNS rebinding has no effect. At most three redirects are
followed, each checked against the same list. Credentials go only to their own hosts and only with the first request, so
no answer can move them elsewhere. The environment's proxies are ignored. One deadline covers everything from the
connection to the last byte: a timer closes the socket, because a read timeout never ends a server that sends one byte a
second.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from ml_backend.context import Context
from ml_backend.errors import PermanentError, RetryableError
from sync.outbound import http, origins
from sync.outbound.body import PEEK_BYTES, pieces, refuse_pages, stated_length
from sync.outbound.deadline import Deadline
from sync.outbound.origins import Address, AllowedOrigin, CredentialHost

CONNECT_S, READ_S, DEADLINE_S = 10.0, 30.0, 600.0
MAX_HOPS = 3
_REDIRECTS = (301, 302, 303, 307, 308)

Resolver = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True)
class Basic:
    """Credentials, and the hosts they belong to. They are sent to no other host."""

    user: str
    password: str = field(repr=False)
    homes: Sequence[CredentialHost]

    def header(self, address: Address) -> dict[str, str]:
        """The header for a request to this address; empty if the host is not theirs or does not support Basic."""
        if not address.takes_credentials or not any(home.covers(address) for home in self.homes):
            return {}
        pair = f"{self.user}:{self.password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


@dataclass(frozen=True)
class Fetched:
    """What was written. `complete` is False if the server stated no length: then only decoding can show it."""

    size_bytes: int
    sha256: str
    content_type: str
    complete: bool
    address: Address  # where the bytes came from, after redirects


def resolve(host: str, port: int) -> Sequence[str]:
    """Every address of a name, from the system's resolver."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise RetryableError(
            "host-unknown",
            "The recording's server has no address at the moment.",
            "It is tried again; check the name service of this machine if it lasts.",
        ) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Outbound:
    """Fetches from one list of origins. Keeps no connection open, so that no host can answer for another."""

    def __init__(
        self,
        permitted: Sequence[AllowedOrigin],
        *,
        resolver: Resolver = resolve,
        deadline_s: float = DEADLINE_S,
        name: str = "the recording's server",
        ca_file: str = "",
    ) -> None:
        self.permitted = tuple(permitted)
        self.resolver = resolver
        self.deadline_s = deadline_s
        self.name = name
        self._transport = httpx.HTTPTransport(
            verify=http.trust(ca_file), limits=httpx.Limits(max_keepalive_connections=0), trust_env=True
        )

    def fetch(self, url: str, target: Path, *, limit_bytes: int, basic: Basic | None = None) -> Fetched:
        """GET `url` into `target`. A body that ends early, a page instead of audio, too many bytes: all are errors."""
        with target.open("wb") as sink, self._answer(url, basic, {"Accept": "*/*"}) as (response, address, cut):
            length = stated_length(response)
            if length is not None and length > limit_bytes:
                raise http.too_large(limit_bytes)
            digest, size, first = hashlib.sha256(), 0, b""
            for piece in pieces(response, self.name, length, limit_bytes, cut):
                if len(first) < PEEK_BYTES:
                    first += piece[: PEEK_BYTES - len(first)]
                    refuse_pages(first)
                size += len(piece)
                if size > limit_bytes:
                    raise http.too_large(limit_bytes)
                digest.update(piece)
                sink.write(piece)
            whole = length is not None or "transfer-encoding" in response.headers
            kind = response.headers.get("content-type", "")[:80]
            return Fetched(size, digest.hexdigest(), kind, whole, address)

    def read(self, url: str, *, limit_bytes: int, basic: Basic | None = None) -> tuple[int, Mapping[str, str], bytes]:
        """GET a small answer into memory, whatever its status: (status, headers, body)."""
        with self._answer(url, basic, {"Accept": "application/json"}, checked=False) as (response, _, cut):
            body = b""
            for piece in pieces(response, self.name, stated_length(response), limit_bytes, cut):
                body += piece
                if len(body) > limit_bytes:
                    raise http.too_large(limit_bytes)
            return response.status_code, dict(response.headers), body

    @contextmanager
    def _answer(
        self, url: str, basic: Basic | None, headers: Mapping[str, str], *, checked: bool = True
    ) -> Iterator[tuple[httpx.Response, Address, Deadline]]:
        """The last answer of a chain of redirects, with the timer that guards its body."""
        address, origin = origins.permitted(url, self.permitted)
        given = basic.header(address) if basic is not None else {}
        with Deadline(self.deadline_s, self.name) as cut:
            for _ in range(MAX_HOPS + 1):
                with self._ask(address, origin, {**headers, **given}, cut) as response:
                    if response.status_code not in _REDIRECTS:
                        if response.status_code == 401 and not given and (checked or basic is not None):
                            raise origins.wants_credentials(self.name)
                        if checked and response.status_code != 200:
                            raise http.refused(
                                self.name, response.status_code, retry_after=response.headers.get("retry-after", "")
                            )
                        yield response, address, cut
                        return
                    location = response.headers.get("location", "")
                address, origin = origins.permitted(address.sibling(location).text, self.permitted)
                given = {}  # credentials never follow a redirect
        raise PermanentError(
            "http-redirects",
            f"{self.name[:1].upper()}{self.name[1:]} redirected more than {MAX_HOPS} times.",
            "Check the address.",
        )

    @contextmanager
    def _ask(
        self, address: Address, origin: AllowedOrigin, headers: Mapping[str, str], cut: Deadline
    ) -> Iterator[httpx.Response]:
        """One request, to an address of the host that was checked just before."""
        places = self.judged(address, origin)
        for number, place in enumerate(places):
            request = _request(address, place, headers, cut)
            with cut.errors():
                try:
                    response = self._transport.handle_request(request)
                except httpx.ConnectError:
                    if number + 1 < len(places):
                        continue
                    raise
            try:
                yield response
            finally:
                response.close()
            return

    def judged(self, address: Address, origin: AllowedOrigin) -> Sequence[str]:
        """Every IP address of the host. One that is not public refuses the host, unless the list entry permits it."""
        places = self.resolver(address.host, address.port)
        if not places:
            raise RetryableError("host-unknown", f"{self.name} has no address.", "It is tried again.")
        if not origin.may_be_private and not all(origins.is_public(place) for place in places):
            raise origins.refusal("names a host inside a private network")
        return places


def _request(address: Address, place: str, headers: Mapping[str, str], cut: Deadline) -> httpx.Request:
    url = httpx.URL(scheme=address.scheme, host=place, port=address.port, raw_path=address.target.encode())
    if url.raw_path != address.target.encode():
        raise origins.refusal("would be changed on its way")
    left_s = max(0.1, cut.ends_at - time.monotonic())
    sent = {
        "Host": address.authority,
        "User-Agent": "kaan",
        "Accept-Encoding": "identity",
        "Connection": "close",
        **headers,
    }
    read_s = min(READ_S, left_s)
    timeout = {"connect": min(CONNECT_S, left_s), "read": read_s, "write": read_s, "pool": read_s}
    extensions = {"timeout": timeout, "sni_hostname": address.host, "trace": cut.trace}
    return httpx.Request("GET", url, headers=sent, extensions=extensions)


def outbound_of(context: Context) -> Outbound:
    """The process's fetcher for the hosts that EXOTEL_RECORDING_ORIGINS lists."""
    settings = context.settings
    way: Outbound = context.keep("outbound", lambda: Outbound(origins.listed(settings), ca_file=settings.ca_file))
    return way
