"""A server that writes down whatever comes, so that a test sees which host was given which credential.

    with capture.running() as elsewhere, capture.running(redirect=elsewhere.url) as home: ...

With `certified=(certificate, key)` it speaks https. As a proxy it is asked with a whole address or with CONNECT; both
are written down and answered 200.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Caught:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """All of it, to look for a secret in."""
        return f"{self.method} {self.path} {json.dumps(dict(self.headers))} {self.body.decode('latin-1')}"


@dataclass
class Capture:
    """What came, and what is answered: `answers` by path, else a redirect when there is one, else 200 and `{}`."""

    port: int = 0
    scheme: str = "http"
    redirect: str = ""
    status: int = 307
    answers: dict[str, Any] = field(default_factory=dict)
    audio: bytes = b""
    caught: list[Caught] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def text(self) -> str:
        return "\n".join(one.text for one in self.caught)

    @property
    def authorizations(self) -> list[str | None]:
        return [one.headers.get("authorization") for one in self.caught]


@contextmanager
def running(*, certified: tuple[Path, Path] | None = None, **options: Any) -> Iterator[Capture]:
    """A capturing server for the length of a block."""
    made = Capture(scheme="https" if certified else "http", **options)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"made": made}))
    server.daemon_threads = True
    if certified:
        inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        inside.load_cert_chain(*certified)
        server.socket = inside.wrap_socket(server.socket, server_side=True)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    made: Capture
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        return

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._any
        raise AttributeError(name)

    def _any(self) -> None:
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.made.caught.append(Caught(self.command, self.path, headers, body))
        found = self.made.answers.get(self.path.partition("?")[0])
        if found is None and self.made.redirect:
            self.send_response(self.made.status)
            self.send_header("Location", f"{self.made.redirect}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = self.made.audio or json.dumps({} if found is None else found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "audio/mpeg" if self.made.audio else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def certificate(folder: Path, *names: str) -> tuple[Path, Path]:
    """(certificate, key) of a server that may call itself by these names, its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return files
