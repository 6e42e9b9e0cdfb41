"""A scripted Exotel on real sockets: API (listing, call details) and recordings, and a store of signed links.

Two listeners of one program, so that a test sees which host got which header. API and recordings are one origin,
because plain http is given the key at the API's own address on this machine and nowhere else. In process:
`with running() as exotel`, then `exotel.add(...)`, `exotel.script("recording", ["404", "ok"])`, `exotel.requests`.
From another process the same over HTTP at `/_/calls`, `/_/recordings`, `/_/script`, `/_/requests`, `/_/reset` of the
API's address, and `python -m tests.servers.exotel` starts one and prints its addresses as one line of JSON.

A mode is what one answer does. Modes of a kind ("recording", "call", "listing") are used up one by one, then `then`
stays (ok). Kinds of modes:

    ok 401 403 404 410 429 429-bare 500 503      an answer, where there is one the fixture's own bytes
    fixture:NAME                                 any raw HTTP answer of tests/fixtures/exotel
    html xml json empty                          status 200 with a page, or with nothing
    short cut no-length length-too-big           a body that ends before its length; a chunked one cut; none stated
    drip drip-headers endless silent reset       one byte at a time; never ends; says nothing; RST in the middle
    gzip gzip-bomb brotli                        compressed although nobody asked
    redirect:URL loop                            302
"""

from __future__ import annotations

import base64
import gzip
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from zoneinfo import ZoneInfo

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "exotel"
ACCOUNT, KEY, TOKEN = "exampleaccount1", "exotel-key-of-no-value", "example-api-token-of-no-value"
COMPANY_NUMBER = "080" + "0" * 8  # fictitious, as in the fixtures
ZONE = ZoneInfo("Asia/Kolkata")
STAMP = "%Y-%m-%d %H:%M:%S"
BOMB_BYTES = 200_000_000
_FIXTURE_OF = {
    ("api", "401"): "api_error_401",
    ("api", "404"): "api_error_404_wrong_region",
    ("api", "429"): "api_error_429",
    ("api", "429-bare"): "api_error_429_bare",
    ("api", "503"): "api_error_503_html",
    ("recording", "401"): "rec_401_no_credentials",
    ("recording", "403"): "rec_403_expired_presigned",
    ("recording", "404"): "rec_404_not_ready",
    ("recording", "html"): "rec_200_html_instead_of_audio",
}


@dataclass
class Seen:
    """One request as it came."""

    listener: str  # api, recordings, store
    method: str
    path: str
    query: str
    headers: dict[str, str]
    mode: str = "ok"
    at: float = field(default_factory=time.time)

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")


