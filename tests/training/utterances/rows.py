"""Rows of a source as a company's table has them, and a database of ours to bring them into."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import db
from ml_backend.context import Context, open_context
from ml_backend.setting_values import columns
from ml_backend.settings import Settings
from ml_backend.tables import utterances
from training.utterances import utterance_import
from training.utterances.utterance_import import ImportReport
from training.utterances.utterance_sources import UtteranceFile


def open_in(folder: Path, **chosen: Any) -> Context:
    """A context over an empty database."""
    settings = Settings(_env_file=None, data_dir=folder / "data", **chosen)
    db.upgrade(settings.database)
    return open_context(settings)


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def bring_in(context: Context, path: Path, mapping: str = "") -> ImportReport:
    return utterance_import.run(context, UtteranceFile(path, columns(mapping)[0]))


def stored(context: Context) -> dict[str, Any]:
    """id in the source -> row, of the rows in use."""
    found = context.db.rows(sa.select(utterances).where(utterances.c.state == "accepted"))
    return {row.external_id: row for row in found}


def row(number: int, text: str, intent: str = "track", **more: Any) -> dict[str, Any]:
    return {"id": number, "text": text, "intent": intent, **more}
