"""Erased recordings -> new dataset versions without them; the old versions lose their text and audio.

A new version is the old manifest without those lines, so an erasure changes nothing else. Lines whose audio has expired
or was lost since are left out with that reason, as in every export. Of each old version only the row and the hashes of
its recordings stay, so that a later erasure can still be traced to the models trained on it. Those models get a date by
which they must be trained again.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import KaanError
from ml_backend.models import kinds
from ml_backend.tables import datasets, erasures, model_versions, runs
from training.datasets import clip_audio, dataset, dataset_manifest, renderings
from training.erasure import report_redaction

RETRAIN_WITHIN = timedelta(days=30)
_AHEAD = 500
_NAMED = ("digest", "audio_sha256", "project_id", "task_id", "annotation_id", "start_s", "end_s", "channel")
REASON = "A person in it was erased; the next version is without them."


def renew_datasets(context: JobContext, erasure_id: int) -> None:
    """The job that every erasure enqueues. Safe to repeat."""
    row = context.db.row(erasures, erasure_id)
    shas = set((row.report or {}).get("audio_sha256", ()))
    made = without(context, shas)
    report_redaction.redact(context, shas)
    context.report(1.0, f"{len(made)} new versions" if made else "no dataset had them")


def without(context: Context, shas: Collection[str]) -> list[int]:
    """New versions of every dataset that has these recordings; gives their ids. Safe to repeat after a crash."""
    made: list[int] = []
    trouble: KaanError | None = None
    for row in context.db.rows(sa.select(datasets).order_by(datasets.c.name, datasets.c.version.desc())):
        if row.state == dataset.SUPERSEDED:
            renderings.remove(context, _folder(row), but=(dataset.AUDIO_LIST,))  # where an earlier attempt was killed
            continue
        with tempfile.TemporaryDirectory(prefix="kaan-erased-") as folder:
            try:
                made += _renew(context, row, frozenset(shas), Path(folder))
            except KaanError as error:  # one damaged dataset does not keep the others
                trouble = trouble or error
    if trouble is not None:
        raise trouble
    return made


def _renew(context: Context, row: Any, shas: frozenset[str], folder: Path) -> list[int]:
    bucket = context.settings.audio_bucket
    if row.state == dataset.WRITING and context.store.stat(bucket, row.manifest_key) is None:
        return []  # not stored yet: its export checks for erasures at the end
    path, begun = dataset.manifest_file(context, row, folder), tables.now()
    every = {str(line["audio_sha256"]) for line in dataset_manifest.read(path)}
    left_out = folder / "left-out.jsonl"
    context.store.fetch(bucket, f"{_folder(row)}/{dataset_manifest.EXCLUSIONS}", left_out)
    if not every & shas and not any(line.get("audio_sha256") in shas for line in dataset_manifest.read(left_out)):
        return []
    written = _filtered(path, left_out, shas, folder, _without_audio(context, path) if every & shas else frozenset())
    if not every & shas:
        renderings.replace(context, f"{_folder(row)}/{dataset_manifest.EXCLUSIONS}", written.exclusions)
        return []
    made: list[int] = []
    if row.state == dataset.READY and _latest(context, row) and written.counts.rows:
        forms = tuple(row.renderings or {})
        made = [
            dataset.keep(
                context, row.name, written, row.filters or {}, kind=kinds.of(row.kind), forms=forms, begun=begun
            )
        ]
    _supersede(context, row, every)
    return made


def _without_audio(context: Context, path: Path) -> frozenset[str]:
    """Recordings whose audio has expired or was lost since, so their clips cannot be cut again."""
    gone: set[str] = set()
    lines = ((line["audio_sha256"], line) for line in dataset_manifest.read(path))
    each = (next(same)[1] for _, same in itertools.groupby(lines, key=lambda one: one[0]))
    with clip_audio.Clips(context) as clips:
        while some := list(itertools.islice(each, _AHEAD)):
            clips.expect(some)
            gone.update(line["audio_sha256"] for line in some if not clips.known(line))
    return frozenset(gone)


def _filtered(
    path: Path, left_out: Path, shas: frozenset[str], folder: Path, without_audio: frozenset[str]
) -> dataset_manifest.Written:
    (folder / "without").mkdir()
    with dataset_manifest.Writer(folder / "without") as writer:
        for line in dataset_manifest.read(path):
            if line["audio_sha256"] in shas:
                writer.exclude({}, "erased")
            elif line["audio_sha256"] in without_audio:
                writer.exclude({name: line[name] for name in _NAMED}, "audio-missing")
            else:
                writer.add(line)
        for line in dataset_manifest.read(left_out):
            gone = line.get("audio_sha256") in shas
            writer.exclude({} if gone else line, "erased" if gone else line["reason"])
        return writer.close()


def _supersede(context: Context, row: Any, every: set[str]) -> None:
    """Keep the hashes, mark the row and the models, then delete the files."""
    key = f"{_folder(row)}/{dataset.AUDIO_LIST}"
    renderings.replace_text(context, key, "".join(f"{sha}\n" for sha in sorted(every)))
    with context.db.transaction() as connection:
        values: dict[str, Any] = {
            "state": dataset.SUPERSEDED,
            "reason_code": "erased",
            "reason": REASON,
            "manifest_key": key,
        }
        values |= {"renderings": {}, "card_key": None}
        connection.execute(sa.update(datasets).where(datasets.c.id == row.id).values(**values))
        mine = sa.and_(
            model_versions.c.id.in_(_learnt_from(connection, int(row.id))), model_versions.c.retrain_by.is_(None)
        )
        until = tables.now() + RETRAIN_WITHIN
        connection.execute(sa.update(model_versions).where(mine).values(retrain_by=until))
    renderings.remove(context, _folder(row), but=(dataset.AUDIO_LIST,))


def _learnt_from(connection: Connection, dataset_id: int) -> list[int]:
    """Versions trained on a dataset: directly, by replay, or through a base that was."""
    columns = (model_versions.c.id, model_versions.c.version, model_versions.c.lineage, runs.c.dataset_id)
    made = model_versions.outerjoin(runs, runs.c.id == model_versions.c.run_id)
    tainted: set[str] = set()
    found: list[int] = []
    for row in connection.execute(sa.select(*columns).select_from(made).order_by(model_versions.c.id)):
        lineage = row.lineage or {}
        sources = {row.dataset_id, lineage.get("dataset_id"), lineage.get("replay_dataset_id")}
        if dataset_id in sources or lineage.get("base") in tainted:  # a base is always the older row
            tainted.add(row.version)
            found.append(int(row.id))
    return found


def _latest(context: Context, row: Any) -> bool:
    newer = sa.select(datasets.c.id).where(
        datasets.c.name == row.name, datasets.c.version > row.version, datasets.c.state == dataset.READY
    )
    return not context.db.rows(newer.limit(1))


def _folder(row: Any) -> str:
    return f"datasets/{row.name}/{row.version}"
