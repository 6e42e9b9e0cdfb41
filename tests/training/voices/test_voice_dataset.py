"""Datasets of voices: with public voices in training only, and in forms that other programs read."""

from __future__ import annotations

import hashlib
import io
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.errors import InvalidInput
from tests.training.datasets.test_public_speech import globe, limmits
from tests.training.voices.conftest import Voices
from training.datasets import dataset, dataset_card
from training.datasets.filters import DatasetFilters
from training.kinds import voice_run
from training.voices import voice_lines, voice_renderings

BUCKET = "training-data"


@pytest.fixture
def recorded(voices: Voices) -> Voices:
    """Forty accepted recordings by Asha, whose sentences fall into all three splits."""
    rows = []
    for number in range(40):
        text, key = f"sentence number {number}", f"tts/en/{number}.wav"
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(24_000)
            file.writeframes((np.sin(np.arange(12_000) * (0.05 + number / 1000)) * 9000).astype("<i2").tobytes())
        voices.put(f"{BUCKET}/{key}", out.getvalue())
        sha256 = hashlib.sha256(out.getvalue()).hexdigest()
        rows.append(
            {
                "bucket": BUCKET, "key": key, "text": text, "language": "en", "voice": "Asha", "emotion": "happy",
                "engine": "studio", "state": "accepted", "sha256": sha256, "duration_s": 0.5, "rate_hz": 24_000,
                "digest": hashlib.sha256(text.encode()).hexdigest(),
            }
        )  # fmt: skip
    with voices.context.db.transaction() as connection:
        connection.execute(sa.insert(tables.voice_clips), rows)
    return voices


def lines(voices: Voices, dataset_id: int) -> list[dict[str, Any]]:
    return list(dataset.read(voices.context, dataset_id))


def test_public_voices_make_the_share_of_the_training_rows_and_never_validate_or_test(
    recorded: Voices, tmp_path: Path
) -> None:
    plain = lines(recorded, dataset.export(recorded.context, kind="tts", forms=()))
    assert {line["split"] for line in plain} == {"train", "validation", "test"}
    filters = DatasetFilters(public=f"limmits:{limmits(tmp_path)}:hi,globe:{globe(tmp_path)}", public_share=0.1)
    mixed_id = dataset.export(recorded.context, kind="tts", filters=filters, forms=())
    found = lines(recorded, mixed_id)
    ours = [line for line in found if line["engine"] == "studio"]
    public = [line for line in found if line["engine"] == "public"]
    assert ours == plain
    assert {line["split"] for line in public} == {"train"}
    train = sum(line["split"] == "train" for line in ours)
    assert len(public) == round(train / 9)
    assert all(line["voice"].startswith(("limmits-", "globe-")) for line in public)
    row = recorded.context.db.row(tables.datasets, mixed_id)
    card = dataset_card.text(recorded.context, row, {})
    assert "Licences" in card


def test_a_public_sentence_that_the_test_holds_out_is_not_learnt_from_another_voice(
    recorded: Voices, tmp_path: Path
) -> None:
    sources = DatasetFilters(public=f"globe:{globe(tmp_path, 20)}", public_share=0.5)
    first = lines(recorded, dataset.export(recorded.context, kind="tts", filters=sources, forms=()))
    public = [line for line in first if line["engine"] == "public"]
    said = next(line for line in public if voice_lines.side(line["text"], "en") != "train")
    with recorded.context.db.transaction() as connection:
        mine = tables.voice_clips.c.key == "tts/en/0.wav"
        connection.execute(sa.update(tables.voice_clips).where(mine).values(text=said["text"]))
    again_id = dataset.export(recorded.context, kind="tts", filters=sources, forms=())
    again = lines(recorded, again_id)
    assert [line["split"] == "train" for line in again if line["text"] == said["text"]] == [False], "only ours"
    counts = recorded.context.db.row(tables.datasets, again_id).counts
    assert counts["excluded"]["held-out-sentence"] == 1


def test_a_misspelt_public_source_is_refused_before_anything_is_written(recorded: Voices) -> None:
    filters = DatasetFilters(public="globes:/nowhere", public_share=0.1)
    with pytest.raises(InvalidInput) as refused:
        dataset.export(recorded.context, kind="tts", filters=filters, forms=())
    assert refused.value.code == "bad-public-source"
    assert recorded.context.db.rows(sa.select(tables.datasets)) == []


def test_the_trainer_reads_public_recordings_at_its_own_rate(recorded: Voices, tmp_path: Path) -> None:
    filters = DatasetFilters(public=f"limmits:{limmits(tmp_path)}:hi", public_share=0.1)
    found = lines(recorded, dataset.export(recorded.context, kind="tts", filters=filters, forms=()))
    public = next(line for line in found if line["engine"] == "public")
    samples = voice_run.samples_of(recorded.context, public)
    assert samples is not None
    assert abs(len(samples) / 16_000 - public["duration_s"]) < 0.05
    recorded.context.store.delete(public["bucket"], public["key"])
    assert voice_run.samples_of(recorded.context, public) is None


def test_the_parquet_form_has_the_columns_of_hugging_face_and_the_recordings_as_they_were(recorded: Voices) -> None:
    import datasets

    row_id = dataset.export(recorded.context, kind="tts", forms=("parquet",))
    row = recorded.context.db.row(tables.datasets, row_id)
    files = {one["split"]: one for one in row.renderings["parquet"]["files"]}
    assert set(files) == {"train", "validation", "test"}
    path = recorded.folder / "train.parquet"
    recorded.context.store.fetch(recorded.context.settings.audio_bucket, files["train"]["key"], path)
    table = pq.read_table(path)
    features = datasets.Features.from_arrow_schema(table.schema)
    assert isinstance(features["audio"], datasets.Audio)
    first = table.to_pylist()[0]
    assert (first["speaker_id"], first["language"], first["emotion"]) == ("Asha", "en", "happy")
    assert hashlib.sha256(first["audio"]["bytes"]).hexdigest() == first["audio_sha256"]
    assert first["text"].startswith("sentence number")
    assert sum(one["rows"] for one in files.values()) == 40


def test_the_parts_of_a_large_split_hold_every_row_once(recorded: Voices, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_renderings, "PART_BYTES", 100_000)
    monkeypatch.setattr(voice_renderings, "_GROUP_BYTES", 50_000)
    row_id = dataset.export(recorded.context, kind="tts", forms=("parquet", "jsonl"))
    row = recorded.context.db.row(tables.datasets, row_id)
    parts = [one for one in row.renderings["parquet"]["files"] if one["split"] == "train"]
    assert len(parts) > 3
    ids = []
    for number, part in enumerate(parts):
        path = recorded.folder / f"{number}.parquet"
        recorded.context.store.fetch(recorded.context.settings.audio_bucket, part["key"], path)
        ids += pq.read_table(path, columns=["id"]).column("id").to_pylist()
    listed = next(one for one in row.renderings["jsonl"]["files"] if one["split"] == "train")
    path = recorded.folder / "train.jsonl"
    recorded.context.store.fetch(recorded.context.settings.audio_bucket, listed["key"], path)
    assert ids == [json.loads(line)["id"] for line in path.read_text().splitlines()]
