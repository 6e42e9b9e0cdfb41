"""A small web server that counts what it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response


@dataclass
class Web:
    """`asked` holds the path of every request."""

    url: str = ""
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving(answer: Callable[[Request], Response]) -> Iterator[Web]:
    """`answer` on a free port."""
    web = Web()

    @Request.application
    def app(request: Request) -> Response:
        web.asked.append(request.path)
        return answer(request)

    server = make_server("127.0.0.1", 0, app, threaded=True)
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join(5)
