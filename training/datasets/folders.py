"""A version in the object store -> a folder that `load_dataset` and NeMo take as it is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from training.datasets import dataset_manifest, splits
from training.datasets.renderings import FORMS

_OURS = ("audio/??/*.wav", *(f"{form}/{split}{end}" for form in FORMS for split in splits.SPLITS
                             for end in ("-[0-9][0-9][0-9][0-9][0-9].parquet", ".jsonl")))  # fmt: skip


def copy(context: Context, row: Any, target: Path) -> Path:
    """Everything of a version, under `target`; files that are there and as long are kept.

    Parts of another version that lie there go first: they would be loaded together with this one's.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        said = f"{target} can be no folder ({error.strerror})."
        raise InvalidInput("bad-folder", said, "Name a folder that can be written to.") from error
    bucket, prefix = context.settings.audio_bucket, f"datasets/{row.name}/{row.version}/"
    if not _is(row, target / dataset_manifest.MANIFEST):
        for path in (path for pattern in _OURS for path in target.glob(pattern)):
            path.unlink()
    found = sorted(
        context.store.list(bucket, prefix=prefix), key=lambda one: not one.key.endswith(dataset_manifest.MANIFEST)
    )
    for one in found:
        path = target / one.key.removeprefix(prefix)
        if path.is_file() and path.stat().st_size == one.size_bytes and path.suffix in (".parquet", ".wav"):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        context.store.fetch(bucket, one.key, path)
    return target


def _is(row: Any, there: Path) -> bool:
    """Whether the manifest in a folder is this version's."""
    return there.is_file() and hashlib.sha256(there.read_bytes()).hexdigest() == row.manifest_sha256
