"""One real `serve` process for the room, and ways to speak to it: the real `openai` client, and bare frames."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from ml_backend.asr import engine
from ml_backend.audio import decoding
from tests.ml_backend.commands.test_serve import LIVE, running

READ = "r" * 24
PIECE_S = 0.1
PLACES = 8
"""More than a test takes: a session that was closed gives its place back a little later."""


@dataclass(frozen=True)
class Line:
    """A running server."""

    port: int
    folder: Path

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(api_key=LIVE, base_url=f"http://127.0.0.1:{self.port}/v1", max_retries=0)

    def connect(self, query: str = "?intent=transcription", token: str = LIVE, **more: Any) -> ClientConnection:
        """A connection that can send anything."""
        headers = {"Authorization": f"Bearer {token}"}
        return connect(
            f"ws://127.0.0.1:{self.port}/v1/realtime{query}", additional_headers=headers, compression=None, **more
        )

    def log(self) -> str:
        return (self.folder / "serve.log").read_text()


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("realtime")
    more = {
        "API_TOKENS": f"phone:live:{LIVE},ops:read:{READ}",
        "LIVE_MOST_SESSIONS": str(PLACES),
        "LIVE_MOST_TURN_S": "5",
    }
    with running(folder, settings=more) as (port, _):
        found = Line(port, folder)
        yield found
        left = found.connect()
    assert close_of(left) == (1001, "the server ends; connect again")


def close_of(connection: ClientConnection) -> tuple[int, str]:
    """How the server ended the session; what it sent before is read."""
    try:
        while True:
            connection.recv(timeout=60)
    except ConnectionClosed as ended:
        return (ended.rcvd.code, ended.rcvd.reason) if ended.rcvd else (0, "")


def spoken(*, rate_hz: int = 16_000, after_s: float = 1.0) -> bytes:
    """The bundled clip and silence around it, as PCM of 16 bits."""
    samples = decoding.read_wav(engine.CHECK)[0][0]
    whole = np.concatenate([np.zeros(8000, np.float32), samples, np.zeros(int(16_000 * after_s), np.float32)])
    places = np.arange(0, whole.size, 16_000 / rate_hz)
    return (np.interp(places, np.arange(whole.size), whole) * 32_767).astype("<i2").tobytes()


def pieces(pcm: bytes, rate_hz: int = 16_000) -> list[str]:
    size = int(rate_hz * PIECE_S) * 2
    return [base64.b64encode(pcm[start : start + size]).decode() for start in range(0, len(pcm), size)]


Ended = Callable[[Any], bool]


def until(connection: Any, kind: str) -> list[Any]:
    """The events up to the first of a kind."""
    found = [connection.recv()]
    while found[-1].type != kind:
        found.append(connection.recv())
    return found
