"""Which samples are in a dataset, which it leaves out and why: read from the manifests in the store. For jobs.

A sample is known by its digest; sixty bits of it are kept in memory, so that a million of them take less than 100 MB.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from ml_backend.context import Context
from ml_backend.errors import KaanError
from ml_backend.tables import datasets

READY = "ready"
_BITS = 15  # hexadecimal digits of a digest that are kept


@dataclass
class InDatasets:
    """The samples of the newest version of every dataset; `versions`: per version, how it differs from the last."""

    samples: set[int] = field(default_factory=set)
    reasons: dict[int, str] = field(default_factory=dict)
    changes: dict[int, dict[str, int]] = field(default_factory=dict)  # by the dataset's id
    unreadable: dict[int, str] = field(default_factory=dict)

    def __contains__(self, digest: str) -> bool:
        return _short(digest) in self.samples

    def left_out(self, digest: str) -> str:
        """The reason why the newest dataset leaves a sample out; empty if it does not."""
        return self.reasons.get(_short(digest), "")


def read(context: Context) -> InDatasets:
    """The newest and the last but one version of each dataset."""
    found = InDatasets()
    rows = context.db.rows(
        sa.select(datasets).where(datasets.c.state == READY).order_by(datasets.c.name, datasets.c.version.desc())
    )
    by_name: dict[str, list[Any]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    for versions in by_name.values():
        newest = _digests(context, versions[0], found)
        found.samples |= newest
        for digest, reason in _excluded(context, versions[0]):
            found.reasons.setdefault(digest, reason)
        if len(versions) > 1 and versions[0].id not in found.unreadable:
            before = _digests(context, versions[1], found)
            if versions[1].id not in found.unreadable:
                found.changes[versions[0].id] = {"added": len(newest - before), "removed": len(before - newest)}
    found.reasons = {digest: why for digest, why in found.reasons.items() if digest not in found.samples}
    return found


def _digests(context: Context, row: Any, found: InDatasets) -> set[int]:
    try:
        return {_short(line["digest"]) for line in _lines(context, row, row.manifest_key or "") if "digest" in line}
    except KaanError as error:
        found.unreadable[row.id] = error.sentence
        return set()


def _excluded(context: Context, row: Any) -> Iterator[tuple[int, str]]:
    key = f"{(row.manifest_key or '').rpartition('/')[0]}/exclusions.jsonl"
    try:
        for line in _lines(context, row, key):
            if "digest" in line and line.get("reason"):
                yield _short(line["digest"]), str(line["reason"])
    except KaanError:  # a version of before, or of a kind without such a file
        return


def _lines(context: Context, row: Any, key: str) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="kaan-counting-") as folder:
        path = Path(folder) / "lines.jsonl"
        context.store.fetch(context.settings.audio_bucket, key, path)
        with path.open("rb") as file:
            for text in file:
                line = orjson.loads(text)
                if isinstance(line, dict):
                    yield line


def _short(digest: str) -> int:
    try:
        return int(digest[:_BITS], 16)
    except ValueError:
        return hash(digest)
