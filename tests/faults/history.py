"""What was sent and what was answered, in a file of its own: the outside ledger that alone decides what was lost.

It knows nothing of the product. A line is written when something is sent and another when its answer came, so that a
sender killed in between claims nothing. `answered(2xx)` is the product's promise; `tests.faults.checker` holds the
product to it.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx


@dataclass(frozen=True)
class Sent:
    """One request: its number, the digest of its body, and what came back (None: nothing)."""

    number: int
    digest: str
    call_sid: str
    status: int | None = None

    @property
    def acknowledged(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class History:
    """The file. Safe for many threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._number = 0

    def post(self, client: httpx.Client, address: str, body: bytes, *, call_sid: str, content_type: str) -> int | None:
        """Send, and keep both sides; gives the status, None when no answer came."""
        with self._lock:
            self._number += 1
            number = self._number
        digest = hashlib.sha256(body).hexdigest()
        self._write({"sent": number, "digest": digest, "call_sid": call_sid})
        try:
            status = client.post(address, content=body, headers={"Content-Type": content_type}).status_code
        except httpx.HTTPError:
            return None
        self._write({"answered": number, "status": status})
        return status

    def read(self) -> list[Sent]:
        """Everything sent, in order."""
        sent: dict[int, dict[str, Any]] = {}
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            entry = json.loads(line)
            if "sent" in entry:
                sent[entry["sent"]] = {"digest": entry["digest"], "call_sid": entry["call_sid"]}
            else:
                sent[entry["answered"]]["status"] = entry["status"]
        return [Sent(number, **values) for number, values in sorted(sent.items())]

    def _write(self, entry: dict[str, Any]) -> None:
        with self._lock, self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
