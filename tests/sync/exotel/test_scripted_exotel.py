"""The scripted Exotel can be told what to do from another process, and plays the recorded callbacks byte for byte."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from werkzeug.wrappers import Request, Response

from tests.servers import exotel
from tests.sync import web

ROOT = Path(__file__).resolve().parents[3]


def test_it_is_told_over_http_what_to_do() -> None:
    command = [sys.executable, "-m", "tests.servers.exotel"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        api, recordings = told["EXOTEL_API_URL"], told["EXOTEL_RECORDING_ORIGINS"].partition(",")[0]
        audio = base64.b64encode(b"ID3 audio").decode()
        httpx.post(f"{api}/_/recordings", json={"name": "a.mp3", "base64": audio}).raise_for_status()
        httpx.post(f"{api}/_/script", json={"kind": "recording", "modes": ["404"]}).raise_for_status()
        httpx.post(f"{api}/_/calls", json=[{"Sid": "a1", "DateCreated": "x", "Status": "busy"}]).raise_for_status()
        basic = (told["EXOTEL_API_KEY"], told["EXOTEL_API_TOKEN"])
        answers = [httpx.get(f"{recordings}/exotelrecordings/a.mp3", auth=basic) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [404, 200]
        assert answers[1].content == b"ID3 audio"
        seen = httpx.get(f"{api}/_/requests").json()
        assert [(each["listener"], each["mode"]) for each in seen] == [("recordings", "404"), ("recordings", "ok")]
        assert [call["Sid"] for call in httpx.get(f"{api}/_/calls").json()] == ["a1"]
    finally:
        process.communicate("", timeout=10)
    assert process.returncode == 0


@pytest.mark.parametrize(
    "name", ["cb_status_default_multipart", "cb_passthru_raw_brackets_get", "cb_terminal_json_strings"]
)
def test_a_recorded_callback_arrives_as_it_was_written(name: str) -> None:
    came: list[tuple[str, str, bytes]] = []

    def answer(request: Request) -> Response:
        came.append((request.method, request.query_string.decode(), request.get_data()))
        return Response("")

    with web.serving(answer) as receiver:
        assert exotel.play(f"{receiver.url}/webhooks/exotel/secret?key=1", name) == 200
        assert receiver.asked == ["/webhooks/exotel/secret"]
    raw = (exotel.FIXTURES / f"{name}.txt").read_bytes()
    [(method, query, body)] = came
    assert raw.startswith(method.encode())
    assert query.startswith("key=1")
    assert raw.endswith(body)
