"""Clips of voices -> the lines and forms of a dataset of kind tts, and how many are new."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.context import Context
from ml_backend.tables import voice_clips
from ml_backend.tts.prompts import ENGINE
from ml_backend.views.training_progress import Mark
from training.datasets import dataset_manifest, renderings, splits
from training.datasets.dataset_rows import EXCLUDED, LINE, ManifestLine
from training.datasets.filters import DatasetFilters
from training.voices import voice_lines

FORMS = {"jsonl": "JSON lines beside WAV files"}
Report = Callable[[float, str], None]


def lines(connection: Connection, filters: DatasetFilters) -> Iterator[ManifestLine]:
    """Every clip with a text once, in the order of `order`."""
    rows = sa.select(voice_clips).where(voice_clips.c.digest.is_not(None))
    before = ""
    for row in connection.execute(rows.order_by(voice_clips.c.digest, voice_clips.c.key)):
        body = next(voice_lines.lines([row]), None)
        reason = ""
        if body is None:
            reason = str(row.reason_code or row.role or row.state)
        elif row.engine == ENGINE:
            reason = "own-voice"  # a voice that learns from itself keeps its faults
        elif filters.language_set and (row.language or "") not in filters.language_set:
            reason = "language"
        elif row.digest == before:
            reason = "duplicate"
        if body is None or reason:
            named = {"digest": row.digest, "audio_sha256": row.sha256, "bucket": row.bucket, "key": row.key}
            yield ManifestLine(EXCLUDED, named, reason)
            continue
        before = row.digest
        yield ManifestLine(LINE, {**body, "script": None})


def order(line: dict[str, Any]) -> tuple[Any, ...]:
    return (line["digest"],)


def render(
    context: Context, form: str, path: Path, folder: str, *, rows: int, report: Report = lambda fraction, note: None
) -> dict[str, Any]:
    """JSON lines per split, with each recording, as it was delivered, beside them."""
    renderings.check((form,), FORMS)
    found = list(dataset_manifest.read(path))
    files, bucket = [], context.settings.audio_bucket
    with tempfile.TemporaryDirectory(prefix="kaan-render-") as aside:
        for number, line in enumerate(found):
            copy = Path(aside) / "clip.wav"
            context.store.fetch(line["bucket"], line["key"], copy)
            renderings.replace(context, f"{folder}/audio/{line['id']}.wav", copy)
            report(0.1 + 0.8 * number / max(1, len(found)), f"{form}: {number + 1:,} of {len(found):,} clips")
        for split in splits.SPLITS:
            some = [{**line, "audio": f"../audio/{line['id']}.wav"} for line in found if line["split"] == split]
            if not some:
                continue
            file = Path(aside) / f"{split}.jsonl"
            file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in some), encoding="utf-8")
            key = f"{folder}/{form}/{file.name}"
            size_bytes, sha256 = file.stat().st_size, renderings.replace(context, key, file)
            files.append({"split": split, "key": key, "rows": len(some), "size_bytes": size_bytes, "sha256": sha256})
    context.store.ensure_bucket(bucket)
    return {"files": files}


def new_samples(connection: Connection, mark: Mark) -> tuple[int, datetime | None]:
    """(accepted clips since the mark, when the newest was accepted)"""
    later: list[Any] = [voice_clips.c.accepted_at > mark.until] if mark.until else []
    later.append(voice_clips.c.engine.is_distinct_from(ENGINE))
    found = sa.select(sa.func.count(), sa.func.max(voice_clips.c.accepted_at))
    number, newest = connection.execute(found.where(voice_clips.c.state == "accepted", *later)).one()
    return int(number), newest


def why_none(connection: Connection) -> str:
    """Why there are no new clips."""
    total = connection.execute(sa.select(sa.func.count()).select_from(voice_clips)).scalar_one()
    if not total:
        return "No recording with a text is here yet: `voices collect` and `voices import` bring them in."
    return "No clip was accepted since the last run: it would give the same voice."
