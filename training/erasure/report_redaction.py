"""Erased recordings -> evaluations and reports without their texts. Counts stay, because they identify no person.

A report keeps its verdict and shows nothing in place of an erased text.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend.context import Context
from ml_backend.models import kinds
from ml_backend.tables import evaluations, model_versions
from training.datasets import renderings
from training.evaluation import explorer_rows
from training.promotion import judgements

_TEXTS = ("reference", "before", "now", "alignment")


def redact(context: Context, shas: Collection[str]) -> int:
    """Remove the texts of these recordings from all evaluations and reports; gives how many files changed."""
    changed = 0
    columns = (evaluations.c.id, evaluations.c.details_key, evaluations.c.report_key, model_versions.c.kind)
    every = sa.select(*columns).join(model_versions, model_versions.c.id == evaluations.c.model_version_id)
    for row in context.db.rows(every.order_by(evaluations.c.id)):
        if row.details_key:
            changed += _details(context, row, shas)
        if row.report_key:
            changed += _report(context, row.report_key, shas)
    return changed


def _details(context: Context, row: Any, shas: Collection[str]) -> bool:
    """The lines first, then the rows that are made of them."""
    kind = kinds.of(row.kind)
    if kind.without_texts is None:
        return False
    ids = explorer_rows.ids_with(context, row.id, shas)
    before = explorer_rows.lines_of(context, row.details_key)
    lines = kind.read_rows(before)
    after = kind.write_rows(kind.without_texts(lines, shas, ids))
    if after == kind.write_rows(lines):
        if ids and not explorer_rows.is_listed(context, row.id):  # an earlier attempt was killed before it
            explorer_rows.list_evaluation(context, row.id)
        return False
    explorer_rows.hide(context, row.id)
    with tempfile.TemporaryDirectory(prefix="kaan-forgotten-") as folder:
        path = Path(folder) / "utterances.jsonl"
        path.write_bytes(after)
        renderings.replace(context, row.details_key, path)
    explorer_rows.list_evaluation(context, row.id)
    return True


def _report(context: Context, key: str, shas: Collection[str]) -> bool:
    body = judgements.read(context, key)
    found = [one for some in body["examples"].values() for one in some if _named(one, shas)]
    for one in found:
        one.update(dict.fromkeys(_TEXTS, ""))
    if found:
        judgements.write(context, key, body)
    return bool(found)


def _named(one: dict[str, Any], shas: Collection[str]) -> bool:
    return one["audio_sha256"] in shas and any(one[name] for name in _TEXTS)
