"""Manifest of kind nlu -> its forms in the object store: Parquet for Hugging Face datasets, JSON lines, Rasa's YAML."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.context import Context
from ml_backend.tables import utterances
from ml_backend.views.training_progress import Mark
from training.datasets import dataset_manifest, renderings, splits
from training.utterances import utterance_forms
from training.utterances.utterance_forms import TagNames

PARQUET, JSONL, RASA = "parquet", "jsonl", "rasa"
FORMS = {
    PARQUET: "Parquet with ClassLabel intents and BIO tags, for Hugging Face datasets",
    JSONL: "JSON lines",
    RASA: "Rasa's YAML of training data",
}
_ENDINGS = {PARQUET: "-00000.parquet", JSONL: ".jsonl", RASA: ".yml"}
Report = Callable[[float, str], None]


def render(
    context: Context, form: str, path: Path, folder: str, *, rows: int, report: Report = lambda fraction, note: None
) -> dict[str, Any]:
    """Render one form; returns {"files": [{"split", "key", "rows", "size_bytes", "sha256"}], "left_out": [ids]}."""
    renderings.check((form,), FORMS)
    lines = list(dataset_manifest.read(path))
    names, files, left_out = TagNames.of(lines), [], list[str]()
    with tempfile.TemporaryDirectory(prefix="kaan-render-") as aside:
        for number, split in enumerate(splits.SPLITS):
            some = [line for line in lines if line["split"] == split]
            if not some:
                continue
            file = Path(aside) / f"{split}{_ENDINGS[form]}"
            left_out += _write(form, file, some, names)
            key = f"{folder}/{form}/{file.name}"
            size_bytes, sha256 = file.stat().st_size, renderings.replace(context, key, file)
            files.append({"split": split, "key": key, "rows": len(some), "size_bytes": size_bytes, "sha256": sha256})
            report(0.1 + 0.3 * number, f"{form}: {split} written")
    return {"files": files, "left_out": left_out}


def new_samples(connection: Connection, mark: Mark) -> tuple[int, datetime | None]:
    """(accepted utterances since the mark, when the newest was accepted)"""
    later = [utterances.c.accepted_at > mark.until] if mark.until else []
    found = sa.select(sa.func.count(), sa.func.max(utterances.c.accepted_at))
    number, newest = connection.execute(found.where(utterances.c.state == "accepted", *later)).one()
    return int(number), newest


def why_none(connection: Connection) -> str:
    """Why there are no new utterances."""
    total = connection.execute(sa.select(sa.func.count()).select_from(utterances)).scalar_one()
    if not total:
        return "No utterance is here yet: `nlu import` reads them from a table or a file."
    return "No utterance was accepted since the last run: it would give the same model."


def _write(form: str, file: Path, lines: list[dict[str, Any]], names: TagNames) -> list[str]:
    if form == RASA:
        with file.open("w", encoding="utf-8") as stream:
            return utterance_forms.write_rasa(lines, stream)
    if form == JSONL:
        file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
        return []
    import pyarrow as pa  # takes a tenth of a second to load
    import pyarrow.parquet as pq

    types = {"string": pa.string(), "bool": pa.bool_(), "int64": pa.int64(), "label": pa.int64(),
             "strings": pa.list_(pa.string()), "labels": pa.list_(pa.int64())}  # fmt: skip
    told = {b"huggingface": json.dumps({"info": {"features": names.features()}}).encode()}
    schema = pa.schema([pa.field(name, types[kind]) for name, _, kind in utterance_forms.COLUMNS], metadata=told)
    pq.write_table(pa.Table.from_pylist([names.columns(line) for line in lines], schema=schema), file)
    return []