class Exotel:
    """The provider as a test wants it. Everything may be changed while it runs."""

    def __init__(self, *, account: str = ACCOUNT, key: str = KEY, token: str = TOKEN) -> None:
        self.account, self.key, self.token = account, key, token
        self.calls: list[dict[str, Any]] = []  # API call objects, in any order
        self.recordings: dict[str, bytes] = {}  # file name -> bytes
        self.requests: list[Seen] = []
        self.open = False  # True: this client's IP address is on the list, no credentials are needed
        self.presigned = False  # the account has signed links
        self.drip_s = 0.05
        self.per_minute = 10**9
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.change_page: Callable[[dict[str, Any]], Any] = lambda page: page  # the last word on a listing page
        self._scripts: dict[tuple[str, str], list[str]] = {}
        self._then: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self.ports: dict[str, int] = {}
        self._servers: list[ThreadingHTTPServer] = []

    # --- what a test says

    @property
    def api_url(self) -> str:
        return self._url("api")

    @property
    def recordings_url(self) -> str:
        return self._url("api")

    @property
    def store_url(self) -> str:
        return self._url("store")

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a service that uses this provider."""
        return {
            "EXOTEL_ACCOUNT_SID": self.account,
            "EXOTEL_API_KEY": self.key,
            "EXOTEL_API_TOKEN": self.token,
            "EXOTEL_API_URL": self.api_url,
            "EXOTEL_RECORDING_ORIGINS": f"{self.recordings_url},{self.store_url}/exotelrecordings/",
        }

    def add(
        self,
        number: int,
        *,
        created: datetime | str | None = None,
        status: str = "completed",
        audio: bytes | None = None,
        file_name: str | None = None,
        **values: Any,
    ) -> dict[str, Any]:
        """One more call; with `audio`, its recording is there to fetch. Gives the API's row."""
        sid = f"{number:031x}p"
        at = created if isinstance(created, str) else (created or self.now()).astimezone(ZONE).strftime(STAMP)
        name = file_name or f"{sid}.mp3"
        row: dict[str, Any] = {
            "Sid": sid,
            "ParentCallSid": None,
            "DateCreated": at,
            "DateUpdated": at,
            "AccountSid": self.account,
            "To": f"0000000{number % 10000:04d}",
            "From": "00000000101",
            "PhoneNumberSid": COMPANY_NUMBER,
            "Status": status,
            "StartTime": at,
            "EndTime": at,
            "Duration": "60",
            "Price": "0.500",
            "Direction": "outbound-api",
            "AnsweredBy": "human" if status == "completed" else None,
            "ForwardedFrom": None,
            "CallerName": None,
            "Uri": f"/v1/Accounts/{self.account}/Calls.json/{sid}",
            "RecordingUrl": self.address(name) if audio is not None else None,
            **values,
        }
        if audio is not None:
            self.recordings[name] = audio
        with self._lock:
            self.calls.append(row)
        return row

    def address(self, file_name: str) -> str:
        """The recording's address as callbacks and listings give it."""
        return f"{self.recordings_url}/exotelrecordings/{self.account}/{file_name}"

    def signed(self, file_name: str) -> str:
        return (
            f"{self.store_url}/exotelrecordings/{self.account}/{file_name}"
            "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=300&X-Amz-Signature=fixture"
        )

    def script(self, kind: str, modes: Sequence[str], *, name: str = "", then: str = "ok") -> None:
        """What the next answers of a kind do; `name` (a file name or a CallSid) for one recording or call only."""
        with self._lock:
            self._scripts[kind, name] = list(modes)
            self._then[kind, name] = then

    def asked(self, listener: str = "", *, below: str = "") -> list[Seen]:
        """The requests of a listener whose path contains `below`."""
        with self._lock:
            return [each for each in self.requests if listener in ("", each.listener) and below in each.path]

    def reset(self) -> None:
        """As new, at the same addresses."""
        with self._lock:
            self.calls, self.recordings, self.requests = [], {}, []
            self._scripts, self._then = {}, {}
        self.open, self.presigned, self.per_minute = False, False, 10**9
        self.change_page = lambda page: page

    # --- the program

    def start(self) -> None:
        for listener in ("api", "store"):
            server = ThreadingHTTPServer(("127.0.0.1", self.ports.get(listener, 0)), _handler(self, listener))
            server.daemon_threads = True
            self.ports[listener] = server.server_port
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            self._servers.append(server)

    def stop(self) -> None:
        """Gone, as after a crash; `start` brings it back at the same ports."""
        self._stopping.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._servers = []
        self._stopping = threading.Event()

    def mode(self, kind: str, name: str) -> str:
        """The mode of this answer: used up."""
        with self._lock:
            for key in ((kind, name), (kind, "")):
                if waiting := self._scripts.get(key):
                    return waiting.pop(0)
                if key in self._then:
                    return self._then[key]
        return "ok"

    def wait(self, seconds: float) -> bool:
        """True when the server is being stopped."""
        return self._stopping.wait(seconds)

    def see(self, seen: Seen) -> bool:
        """Write a request down; False when there were too many in the last minute."""
        with self._lock:
            self.requests.append(seen)
            if seen.listener != "api":
                return True
            recent = [each for each in self.requests if each.listener == "api" and each.at > seen.at - 60]
            return len(recent) <= self.per_minute

    def page(self, query: Mapping[str, list[str]]) -> tuple[int, dict[str, Any]]:
        """One page of the listing: filtered by DateCreated, oldest first, with a cursor."""
        wanted = dict(part.split(":", 1) for part in query.get("DateCreated", [""])[0].split(";") if ":" in part)
        low = wanted.get("gte", "0000-01-01 00:00:00")
        high = wanted.get("lte", "9999-12-31 23:59:59")
        if refused := self._window(low, high):
            return 400, {"RestException": {"Status": 400, "Message": refused}}
        size = min(100, int(query.get("PageSize", ["50"])[0]))
        with self._lock:
            found = [row for row in self.calls if low <= row["DateCreated"] <= high]
        found = [row for row in found if row["Status"] not in ("queued", "ringing", "in-progress")]
        found.sort(key=lambda row: (row["DateCreated"], row["Sid"]))
        after = query.get("After", [""])[0]
        rest = [row for row in found if f"{row['DateCreated']}|{row['Sid']}" > after] if after else found
        rows, more = rest[:size], len(rest) > size
        path = f"/v1/Accounts/{self.account}/Calls.json"
        kept = {name: values[0] for name, values in query.items() if name != "After"}
        text = "&".join(f"{name}={quote(value, safe='')}" for name, value in kept.items())
        cursor = quote(f"{rows[-1]['DateCreated']}|{rows[-1]['Sid']}", safe="") if more else ""
        metadata = {
            "Total": len(found),
            "PageSize": size,
            "FirstPageUri": f"{path}?{text}",
            "PrevPageUri": None,
            "NextPageUri": f"{path}?{text}&After={cursor}" if more else None,
        }
        return 200, self.change_page({"Metadata": metadata, "Calls": [dict(row) for row in rows]})

    def _window(self, low: str, high: str) -> str:
        try:
            begin, end = (datetime.strptime(text, STAMP).replace(tzinfo=ZONE) for text in (low, high))
        except ValueError:
            return "DateCreated is not in the expected format."
        if end - begin > timedelta(days=31):
            return "The date range must not exceed one month."
        if begin < self.now() - timedelta(days=184):
            return "Call details older than six months are not available."
        return ""

    def details(self, sid: str) -> dict[str, Any] | None:
        with self._lock:
            row = next((dict(row) for row in self.calls if row["Sid"] == sid), None)
        if row is not None and self.presigned and row.get("RecordingUrl"):
            row["PreSignedRecordingUrl"] = self.signed(row["RecordingUrl"].rpartition("/")[2])
        return row

    def _url(self, listener: str) -> str:
        return f"http://127.0.0.1:{self.ports[listener]}"


