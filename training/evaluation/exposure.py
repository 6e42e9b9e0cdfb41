"""Model version -> the calls and speakers it learnt from, and those its bases learnt from.

A test set grows: a caller whose call was learnt from last year may be in this year's test. No version is tested on
what it has seen, and no two are compared on it. Agents are on every side by their work; they are told apart by call.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend.context import Context
from ml_backend.errors import PermanentError
from ml_backend.models import registry
from ml_backend.models.registry import Version
from ml_backend.tables import datasets
from training.datasets import dataset

LEARNT = ("train", "validation")
_AGENT = "agent-"


@dataclass
class TrainingExposure:
    """Recordings by the hash of their audio, calls, and speakers who are no agents."""

    audio: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)
    speakers: set[str] = field(default_factory=set)

    def has(self, *, audio_sha256: str, call: str, caller: str) -> bool:
        return audio_sha256 in self.audio or call in self.calls or caller in self.speakers

    def __or__(self, other: TrainingExposure) -> TrainingExposure:
        return TrainingExposure(self.audio | other.audio, self.calls | other.calls, self.speakers | other.speakers)


def by(context: Context, version: Version) -> TrainingExposure:
    """Everything that `version` has learnt from, as far as lineages tell."""
    found = TrainingExposure()
    for dataset_id in sorted(set(_datasets(context, version))):
        _add(context, dataset_id, found)
    return found


def _datasets(context: Context, version: Version) -> Iterator[int]:
    met: set[str] = set()
    while version.version not in met and version.lineage:
        met.add(version.version)
        for name in ("dataset_id", "replay_dataset_id"):
            if version.lineage.get(name):
                yield int(version.lineage[name])
        try:
            version = registry.find(context, str(version.lineage.get("base") or ""))
        except PermanentError:  # a hub name or a folder: nothing of ours
            return


def _add(context: Context, dataset_id: int, found: TrainingExposure) -> None:
    row = context.db.row(datasets, dataset_id)
    if row.state == dataset.SUPERSEDED:
        following = _without_the_erased(context, row)
        if following is None:
            found.audio |= _what_stayed(context, row)
            return
        dataset_id = following
    for line in dataset.read(context, dataset_id):
        if line["split"] in LEARNT:
            found.audio.add(line["audio_sha256"])
            found.calls.add(line["call_id"] or line["audio_sha256"])
            if line["speaker_id"] and not line["speaker_id"].startswith(_AGENT):
                found.speakers.add(line["speaker_id"])


def _without_the_erased(context: Context, row: Any) -> int | None:
    """The version that an erasure made of this one: the same rows on the same sides, but for the erased."""
    while row is not None and row.state == dataset.SUPERSEDED:
        later = sa.select(datasets).where(datasets.c.name == row.name, datasets.c.version > row.version)
        rows = context.db.rows(later.order_by(datasets.c.version).limit(1))
        row = rows[0] if rows else None
    return int(row.id) if row is not None and row.state == dataset.READY else None


def _what_stayed(context: Context, row: Any) -> set[str]:
    """Without a later version only the hashes of the recordings are left, of every side."""
    with tempfile.TemporaryDirectory(prefix="kaan-seen-") as folder:
        path = Path(folder) / dataset.AUDIO_LIST
        context.store.fetch(context.settings.audio_bucket, row.manifest_key, path)
        return set(path.read_text().split())
