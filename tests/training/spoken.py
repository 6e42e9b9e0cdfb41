"""Clips -> a dataset version in a store, as an export would have left it; for tests of training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend import db, tables
from ml_backend.context import Context, open_context
from ml_backend.models import kinds
from ml_backend.settings import Settings
from training.datasets import clip_audio, dataset, dataset_manifest


@dataclass(frozen=True)
class Line:
    """One row to be: a wave of its own, or that of `of` once more."""

    id: str
    wave: Any
    text: str
    language: str = "en"
    speaker: str = "one"
    split: str = "train"


def opened(folder: Path) -> Context:
    """A context with an empty database and a directory for a store."""
    settings = Settings(_env_file=None, data_dir=folder, asr_threads=1)
    folder.mkdir(parents=True, exist_ok=True)
    db.upgrade(settings.database)
    return open_context(settings)


def dataset_of(context: Context, name: str, lines: Iterable[Line], scratch: Path, **changed: Any) -> int:
    """The id of a new version. `changed` overrides fields of every manifest line."""
    scratch.mkdir(parents=True, exist_ok=True)
    bucket = context.settings.audio_bucket
    context.store.ensure_bucket(bucket)
    bodies = []
    for line in lines:
        wav = clip_audio.wav((np.clip(line.wave, -1, 1) * 32767).astype("<i2").tobytes())
        sha = hashlib.sha256(wav).hexdigest()
        if context.store.stat(bucket, clip_audio.public_key(sha)) is None:
            context.store.put_bytes(bucket, clip_audio.public_key(sha), wav)
        digest = hashlib.sha256(f"{sha}{line.text}{line.language}".encode()).hexdigest()
        bodies.append(
            {
                "id": line.id, "digest": digest, "source": "public", "audio_sha256": sha, "call_id": line.id,
                "project_id": None, "task_id": None, "annotation_id": None, "start_s": 0.0,
                "end_s": round(len(line.wave) / 16000, 3), "channel": 0, "text": line.text, "language": line.language,
                "script": None, "speaker_id": line.speaker, "accent": None, "quality": None, "quality_score": None,
                "snr_db": None, "date": None, "split": line.split, "model_version": None, "consent_purpose": None,
                "selection_reason": None, "selection_probability": None, **changed,
            }
        )  # fmt: skip
    with dataset_manifest.Writer(scratch) as writer:
        for body in sorted(bodies, key=lambda one: (one["audio_sha256"], one["start_s"], one["digest"])):
            writer.add(body)
        written = writer.close()
    return dataset.keep(context, name, written, {}, kind=kinds.of(kinds.ASR), forms=(), begun=tables.now())


def tone(number: int, *, seconds: float = 1.0) -> Any:
    """Something to be cut and stored, different for every number."""
    at = np.arange(int(seconds * 16000)) / 16000
    return (0.3 * np.sin(2 * np.pi * (200 + 10 * number) * at)).astype(np.float32)