@contextmanager
def running(**options: Any) -> Iterator[Exotel]:
    """A provider for the length of a block."""
    exotel = Exotel(**options)
    exotel.start()
    try:
        yield exotel
    finally:
        exotel.stop()


def play(url: str, fixture: str, *, timeout_s: float = 10.0) -> int:
    """Send a raw callback of the fixtures (`cb_*`) to the receiver at `url`; only path and host are changed."""
    raw = (FIXTURES / f"{fixture}.txt").read_bytes()
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, version = first.split(" ", 2)
    target = urlsplit(url)
    query = "&".join(filter(None, (target.query, urlsplit(path).query)))
    kept = [line for line in lines if not line.lower().startswith(("host:", "connection:"))]
    start = f"{method} {target.path}{'?' + query if query else ''} {version}"
    head = "\r\n".join([start, f"Host: {target.netloc}", "Connection: close", *kept]).encode("latin-1")
    with socket.create_connection((target.hostname or "", target.port or 80), timeout=timeout_s) as stream:
        stream.sendall(head + b"\r\n\r\n" + body)
        answer = stream.makefile("rb").readline()
    return int(answer.split()[1])


def _handler(exotel: Exotel, listener: str) -> type[BaseHTTPRequestHandler]:
    class Handler(_Answer):
        provider = exotel
        name = listener

    return Handler


