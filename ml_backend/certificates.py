"""TLS trust: the machine's certificates and those of CA_FILE.

A company's own CA is the usual reason why a service fails here but opens in a browser, so a refused certificate has an
error of its own, and `doctor` names the certificate.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from ml_backend.errors import RetryableError

_WAIT_S = 5.0
_LASTING = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "UNSUPPORTED_PROTOCOL",
    "RECORD_LAYER_FAILURE",
)


@dataclass(frozen=True)
class Presented:
    """The certificate a server showed: whose it is and who signed it; empty where it could not be read."""

    subject: str = ""
    issuer: str = ""
    until: str = ""


def context(ca_file: str) -> ssl.SSLContext:
    """A context that trusts the machine's certificates and CA_FILE."""
    return with_file(ssl.create_default_context(), ca_file)


def with_file(made: ssl.SSLContext, ca_file: str) -> ssl.SSLContext:
    """A library's own context, which trusts CA_FILE besides."""
    if ca_file:
        made.load_verify_locations(cafile=ca_file)
    return made


def mistakes(path: Path) -> list[str]:
    """Why a file cannot be CA_FILE; empty if it can."""
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        return [f"the file cannot be read ({error.strerror})"]
    except UnicodeDecodeError:
        text = ""
    if "-----BEGIN CERTIFICATE-----" not in text and "-----BEGIN TRUSTED CERTIFICATE-----" not in text:
        return ["the file holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"]
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=str(path))
    except ssl.SSLError:
        return ["the file holds a certificate that cannot be read: export it again as PEM"]
    return []


def reason(error: BaseException | None) -> ssl.SSLError | None:
    """The TLS error behind a library's error, unless it is temporary, such as an interrupted handshake."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ssl.SSLError):
            lasting = isinstance(error, ssl.SSLCertVerificationError) or error.reason in _LASTING
            return error if lasting else None
        seen.add(id(error))
        own = (getattr(error, "reason", None), *error.args[:1], error.__cause__, error.__context__)
        error = next((each for each in own if isinstance(each, BaseException)), None)
    return None


def refused(name: str, error: ssl.SSLError, *, where: str = "") -> RetryableError:
    """Our error for a failed TLS connection. It is retried, because a certificate may be renewed."""
    at = f" at {where}" if where else ""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return RetryableError(
            "no-tls",
            f"{name}{at} does not speak TLS as it should.",
            f"Check the port, and whether the address of {name} has to begin with "
            f"{'redis:// instead of rediss' if where.startswith('rediss') else 'http:// instead of https'}://.",
        )
    said = error.verify_message or "it could not be verified"
    if "ostname mismatch" in said or "IP address mismatch" in said:
        return RetryableError(
            "certificate-other-name",
            f"The certificate of {name}{at} is for another host name.",
            "Use the name that is in the certificate, or have one made for this name.",
        )
    if "expired" in said or "not yet valid" in said:
        return RetryableError(
            "certificate-out-of-date",
            f"The certificate of {name}{at} is out of date: {said}.",
            "Renew it there, and check this machine's clock.",
        )
    return RetryableError(
        "certificate-not-trusted",
        f"The certificate of {name}{at} is not trusted here: {said}.",
        "Set CA_FILE to a PEM file with the certificate of the CA that signed it.",
    )


def presented(host: str, port: int) -> Presented:
    """A server's certificate, read without trusting it: only the TLS handshake is made."""
    try:
        blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
        raw = _shown(host, port, blind)[0]
        reader = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # one that trusts just this certificate, and so can read it
        reader.check_hostname = False
        reader.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        reader.load_verify_locations(cadata=raw)
        found = _shown(host, port, reader)[1]
    except (OSError, ValueError):
        return Presented()
    return Presented(_name(found.get("subject")), _name(found.get("issuer")), str(found.get("notAfter", "")))


def _shown(host: str, port: int, by: ssl.SSLContext) -> tuple[bytes, dict[str, object]]:
    with (
        socket.create_connection((host, port), timeout=_WAIT_S) as stream,
        by.wrap_socket(stream, server_hostname=host) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b"", dict(secured.getpeercert() or {})


def _name(parts: object) -> str:
    """`CN=..., O=...` of a subject or issuer."""
    short = {"commonName": "CN", "organizationName": "O"}
    pairs = [pair for part in parts for pair in part] if isinstance(parts, tuple) else []
    return ", ".join(f"{short[key]}={value[:60]}" for key, value in pairs if key in short)
