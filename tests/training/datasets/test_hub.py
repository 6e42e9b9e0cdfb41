"""A version is pushed to a hub as a private dataset: a small server of our own speaks the hub's side."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ml_backend import tables
from ml_backend.errors import ConfigurationError, RetryableError
from tests.training.datasets import speech
from tests.training.datasets.test_dataset import fill
from training.datasets import dataset, hub

REPOSITORY = "someone/calls"


class Hub:
    """What a client said: the repository it made, and the files of its commit."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.made: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.earlier: list[str] = []
        self.deleted: set[str] = set()

    def answer(self, path: str, body: bytes) -> Any:
        if "/tree/main" in path:
            return [{"type": "file", "path": each, "size": 1, "oid": "0" * 40} for each in self.earlier]
        if path == "/api/repos/create":
            self.made.append(json.loads(body))
            return {"url": f"https://huggingface.co/datasets/{REPOSITORY}"}
        if path.endswith("/preupload/main"):
            asked = [each["path"] for each in json.loads(body)["files"]]
            return {"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in asked]}
        if path.endswith("/commit/main"):
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                elif entry["key"] == "deletedFile":
                    self.deleted.add(entry["value"]["path"])
            return {
                "commitUrl": f"https://huggingface.co/datasets/{REPOSITORY}/commit/1",
                "commitOid": "1" * 40,
                "success": True,
            }
        return {"id": REPOSITORY, "sha": "0" * 40, "siblings": []}


@contextmanager
def serving(hub_: Hub) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = json.dumps(hub_.answer(self.path.partition("?")[0], body) if hub_.status == 200 else {}).encode()
            self.send_response(hub_.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[speech.Service]:
    opened = speech.opened(tmp_path)
    fill(opened)
    yield opened
    opened.context.db.dispose()


def push(service: speech.Service, url: str) -> str:
    from huggingface_hub import HfApi

    row = service.context.db.row(tables.datasets, dataset.export(service.context, forms=("text",)))
    return hub.push(service.context, row, REPOSITORY, api=HfApi(endpoint=url, token="hf_" + "x" * 20))


def test_card_manifest_and_parquet_go_to_a_private_dataset_and_the_list_of_what_was_left_out_stays(
    service: speech.Service,
) -> None:
    there = Hub()
    with serving(there) as url:
        assert push(service, url) == f"{url}/datasets/{REPOSITORY}"
    assert (there.made[0]["type"], there.made[0]["visibility"]) == ("dataset", "private")
    assert {"README.md", "manifest.jsonl", "text/train-00000.parquet", "text/test-00000.parquet"} <= set(there.files)
    assert "exclusions.jsonl" not in there.files
    assert "कुर्सी".encode() in there.files["manifest.jsonl"]


def test_parts_of_an_earlier_version_go_and_what_others_put_there_stays(service: speech.Service) -> None:
    there = Hub()
    there.earlier = [
        ".gitattributes",
        "LICENSE",
        "text/train-00000.parquet",
        "text/train-00001.parquet",
        "audio/ab/c.wav",
    ]
    with serving(there) as url:
        push(service, url)
    assert there.deleted == {"text/train-00001.parquet", "audio/ab/c.wav"}


@pytest.mark.parametrize(("status", "kind"), [(401, ConfigurationError), (403, ConfigurationError)])
def test_a_refusal_is_a_matter_of_settings(service: speech.Service, status: int, kind: type[Exception]) -> None:
    with serving(Hub(status)) as url, pytest.raises(kind, match="hub-refused"):
        push(service, url)


def test_a_hub_that_is_down_is_tried_again(service: speech.Service) -> None:
    with serving(Hub()) as url:
        gone = url
    with pytest.raises(RetryableError, match="hub-unavailable"):
        push(service, gone)
