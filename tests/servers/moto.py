"""moto's S3: quick and broad, but it accepts any signature. Swift is the one that refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from moto.server import ThreadedMotoServer


@contextmanager
def running() -> Iterator[str]:
    """host:port of an empty S3 server in this process, for the length of a block; one at a time."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        httpx.post(f"http://{host}:{port}/moto-api/reset").raise_for_status()  # what it holds outlives the server
        yield f"{host}:{port}"
    finally:
        server.stop()
