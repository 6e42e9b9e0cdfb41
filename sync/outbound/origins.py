"""Text from outside -> an Address that may be fetched, or a refusal. Pure: no connection and no DNS look-up.

Attackers pass filters where two URL parsers disagree: `https://recordings.exotel.com\\@127.0.0.1/` is one host to one
parser and another host to the other. So this is the only parser. It accepts a narrow grammar, refuses the rest with the
reason, and its result is what `sync.outbound.fetching` connects to: the text is never parsed again.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from ml_backend.errors import ConfigurationError, PermanentError
from ml_backend.settings import Settings

MAX_CHARS = 2000
DEFAULT_PORTS = {"http": 80, "https": 443}
_FORM = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[0-9]+))?"
    r"(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:%/-]*)?(?:\?(?P<query>[A-Za-z0-9._~!$&'()*+,;=:%/?-]*))?"
)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SIGNED = re.compile(r"(?i)(^|&)(x-amz-(signature|credential|algorithm)|signature|awsaccesskeyid|sig)=")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST_6 = ipaddress.ip_network("2000::/3")  # the only range that IANA allocates
# IANA's special-purpose registries, in full: addresses of no host on the internet.
_NOT_PUBLIC_4 = tuple(map(ipaddress.ip_network, (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
)))  # fmt: skip
_NOT_PUBLIC_6 = tuple(map(ipaddress.ip_network, (
    "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
)))  # fmt: skip

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Address:
    """An address in parts. `target` is the request target on the wire, `text` the whole address."""

    scheme: str
    host: str  # lower case, IPv6 without brackets
    port: int
    path: str = "/"
    query: str = field(default="", repr=False)  # may contain a signature

    @property
    def authority(self) -> str:
        """The Host header, with the port only if it is not the scheme's default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def text(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def file_name(self) -> str:
        """The last part of the path, which stays the same when a file's host or signature changes."""
        return self.path.rpartition("/")[2]

    @property
    def takes_credentials(self) -> bool:
        """Whether the address supports Basic authentication: S3 does not, and a signed address refuses it."""
        amazon = self.host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        return not amazon and not _SIGNED.search(self.query)

    def sibling(self, location: str) -> Address:
        """Where a redirect leads: a whole address, or a path of the same host. Raises like `parse`."""
        if location.startswith("/") and not location.startswith("//"):
            return parse(f"{self.scheme}://{self.authority}{location}")
        return parse(location)


@dataclass(frozen=True)
class CredentialHost:
    """A host that a credential belongs to. A host with a leading dot stands for every host below it.

    Credentials need https, with one exception: a service on this machine (`is_local`), whose traffic crosses no
    network.
    """

    host: str
    port: int | None = None  # None: any
    is_local: bool = False

    def covers(self, address: Address) -> bool:
        """Whether a request to this address may carry the credential."""
        if self.port not in (None, address.port):
            return False
        if address.scheme != "https" and not (self.is_local and is_loopback(address.host)):
            return False
        return address.host.endswith(self.host) if self.host.startswith(".") else address.host == self.host


@dataclass(frozen=True)
class AllowedOrigin:
    """One entry of the list: everything below `prefix` on this host and port."""

    scheme: str
    host: str
    port: int
    prefix: str = "/"
    may_be_private: bool = False  # scheme and port were written out: the operator's own recorder, or a test

    def covers(self, address: Address) -> bool:
        return address.origin == (self.scheme, self.host, self.port) and address.path.startswith(self.prefix)


def parse(text: str) -> Address:
    """The only parser of addresses. Raises PermanentError `audio-source-refused` with the reason, never the text."""
    if len(text) > MAX_CHARS:
        raise refusal(f"is longer than {MAX_CHARS} characters")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise refusal("has characters that an address cannot have")
    if "\\" in text or "@" in text or "#" in text:
        raise refusal("has a backslash, an @ or a # in it")
    found = _FORM.fullmatch(text)
    if found is None:
        raise refusal("is not a whole http address")
    scheme, path, query = found["scheme"].lower(), found["path"] or "/", found["query"] or ""
    if scheme not in DEFAULT_PORTS:
        raise refusal("is neither https nor http")
    _check_percent(path, query)
    return Address(scheme, _host(found["host"]), _port(found["port"], scheme), path, query)


def listed(settings: Settings) -> tuple[AllowedOrigin, ...]:
    """EXOTEL_RECORDING_ORIGINS, read by the same parser. ConfigurationError with the number of a wrong entry."""
    entries = enumerate(settings.exotel_recording_origins.split(","), 1)
    return tuple(_entry(number, text.strip()) for number, text in entries if text.strip())


