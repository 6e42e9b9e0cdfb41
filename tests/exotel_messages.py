"""The sample messages of tests/fixtures/exotel as requests: parts as they are on the wire."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent / "fixtures" / "exotel"
INDEX: list[dict[str, Any]] = json.loads((FIXTURES / "index.json").read_text())["callbacks"]
BAD: list[dict[str, Any]] = json.loads((FIXTURES / "bad_callbacks.json").read_text())


@dataclass(frozen=True)
class Message:
    """One request without its address."""

    method: str
    query: str
    content_type: str | None
    body: bytes


def message(name: str) -> Message:
    """A `cb_` fixture."""
    head, _, body = (FIXTURES / name).read_bytes().partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
    return Message(method, target.partition("?")[2], headers.get("content-type"), body)


def bad(case: dict[str, Any]) -> Message:
    """A case of bad_callbacks.json."""
    if "body_hex" in case:
        body = bytes.fromhex(case["body_hex"])
    elif "body_repeat" in case:
        parts = case["body_repeat"]
        body = (parts["prefix"] + parts["char"] * parts["count"] + parts.get("suffix", "")).encode()
    elif "parts" in case:
        part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        body = part * case["parts"] + b"--b--\r\n"
    else:
        body = case.get("body", "").encode()
    return Message(case["method"], case.get("query", ""), case.get("content_type"), body)