class _Answer(BaseHTTPRequestHandler):
    provider: Exotel
    name: str
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        return

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if self.name == "api" and parts.path.startswith("/_/"):
            self._control(parts.path, None)
            return
        self.close_connection = True
        headers = {key.lower(): value for key, value in self.headers.items()}
        kind, item = self._kind(parts.path)
        mode = self.provider.mode(kind, item)
        allowed = self.provider.see(Seen(self._listener(kind), "GET", parts.path, parts.query, headers, mode))
        try:
            if not allowed:
                self._fixture("api_error_429")
            elif kind == "recording":
                self._recording(item, mode, headers, parts.query)
            elif kind in ("call", "listing"):
                self._api(kind, item, mode, headers, parse_qs(parts.query, keep_blank_values=True))
            else:
                self._send(404, b"nothing here", "text/plain")
        except (BrokenPipeError, ConnectionResetError):
            return

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self._control(urlsplit(self.path).path, json.loads(body or b"null"))

    def _kind(self, path: str) -> tuple[str, str]:
        calls = f"/v1/Accounts/{self.provider.account}/Calls"
        if self.name != "api" or not path.startswith("/v1/"):
            return "recording", path.rpartition("/")[2]
        if path == f"{calls}.json":
            return "listing", ""
        if path.startswith(f"{calls}/"):
            return "call", path.removeprefix(f"{calls}/").removesuffix(".json")
        return "", ""

    def _listener(self, kind: str) -> str:
        return "recordings" if self.name == "api" and kind == "recording" else self.name

    def _may(self, headers: Mapping[str, str]) -> bool:
        pair = base64.b64encode(f"{self.provider.key}:{self.provider.token}".encode()).decode()
        return headers.get("authorization") == f"Basic {pair}"

    def _api(self, kind: str, item: str, mode: str, headers: Mapping[str, str], query: dict[str, list[str]]) -> None:
        if mode == "ok" and not self._may(headers):
            mode = "401"
        if mode != "ok":
            self._trouble("api", mode, json.dumps({"Calls": "cut"}).encode() * 20, "application/json")
            return
        if kind == "listing":
            status, answer = self.provider.page(query)
            self._json(status, answer)
            return
        found = self.provider.details(item)
        if found is None:
            self._fixture("api_error_404_wrong_region")
            return
        talked = found.get("ConversationDuration", 55)
        details = {"ConversationDuration": talked, "Leg1Status": found["Status"], "Leg2Status": found["Status"]}
        self._json(200, {"Call": {**found, "Details": details}})

    def _recording(self, item: str, mode: str, headers: Mapping[str, str], query: str) -> None:
        if mode == "ok" and self.name == "store":
            if "authorization" in headers:  # what S3 says to two ways of signing at once
                self._send(400, b"<Error><Code>InvalidArgument</Code></Error>", "application/xml")
                return
            mode = "ok" if "X-Amz-Signature=" in query else "403"
        elif mode == "ok" and not self.provider.open and not self._may(headers):
            mode = "401"
        audio = self.provider.recordings.get(item)
        if mode == "ok" and audio is None:
            mode = "404"
        if mode == "ok":
            self._send(200, audio or b"", "audio/mpeg")
        else:
            self._trouble("recording", mode, audio or b"ID3" + b"\0" * 4000, "audio/mpeg")

    def _trouble(self, door: str, mode: str, body: bytes, kind: str) -> None:
        pages = {"html": b"<html><body>Sign in</body></html>", "xml": b"<?xml version='1.0'?><Error/>", "empty": b"",
                 "json": b'{"RestException": {"Status": 400, "Message": "no"}}'}  # fmt: skip
        if mode.startswith("fixture:"):
            self._fixture(mode.removeprefix("fixture:"))
        elif (door, mode) in _FIXTURE_OF:
            self._fixture(_FIXTURE_OF[door, mode])
        elif mode in pages:
            self._send(200, pages[mode], kind)
        elif mode.startswith("redirect:"):
            self._raw(f"HTTP/1.1 302 Found\r\nLocation: {mode.removeprefix('redirect:')}\r\nContent-Length: 0\r\n\r\n")
        elif mode == "loop":
            self._raw(f"HTTP/1.1 302 Found\r\nLocation: {self.path}\r\nContent-Length: 0\r\n\r\n")
        elif mode.startswith("wait:"):
            wait = mode.removeprefix("wait:")
            self._raw(f"HTTP/1.1 429 Too Many Requests\r\nRetry-After: {wait}\r\nContent-Length: 0\r\n\r\n")
        elif mode.startswith("length:"):
            self._raw(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {mode[7:]}\r\n\r\n", body)
        elif mode.partition("-")[0].isdecimal():
            self._send(int(mode.partition("-")[0]), b"{}", "application/json")
        elif mode in ("gzip", "gzip-bomb", "brotli"):
            packed = bomb() if mode == "gzip-bomb" else gzip.compress(body)
            coding = "br" if mode == "brotli" else "gzip"
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Encoding: {coding}\r\n"
            self._raw(f"{head}Content-Length: {len(packed)}\r\n\r\n", packed)
        else:
            self._broken(mode, body, kind)

    def _broken(self, mode: str, body: bytes, kind: str) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n"
        half = body[: len(body) // 2]
        if mode in ("short", "reset"):
            self._raw(f"{head}Content-Length: {len(body)}\r\n\r\n", half)
            if mode == "reset":
                time.sleep(0.05)  # the half must arrive first
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif mode == "cut":
            self._raw(f"{head}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n", half)
        elif mode == "no-length":
            self._raw(f"{head}Connection: close\r\n\r\n", body)
        elif mode == "length-too-big":
            self._raw(f"{head}Content-Length: {10**12}\r\n\r\n", half)
        elif mode == "silent":
            self.provider.wait(600)
        elif mode == "endless":
            self._raw(f"{head}\r\n")
            while not self.provider.wait(0):
                self.wfile.write(b"\0" * 65536)
        elif mode == "drip":
            self._drip(f"{head}Content-Length: {len(body)}\r\n\r\n".encode(), body)
        elif mode == "drip-headers":
            self._drip(b"", head.encode() + b"X-Slow: yes\r\n" * 1000)
        else:
            raise AssertionError(f"no such mode: {mode}")

    def _drip(self, at_once: bytes, slowly: bytes) -> None:
        self._raw(at_once)
        for number in range(len(slowly)):
            self._raw(slowly[number : number + 1])
            if self.provider.wait(self.provider.drip_s):
                return

    def _control(self, path: str, body: Any) -> None:
        exotel, said = self.provider, body or {}
        if path == "/_/calls" and isinstance(body, list):
            exotel.calls.extend(body)
        elif path == "/_/calls":
            self._json(200, exotel.calls)
            return
        elif path == "/_/recordings":
            exotel.recordings[said["name"]] = base64.b64decode(said["base64"])
        elif path == "/_/script":
            exotel.script(said["kind"], said["modes"], name=said.get("name", ""), then=said.get("then", "ok"))
        elif path == "/_/access":
            exotel.open, exotel.presigned = bool(said.get("open")), bool(said.get("presigned"))
        elif path == "/_/requests":
            self._json(200, [asdict(each) for each in exotel.asked()])
            return
        elif path == "/_/reset":
            exotel.reset()
        else:
            self._json(404, {})
            return
        self._json(200, {})

    def _json(self, status: int, answer: Any) -> None:
        self._send(status, json.dumps(answer).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        head = f"HTTP/1.1 {status} Scripted\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._raw(head, body)

    def _fixture(self, name: str) -> None:
        self._raw((FIXTURES / f"{name}.txt").read_bytes())

    def _raw(self, head: str | bytes, body: bytes = b"") -> None:
        self.wfile.write((head.encode() if isinstance(head, str) else head) + body)
        self.wfile.flush()


def bomb() -> bytes:
    """About 200 kB that become 200 MB."""
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    piece = b"\0" * 1_000_000
    return b"".join(packer.compress(piece) for _ in range(BOMB_BYTES // len(piece))) + packer.flush()


if __name__ == "__main__":
    provider = Exotel()
    provider.start()
    print(json.dumps({**provider.environment, "ports": provider.ports}), flush=True)
    sys.stdin.read()  # ends with its parent
    provider.stop()
