"""Clips of voices and public voices -> the lines of a dataset of kind tts, and how many are new."""

from __future__ import annotations

from collections.abc import Iterator
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
from training.datasets.public_speech import SpeechSource
from training.voices import public_voices, voice_lines

COUNTED_BY = ("language", "voice", "emotion", "engine", "source")
HELD_OUT = "held-out-sentence"


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


def with_public(
    context: Context, written: dataset_manifest.Written, filters: DatasetFilters, folder: Path
) -> dataset_manifest.Written:
    """Add public voices to the training rows, as many as the share says. A sentence that is held out is never added:
    another voice would say what the test asks."""
    sources = [SpeechSource.of(each) for each in filters.public_sources]
    context.store.ensure_bucket(context.settings.audio_bucket)
    held_out = _held_out(written)
    found = public_voices.lines(
        context, sources, renderings.public_rows(written, filters), least_rate_hz=context.settings.tts_least_rate_hz
    )
    rows = [(line, reason or (HELD_OUT if line.get("family") in held_out else "")) for line, reason in found]
    added = [({**line, "script": None} if not reason else line, reason) for line, reason in rows]
    return renderings.mixed(written, added, folder, order=order, counted_by=COUNTED_BY)


def _held_out(written: dataset_manifest.Written) -> set[str]:
    """The sentences of the validation and the test."""
    return {line["family"] for line in dataset_manifest.read(written.path) if line["split"] != splits.TRAIN}


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
