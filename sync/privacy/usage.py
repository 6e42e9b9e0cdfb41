"""Erased recordings -> a report of the datasets and models that used them, for a person's decision.

A dataset is immutable: without the erased recordings it is a new version. A model that was trained on the old version
can only be retired or trained again. The report names them; nothing here removes a model.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.context import Context
from ml_backend.errors import KaanError
from ml_backend.tables import annotations as annotation_rows
from ml_backend.tables import datasets, model_versions, runs
from sync.privacy.subjects import SubjectRows


def report(connection: Connection, context: Context, found: SubjectRows, *, left: list[str]) -> dict[str, Any]:
    """What was erased (ids), what stays because we may not remove it, and the datasets and models that used it."""
    task_ids = [task.id for task in found.tasks]
    written = (
        sa.select(annotation_rows.c.id).where(annotation_rows.c.task_id.in_(task_ids)).order_by(annotation_rows.c.id)
    )
    shas = sorted({str(recording.sha256) for recording in found.recordings if recording.sha256})
    used, unread = _datasets(connection, context, shas)
    return {
        "calls": [int(call.id) for call in found.calls],
        "recordings": [int(recording.id) for recording in found.recordings],
        "audio_sha256": shas,
        "annotations": [int(row_id) for row_id in connection.execute(written).scalars()],
        "left": left,
        "datasets": used,
        "datasets_not_read": unread,
        "models": _models(connection, [dataset["id"] for dataset in used]),
    }


def _datasets(connection: Connection, context: Context, shas: list[str]) -> tuple[list[dict[str, Any]], list[int]]:
    """(datasets whose manifest names one of these recordings, ids of those whose manifest cannot be read)."""
    used, unread = [], []
    for row in connection.execute(sa.select(datasets).order_by(datasets.c.id)).all() if shas else ():
        text = _manifest(context, row)
        if text is None:
            unread.append(int(row.id))
        elif any(sha in text for sha in shas):
            used.append({"id": int(row.id), "name": row.name, "version": row.version})
    return used, unread


def _manifest(context: Context, row: Any) -> str | None:
    if not row.manifest_key:
        return None
    with tempfile.TemporaryDirectory(prefix="kaan-usage-") as folder:
        path = Path(folder) / "manifest"
        try:
            context.store.fetch(context.settings.audio_bucket, row.manifest_key, path)
        except KaanError:
            return None
        return path.read_text(encoding="utf-8", errors="replace")


def _models(connection: Connection, dataset_ids: list[int]) -> list[str]:
    trained = sa.select(model_versions.c.version).join(runs, runs.c.id == model_versions.c.run_id)
    return [str(name) for name in connection.execute(trained.where(runs.c.dataset_id.in_(dataset_ids))).scalars()]
