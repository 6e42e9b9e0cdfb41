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
from ml_backend.tables import evaluations
from training.datasets import renderings
from training.promotion import judgements
from training.scoring import scores

_TEXTS = ("reference", "before", "now", "alignment")


def redact(context: Context, shas: Collection[str]) -> int:
    """Remove the texts of these recordings from all evaluations and reports; gives how many files changed."""
    changed = 0
    rows = context.db.rows(sa.select(evaluations.c.details_key, evaluations.c.report_key).order_by(evaluations.c.id))
    for row in rows:
        if row.details_key:
            changed += _details(context, row.details_key, shas)
        if row.report_key:
            changed += _report(context, row.report_key, shas)
    return changed


def _details(context: Context, key: str, shas: Collection[str]) -> bool:
    with tempfile.TemporaryDirectory(prefix="kaan-forgotten-") as folder:
        path = Path(folder) / "utterances.jsonl"
        context.store.fetch(context.settings.audio_bucket, key, path)
        lines = list(scores.read(path.read_bytes()))
        if not any(one.audio_sha256 in shas and (one.reference or one.hypothesis) for one in lines):
            return False
        path.write_bytes(scores.write(one.without_text() if one.audio_sha256 in shas else one for one in lines))
        renderings.replace(context, key, path)
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
