"""A reverse proxy that puts a server below a path, as `https://host/label-studio` is; what is not below it is 404."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "date", "server"}


@contextmanager
def below(path: str, upstream: str) -> Iterator[str]:
    """The address of `upstream` below `path`."""

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            if not self.path.startswith(f"{path}/"):
                self._answer(404, {}, b"nothing here")
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept = {name: value for name, value in self.headers.items() if name.lower() not in {*_HOP, "host"}}
            with httpx.Client(trust_env=False, timeout=120) as client:
                answer = client.request(self.command, f"{upstream}{self.path[len(path) :]}", headers=kept, content=body)
            self._answer(answer.status_code, dict(answer.headers), answer.content)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _pass

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """Nothing: the tests' output is enough."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}{path}"
    server.shutdown()
    server.server_close()
    thread.join(5)
