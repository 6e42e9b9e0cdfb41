"""A manifest of calls and a share of public speech -> one manifest, in the same order."""

from __future__ import annotations

import heapq
from pathlib import Path

from ml_backend.context import Context
from training.datasets import dataset_manifest, public_speech, splits
from training.datasets.filters import Filters


def require(filters: Filters) -> None:
    """Refuse public sources that are misspelt, or cannot be read here, before anything is written."""
    for each in filters.public_sources:
        public_speech.Source.of(each).require()


def with_public(
    context: Context, written: dataset_manifest.Written, filters: Filters, folder: Path
) -> dataset_manifest.Written:
    """`public_share` of the training rows of the result are public; fewer where the sources have no more."""
    ours = written.counts.split_rows(splits.TRAIN)
    wanted = round(ours * filters.public_share / (1 - filters.public_share))
    context.store.ensure_bucket(context.settings.audio_bucket)
    found = list(
        public_speech.lines(context, [public_speech.Source.of(each) for each in filters.public_sources], wanted)
    )
    added = sorted((line for line, reason in found if not reason), key=dataset_manifest.order)
    target = folder / "mixed"
    target.mkdir()
    with dataset_manifest.Writer(target) as writer:
        before = ""
        for line in heapq.merge(dataset_manifest.read(written.path), added, key=dataset_manifest.order):
            if line["digest"] == before:
                writer.exclude({"source": line["source"], "digest": before}, "duplicate")
                continue
            before = line["digest"]
            writer.add(line)
        for line in dataset_manifest.read(written.exclusions):
            writer.exclude({name: value for name, value in line.items() if name != "reason"}, line["reason"])
        for named, reason in found:
            if reason:
                writer.exclude(named, reason)
        return writer.close()
