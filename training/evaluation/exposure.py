"""Model version -> the calls and speakers that it, or one of its bases, was trained on.

A test set grows, so a caller in last year's training data may be in this year's test set. No version is tested or
compared on rows it was trained on. Agents speak in calls of every split, so they are compared by call, not by speaker.
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
    """Recordings (by the hash of their audio), calls, and speakers other than agents."""

    audio: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)
    speakers: set[str] = field(default_factory=set)
    families: set[str] = field(default_factory=set)  # of rewordings of one sentence, for parsers

    def has(self, *, audio_sha256: str, call: str, caller: str) -> bool:
        return audio_sha256 in self.audio or call in self.calls or caller in self.speakers

    def has_family(self, family: str | None) -> bool:
        return family is not None and family in self.families

    def __or__(self, other: TrainingExposure) -> TrainingExposure:
        return TrainingExposure(
            self.audio | other.audio, self.calls | other.calls, self.speakers | other.speakers,
            self.families | other.families,
        )  # fmt: skip


def by(context: Context, version: Version) -> TrainingExposure:
    """Everything that `version` was trained on, according to the lineages."""
    found = TrainingExposure()
    for dataset_id in sorted(set(_datasets(context, version))):
        _add(context, dataset_id, found)
    return found


def _datasets(context: Context, version: Version) -> Iterator[int]:
    seen: set[str] = set()
    while version.version not in seen and version.lineage:
        seen.add(version.version)
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
            if audio := line.get("audio_sha256"):
                found.audio.add(audio)
                found.calls.add(line.get("call_id") or audio)
            if (speaker := line.get("speaker_id")) and not speaker.startswith(_AGENT):
                found.speakers.add(speaker)
            if family := line.get("family"):
                found.families.add(family)


def _without_the_erased(context: Context, row: Any) -> int | None:
    """The version that an erasure made from this one: the same rows in the same splits, without the erased ones."""
    while row is not None and row.state == dataset.SUPERSEDED:
        later = sa.select(datasets).where(datasets.c.name == row.name, datasets.c.version > row.version)
        rows = context.db.rows(later.order_by(datasets.c.version).limit(1))
        row = rows[0] if rows else None
    return int(row.id) if row is not None and row.state == dataset.READY else None


def _what_stayed(context: Context, row: Any) -> set[str]:
    """If there is no later version, only the hashes of the recordings of all splits are left."""
    with tempfile.TemporaryDirectory(prefix="kaan-seen-") as folder:
        path = Path(folder) / dataset.AUDIO_LIST
        context.store.fetch(context.settings.audio_bucket, row.manifest_key, path)
        return set(path.read_text().split())