def permitted(text: str, origins: Sequence[AllowedOrigin]) -> tuple[Address, AllowedOrigin]:
    """The address and the list entry that covers it. Raises the refusal if there is none."""
    address = parse(text)
    for origin in origins:
        if origin.covers(address):
            return address, origin
    raise refusal("leads to a host, port or folder that is not on the list")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: a loopback address or `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def named_host(text: str) -> tuple[str, int | None]:
    """`host` or `host:port` -> its parts, by the same rules as an address. Raises like `parse`."""
    if "/" in text or "?" in text:
        raise refusal("has more than a host and a port")
    port = re.search(r":(\d+)$", text)
    found = parse(f"https://{text}")
    return found.host, found.port if port else None


def is_public(text: str) -> bool:
    """Whether an IP address is on the public internet, in whatever form it is written."""
    try:
        address: IpAddress = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not _is_special(address) and not any(address in net for net in _NOT_PUBLIC_4)
    inside = _inside(address)
    if inside is not None:
        return is_public(str(inside))
    return address in _UNICAST_6 and not _is_special(address) and not any(address in net for net in _NOT_PUBLIC_6)


def _inside(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address to which an IPv6 address leads: mapped, NAT64, 6to4, Teredo, ISATAP."""
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address.teredo:
        return address.teredo[1] if is_public(str(address.teredo[0])) else address.teredo[0]
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64 or (int(address) >> 32) & 0xFDFFFFFF == 0x00005EFE:  # ISATAP's mark
        return low
    return None


def _is_special(address: IpAddress) -> bool:
    """Whether Python's tables or the lists above call it special; Python's lag behind IANA's by years."""
    return (
        not address.is_global
        or address.is_multicast
        or address.is_private
        or address.is_reserved
        or address.is_loopback
        or address.is_link_local
        or address.is_unspecified
    )


def refusal(why: str) -> PermanentError:
    return PermanentError(
        "audio-source-refused",
        f"The recording's address {why}.",
        "Nothing was fetched. If the address is right and trusted, list its origin in EXOTEL_RECORDING_ORIGINS.",
    )


def wants_credentials(name: str) -> PermanentError:
    """The error for a 401 from a host that got no credentials, which says nothing about our key."""
    return PermanentError(
        "http-needs-credentials",
        f"{name[:1].upper()}{name[1:]} wants credentials (401), and none are sent there.",
        "If it is a host of Exotel's or your own recorder, name it in EXOTEL_CREDENTIAL_HOSTS.",
    )


def _check_percent(path: str, query: str) -> None:
    """Refuse broken escapes, and segments that, even decoded twice, are dot segments or hide a separator."""
    if _BAD_PERCENT.search(path) or _BAD_PERCENT.search(query):
        raise refusal("has a broken percent escape in it")
    for segment in path.split("/"):
        raw = segment.encode()
        for _ in range(3):
            if raw.partition(b";")[0] in (b".", b".."):
                raise refusal("climbs out of its folder")
            decoded = unquote_to_bytes(raw)
            if decoded == raw:
                break
            if any(byte < 32 or byte == 127 or byte in b"/\\" for byte in decoded):
                raise refusal("hides a separator or a control character in it")
            raw = decoded
        else:
            raise refusal("is escaped more than twice")


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise refusal("has no valid host") from None
    host = text.lower()
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise refusal("has no valid host")
    if labels[-1].isdigit() or re.fullmatch(r"0x[0-9a-f]*", labels[-1]):  # a number: only the one usual form
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise refusal("writes its host as an unusual number") from None
    return host


def _port(text: str | None, scheme: str) -> int:
    if text is None:
        return DEFAULT_PORTS[scheme]
    if text.startswith("0") or len(text) > 5 or not 0 < int(text) < 65536:
        raise refusal("has no valid port")
    return int(text)


def _entry(number: int, text: str) -> AllowedOrigin:
    try:
        address = parse(text)
        if address.query:
            raise refusal("has a query")
    except PermanentError as error:
        raise ConfigurationError(
            "bad-recording-origin",
            f"Entry {number} of EXOTEL_RECORDING_ORIGINS cannot be used: {error.sentence}",
            "Write entries as scheme://host[:port][/path/], separated by commas.",
        ) from None
    prefix = address.path if address.path.endswith("/") else f"{address.path}/"
    written_port = re.search(r":\d+$", text.partition("://")[2].partition("/")[0]) is not None
    return AllowedOrigin(address.scheme, address.host, address.port, prefix, may_be_private=written_port)
