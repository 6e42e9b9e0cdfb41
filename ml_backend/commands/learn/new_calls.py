"""The bundled calls of `learn`: recordings under the keys that the telephone company would use, with their texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ml_backend.context import Context

INDEX = Path(__file__).resolve().parents[2] / "bundled" / "learning" / "calls.json"
PREFIX = "recordings/2026/02"  # the month they were made in


@dataclass(frozen=True)
class NewCall:
    """One call. `new`: of the new domain, not one of the usual ones."""

    path: Path
    key: str
    row: dict[str, Any]

    @property
    def new(self) -> bool:
        return bool(self.row["new"])


def read(index: Path = INDEX) -> list[NewCall]:
    """All calls of the index, in the order they came in."""
    found = []
    for row in json.loads(index.read_text(encoding="utf-8")):
        begun = datetime.fromisoformat(row["started_at_utc"])
        key = f"recordings/{begun:%Y/%m/%d}/{row['file']}"
        found.append(NewCall(index.parent / row["file"], key, {**row, "key": key}))
    return found


def arrive(context: Context, calls: Sequence[NewCall]) -> int:
    """Put the calls into the bucket of recordings; returns how many were missing."""
    bucket = context.settings.recordings_bucket
    context.store.ensure_bucket(bucket)
    there = {found.key for found in context.store.list(bucket, prefix=PREFIX)}
    missing = [call for call in calls if call.key not in there]
    for call in missing:
        context.store.put_file(bucket, call.key, call.path)
    return len(missing)
