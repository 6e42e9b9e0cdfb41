"""Manifest -> its renderings in the object store: Parquet, JSON lines, NeMo manifests.

A rendering depends on its manifest alone, so objects of an interrupted attempt can be replaced.
"""

from __future__ import annotations

import hashlib
import heapq
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ml_backend import packages
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from training.datasets import dataset_manifest, jsonlines, public_speech, splits
from training.datasets.clip_audio import Clips
from training.datasets.dataset_counts import OF_CALLS
from training.datasets.filters import DatasetFilters

PARQUET, TEXT, JSONL, NEMO = "parquet", "text", "jsonl", "nemo"
FORMS = {
    PARQUET: "Parquet with audio, for Hugging Face datasets",
    TEXT: "Parquet without audio",
    JSONL: "JSON lines beside WAV files",
    NEMO: "NeMo manifests beside WAV files",
}
Report = Callable[[float, str], None]


def check(forms: Iterable[str], known: Iterable[str] = FORMS) -> None:
    """InvalidInput for an unknown form, ConfigurationError when it cannot be made here."""
    for form in forms:
        if form not in known:
            raise InvalidInput("unknown-form", f"There is no form {form[:40]!r}.", f"Known: {', '.join(known)}.")
        if form in (PARQUET, TEXT):
            packages.require("Parquet", "pyarrow")


def make(context: Context, form: str, path: Path, folder: str, *, rows: int, report: Report) -> dict[str, Any]:
    """Render; returns {"files": [{"split", "key", "rows", "size_bytes", "sha256"}]}."""
    check((form,))
    files: list[dict[str, Any]] = []

    def progress(done: int) -> None:
        report(0.1 + 0.85 * done / max(1, rows), f"{form}: {done:,} of {rows:,} rows")

    def store(split: str, number: int, file: Path, count: int) -> None:
        key = f"{folder}/{form}/{file.name}"
        size_bytes, sha256 = file.stat().st_size, replace(context, key, file)
        files.append({"split": split, "key": key, "rows": count, "size_bytes": size_bytes, "sha256": sha256})

    with tempfile.TemporaryDirectory(prefix="kaan-render-") as aside:
        if form in (PARQUET, TEXT):
            from training.datasets import parquet  # takes a tenth of a second to load
        if form == TEXT:
            parquet.render(path, Path(aside), store, clips=None, report=progress)
            return {"files": files}
        with Clips(context) as clips:
            if form == PARQUET:
                parquet.render(path, Path(aside), store, clips=clips, report=progress)
            else:
                bucket, audio = context.settings.audio_bucket, f"{folder}/audio"
                jsonlines.render(
                    path, Path(aside), store, nemo=form == NEMO, report=progress, clips=clips,
                    keep=lambda name, data: context.store.put_bytes(bucket, f"{audio}/{name}", data),
                )  # fmt: skip
    return {"files": files}


def replace(context: Context, key: str, file: Path) -> str:
    """Store a file, replacing what an earlier attempt left under its key."""
    bucket = context.settings.audio_bucket
    if context.store.stat(bucket, key) is not None:
        context.store.delete(bucket, key)
    return context.store.put_file(bucket, key, file)


def replace_text(context: Context, key: str, text: str) -> None:
    """Store a text likewise."""
    bucket = context.settings.audio_bucket
    if context.store.stat(bucket, key) is not None:
        context.store.delete(bucket, key)
    context.store.put_bytes(bucket, key, text.encode(), content_type="text/markdown; charset=utf-8")


def remove(context: Context, folder: str, *, but: tuple[str, ...] = ()) -> int:
    """Delete everything under a version's folder except some names; returns the number of objects."""
    bucket, removed = context.settings.audio_bucket, 0
    kept = {f"{folder}/{name}" for name in but}
    for found in list(context.store.list(bucket, prefix=f"{folder}/")):
        if found.key not in kept:
            context.store.delete(bucket, found.key)
            removed += 1
    return removed


def require(filters: DatasetFilters) -> None:
    """Refuse misspelt or unreadable public sources before anything is written."""
    for each in filters.public_sources:
        public_speech.SpeechSource.of(each).require()


def with_public(
    context: Context, written: dataset_manifest.Written, filters: DatasetFilters, folder: Path
) -> dataset_manifest.Written:
    """Add public rows: `public_share` of the resulting training rows, or fewer if the sources have no more."""
    sources = [public_speech.SpeechSource.of(each) for each in filters.public_sources]
    context.store.ensure_bucket(context.settings.audio_bucket)
    found = public_speech.lines(context, sources, public_rows(written, filters))
    return mixed(written, list(found), folder, order=dataset_manifest.order)


def public_rows(written: dataset_manifest.Written, filters: DatasetFilters) -> int:
    """How many public rows make the share of the training rows that is asked for."""
    return round(written.counts.split_rows(splits.TRAIN) * filters.public_share / (1 - filters.public_share))


def mixed(
    written: dataset_manifest.Written, found: list[tuple[dict[str, Any], str]], folder: Path, *,
    order: Callable[[dict[str, Any]], tuple[Any, ...]], counted_by: tuple[str, ...] = OF_CALLS,
) -> dataset_manifest.Written:  # fmt: skip
    """The manifest with more rows, each with the reason why it is left out, or with none."""
    added = sorted((line for line, reason in found if not reason), key=order)
    target = folder / "mixed"
    target.mkdir()
    with dataset_manifest.Writer(target, counted_by=counted_by) as writer:
        before = ""
        for line in heapq.merge(dataset_manifest.read(written.path), added, key=order):
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


_OURS = ("audio/??/*.wav", *(f"{form}/{split}{end}" for form in FORMS for split in splits.SPLITS
                             for end in ("-[0-9][0-9][0-9][0-9][0-9].parquet", ".jsonl")))  # fmt: skip


def copy(context: Context, row: Any, target: Path) -> Path:
    """Copy a version's files into `target`; existing files of the same length are kept.

    Parts of another version there are deleted first, because they would be loaded with this one's.
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
    """Whether a folder has this version's manifest."""
    return there.is_file() and hashlib.sha256(there.read_bytes()).hexdigest() == row.manifest_sha256
