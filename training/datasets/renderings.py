"""Manifest -> its renderings in the object store: Parquet, JSON lines, NeMo manifests.

A rendering follows from its manifest alone, so an object of an interrupted attempt is replaced without regret.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ml_backend import packages
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from training.datasets import jsonlines
from training.datasets.clip_audio import Clips

PARQUET, TEXT, JSONL, NEMO = "parquet", "text", "jsonl", "nemo"
FORMS = {
    PARQUET: "Parquet with audio, for Hugging Face datasets",
    TEXT: "Parquet without audio",
    JSONL: "JSON lines beside WAV files",
    NEMO: "NeMo manifests beside WAV files",
}
Report = Callable[[float, str], None]


def check(forms: Iterable[str]) -> None:
    """InvalidInput when there is no such form, ConfigurationError when it cannot be made here."""
    for form in forms:
        if form not in FORMS:
            raise InvalidInput("unknown-form", f"There is no form {form[:40]!r}.", f"Known: {', '.join(FORMS)}.")
        if form in (PARQUET, TEXT):
            packages.require("Parquet", "pyarrow")


def make(context: Context, form: str, path: Path, folder: str, *, rows: int, report: Report) -> dict[str, Any]:
    """Render; gives {"files": [{"split", "key", "rows", "size_bytes", "sha256"}]}."""
    check((form,))
    files: list[dict[str, Any]] = []

    def told(done: int) -> None:
        report(0.1 + 0.85 * done / max(1, rows), f"{form}: {done:,} of {rows:,} rows")

    def store(split: str, number: int, file: Path, count: int) -> None:
        key = f"{folder}/{form}/{file.name}"
        size_bytes, sha256 = file.stat().st_size, replace(context, key, file)
        files.append({"split": split, "key": key, "rows": count, "size_bytes": size_bytes, "sha256": sha256})

    with tempfile.TemporaryDirectory(prefix="kaan-render-") as aside:
        if form in (PARQUET, TEXT):
            from training.datasets import parquet  # a tenth of a second that no other command needs to wait for
        if form == TEXT:
            parquet.render(path, Path(aside), store, clips=None, report=told)
            return {"files": files}
        with Clips(context) as clips:
            if form == PARQUET:
                parquet.render(path, Path(aside), store, clips=clips, report=told)
            else:
                bucket, audio = context.settings.audio_bucket, f"{folder}/audio"
                jsonlines.render(
                    path, Path(aside), store, nemo=form == NEMO, report=told, clips=clips,
                    keep=lambda name, data: context.store.put_bytes(bucket, f"{audio}/{name}", data),
                )  # fmt: skip
    return {"files": files}


def replace(context: Context, key: str, file: Path) -> str:
    """Store a file under a key that may hold what an earlier attempt left."""
    bucket = context.settings.audio_bucket
    if context.store.stat(bucket, key) is not None:
        context.store.delete(bucket, key)
    return context.store.put_file(bucket, key, file)


def replace_text(context: Context, key: str, text: str) -> None:
    """The same for a text."""
    bucket = context.settings.audio_bucket
    if context.store.stat(bucket, key) is not None:
        context.store.delete(bucket, key)
    context.store.put_bytes(bucket, key, text.encode(), content_type="text/markdown; charset=utf-8")


def remove(context: Context, folder: str, *, but: tuple[str, ...] = ()) -> int:
    """Delete everything under a version's folder but some names; gives how many objects."""
    bucket, removed = context.settings.audio_bucket, 0
    kept = {f"{folder}/{name}" for name in but}
    for found in list(context.store.list(bucket, prefix=f"{folder}/")):
        if found.key not in kept:
            context.store.delete(bucket, found.key)
            removed += 1
    return removed
