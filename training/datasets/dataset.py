"""Annotations -> Dataset: a version whose manifest never changes, and its renderings.

The manifest is made from the samples in one reading transaction and hashed before a version is created: exporting the
same annotations again returns the existing version. Renderings are made from the manifest and can be remade. An erasure
removes the person's rows from every dataset: the next version is the same manifest without them, and the old one's
files are deleted.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import InvalidInput, PermanentError, RetryableError
from ml_backend.jobs import devices, enqueueing, failpoints, job_kinds
from ml_backend.models import kinds
from ml_backend.models.kinds import Kind
from ml_backend.tables import datasets, erasures
from training.datasets import dataset_card, dataset_manifest, renderings
from training.datasets import dataset_rows as rows
from training.datasets.filters import DatasetFilters

AUDIO_LIST = "audio.txt"  # stays after an erasure: the hashes of a version's recordings
WRITING, READY, SUPERSEDED = "writing", "ready", "superseded"
UNFINISHED = "unfinished"  # shown for a version in `writing` whose writer has ended
Report = Callable[[float, str], None]


def export(
    context: Context,
    *,
    name: str = "",
    kind: str = kinds.ASR,
    filters: DatasetFilters | None = None,
    forms: tuple[str, ...] | None = None,
    report: Report = lambda fraction, note: None,
) -> int:
    """The dataset's id: a new version, or the last one when nothing has changed.

    Raises PermanentError `dataset-empty` when no sample is left.
    """
    filters, begun, brought = filters or DatasetFilters(), tables.now(), kinds.of(kind)
    name, forms = name or brought.dataset, (next(iter(brought.forms)),) if forms is None else forms
    check(name, forms, brought)
    renderings.require(filters)
    with tempfile.TemporaryDirectory(prefix="kaan-dataset-") as folder:
        if brought.ready is not None:
            brought.ready(context, report)
        report(0.0, "reading samples")
        written = _gather(context, filters, Path(folder), brought, report)
        return keep(context, name, written, filters.to_json(), kind=brought, forms=forms, begun=begun, report=report)


def check(name: str, forms: tuple[str, ...], kind: Kind) -> None:
    """InvalidInput for an invalid name or form, before anything is read or written."""
    letters = name.replace("-", "").replace("_", "")
    if not (0 < len(name) <= 60 and name.isascii() and letters.isalnum()) or name.isdigit():
        raise InvalidInput("bad-dataset-name", "The dataset's name is not valid.", "Use letters, digits, - and _.")
    renderings.check(forms, kind.forms)


def export_dataset(
    context: JobContext, name: str = "", forms: str = "", model_kind: str = kinds.ASR, **chosen: Any
) -> None:
    """The export job; `chosen` are the fields of `DatasetFilters`. Safe to repeat."""
    filters = DatasetFilters(**chosen)
    try:
        wanted = tuple(forms.split(",")) if forms else None
        export(context, name=name, kind=model_kind, filters=filters, forms=wanted, report=context.report)
    except devices.Busy as busy:
        name = name or kinds.of(model_kind).dataset
        devices.ask_again(
            context, job_kinds.EXPORT_DATASET, name, name=name, forms=forms, model_kind=model_kind, **chosen
        )
        context.report(0.0, busy.sentence)


def keep(
    context: Context,
    name: str,
    written: dataset_manifest.Written,
    filters: dict[str, Any],
    *,
    kind: Kind,
    forms: tuple[str, ...],
    begun: datetime,
    report: Report = lambda fraction, note: None,
) -> int:
    """A manifest on disk -> its version, with its files in the object store. Safe to repeat after a crash.

    Only one process writes a name at a time, others get `Busy`. An unfinished version is taken over.
    """
    if not written.counts.rows:
        left_out = ", ".join(f"{number:,} {why}" for why, number in written.counts.to_json()["excluded"].items())
        if not filters and not left_out:
            sentence = "No annotation has become a sample yet."
            step = "Submit some tasks in Label Studio; `python -m ml_backend training status` counts their samples."
        else:
            sentence = "No accepted sample passes the filters." + (f" Left out: {left_out}." if left_out else "")
            step = "Change the filters, or see `python -m ml_backend training status` for what is missing."
        raise PermanentError("dataset-empty", sentence, step)
    with devices.held(context, _right(name), f"export-{uuid4().hex}", purpose=devices.EXPORTING):
        return _kept(context, name, written, filters, kind=kind, forms=forms, begun=begun, report=report)


def _kept(
    context: Context,
    name: str,
    written: dataset_manifest.Written,
    filters: dict[str, Any],
    *,
    kind: Kind,
    forms: tuple[str, ...],
    begun: datetime,
    report: Report,
) -> int:
    with context.db.transaction() as connection:
        row = _version(connection, name, written, filters, kind)
    for left in _unfinished_before(context, row):
        renderings.remove(context, f"datasets/{name}/{left.version}")
    folder = f"datasets/{name}/{row.version}"
    bucket, store = context.settings.audio_bucket, context.store
    store.ensure_bucket(bucket)
    if row.state == WRITING:
        renderings.remove(context, folder)  # left by a killed attempt, perhaps of another manifest
        store.put_file(bucket, f"{folder}/{dataset_manifest.MANIFEST}", written.path, content_type="application/jsonl")
        renderings.replace(context, f"{folder}/{dataset_manifest.EXCLUSIONS}", written.exclusions)
    failpoints.hit("dataset.before-renderings")
    made = dict(row.renderings or {})
    for form in forms:
        if form not in made:
            made[form] = kind.render(context, form, written.path, folder, rows=written.counts.rows, report=report)
    text = dataset_card.text(context, row, made)
    renderings.replace_text(context, f"{folder}/{dataset_manifest.CARD}", text)
    with context.db.transaction() as connection:
        values = {"renderings": made, "card_key": f"{folder}/{dataset_manifest.CARD}", "state": READY}
        mine = sa.and_(datasets.c.id == row.id, datasets.c.state != SUPERSEDED)
        kept = connection.execute(sa.update(datasets).where(mine).values(**values)).rowcount
        since = sa.select(erasures.c.id).where(erasures.c.state == "done", erasures.c.finished_at >= begun)
        for erasure_id in connection.execute(since).scalars().all():  # it may have run before our row existed
            enqueueing.enqueue(connection, job_kinds.RENEW_DATASETS, key=str(erasure_id), erasure_id=int(erasure_id))
    if not kept:
        renderings.remove(context, folder, but=(AUDIO_LIST,))
        raise RetryableError("erased-meanwhile", "A person in it was erased meanwhile.", "It is exported anew.")
    report(1.0, f"{name} version {row.version}: {written.counts.rows:,} rows")
    return int(row.id)


def find(context: Context, named: str) -> sa.Row[Any]:
    """The dataset `name` (its latest version), `name@version`, or an id. InvalidInput 404 when there is none."""
    name, _, version = named.partition("@")
    statement = sa.select(datasets).order_by(datasets.c.version.desc()).limit(1)
    if named.isascii() and named.isdigit() and len(named) <= 18:
        statement = statement.where(datasets.c.id == int(named))
    elif version:
        statement = statement.where(
            datasets.c.name == name,
            datasets.c.version == int(version) if version.isdecimal() and len(version) <= 18 else sa.false(),
        )
    else:
        statement = statement.where(datasets.c.name == name, datasets.c.state == READY)
    found = context.db.rows(statement)
    return found[0] if found else _not_found(context, named, name)


def find_whole(context: Context, named: str) -> sa.Row[Any]:
    """The same for reading its rows; InvalidInput `dataset-unfinished` where it is incomplete."""
    row = find(context, named)
    if row.state == WRITING:
        raise unfinished(context, row)
    return row


def state_of(context: Context, row: Any) -> str:
    """The row's state, but `unfinished` for a version whose writer has ended."""
    if row.state != WRITING:
        return str(row.state)
    with context.db.reading() as connection:
        return WRITING if devices.is_held(connection, _right(row.name)) else UNFINISHED


def _not_found(context: Context, named: str, name: str) -> Any:
    """Raises InvalidInput with the existing datasets, or the state of an export that is under way."""
    begun = context.db.rows(
        sa.select(datasets).where(datasets.c.name == name, datasets.c.state == WRITING).order_by(datasets.c.id.desc())
    )
    if begun and "@" not in named:
        raise unfinished(context, begun[0])
    ready = sa.select(datasets.c.name, datasets.c.version).where(datasets.c.state == READY)
    rows = context.db.rows(ready.order_by(datasets.c.id.desc()).limit(20))
    names = [f"{row.name}@{row.version}" for row in rows]
    step = (
        f"Known: {', '.join(sorted(names))}."
        if names
        else "There is none yet: `python -m ml_backend export` makes one."
    )
    raise InvalidInput("no-such-dataset", f"There is no dataset {named[:60]!r}.", step, status=404)


def unfinished(context: Context, row: Any) -> InvalidInput:
    """The error for using an incomplete version."""
    if state_of(context, row) == WRITING:
        return InvalidInput(
            "dataset-unfinished", f"{row.name}@{row.version} is being written now.",
            "Wait for it: `python -m ml_backend datasets list` shows its state.", status=409,
        )  # fmt: skip
    return InvalidInput(
        "dataset-unfinished", f"The export of {row.name}@{row.version} was not finished.",
        f"`python -m ml_backend export {row.name}` finishes it.", status=409,
    )  # fmt: skip


def read(context: Context, dataset_id: int, split: str | None = None) -> Iterator[dict[str, Any]]:
    """The lines of a dataset's manifest, of one split or all."""
    row = context.db.row(datasets, dataset_id)
    with tempfile.TemporaryDirectory(prefix="kaan-dataset-") as folder:
        for line in dataset_manifest.read(manifest_file(context, row, Path(folder))):
            if split is None or line["split"] == split:
                yield line


def manifest_file(context: Context, row: Any, folder: Path) -> Path:
    """The manifest as a local file, verified against the row's hash."""
    if row.state == SUPERSEDED or not row.manifest_key:
        raise PermanentError(
            "dataset-superseded",
            f"{row.name} version {row.version} has no files any more. {row.reason or ''}".strip(),
            f"Use the latest version: `datasets show {row.name}`.",
        )
    path = folder / f"{row.id}-{dataset_manifest.MANIFEST}"
    found = context.store.fetch(context.settings.audio_bucket, row.manifest_key, path)
    if found != row.manifest_sha256:
        raise PermanentError(
            "dataset-damaged",
            f"The manifest of {row.name} version {row.version} is not the one that was stored.",
            "Restore the object from a backup, or export anew.",
        )
    return path


def _gather(
    context: Context, filters: DatasetFilters, folder: Path, kind: Kind, report: Report
) -> dataset_manifest.Written:
    counted_by = kind.counted_by
    with dataset_manifest.Writer(folder, counted_by=counted_by) as writer, context.db.reading() as connection:
        for number, found in enumerate(kind.lines(connection, filters)):
            if found.kind == rows.LINE:
                writer.add(found.body)
            else:
                writer.exclude(found.body, found.reason)
            if number % 20_000 == 0:
                report(0.05, f"{number:,} samples read")
        written = writer.close()
    if not filters.public:
        return written
    if kind.with_public is None:
        raise InvalidInput("no-public-data", f"No public data is known for kind {kind.name}.", "Leave out --public.")
    mixed: dataset_manifest.Written = kind.with_public(context, written, filters, folder)
    return mixed


def _version(
    connection: Connection, name: str, written: dataset_manifest.Written, filters: dict[str, Any], kind: Kind
) -> sa.Row[Any]:
    """The row of this manifest: the latest version when it is the same or was never finished, else a new one."""
    latest = connection.execute(
        sa.select(datasets).where(datasets.c.name == name).order_by(datasets.c.version.desc()).limit(1)
    ).first()
    if latest is not None and latest.kind != kind.name:
        raise InvalidInput(
            "wrong-kind", f"{name} is a dataset of kind {latest.kind}, not {kind.name}.", "Choose another name."
        )
    if latest is not None and latest.manifest_sha256 == written.sha256 and latest.state != SUPERSEDED:
        return latest
    facts = {
        "manifest_sha256": written.sha256, "test_sha256": written.test_sha256, "filters": filters,
        "counts": written.counts.to_json(), "state": WRITING,
    }  # fmt: skip
    if latest is not None and latest.state == WRITING:  # we hold the name's lock: this version was abandoned
        connection.execute(
            sa.update(datasets).where(datasets.c.id == latest.id).values(**facts, created_at=tables.now())
        )
        return connection.execute(sa.select(datasets).where(datasets.c.id == latest.id)).one()
    version = latest.version + 1 if latest is not None else 1
    values = {
        "name": name, "kind": kind.name, "version": version,
        "manifest_key": f"datasets/{name}/{version}/{dataset_manifest.MANIFEST}",
        "parent_id": latest.id if latest is not None else None, **facts,
    }  # fmt: skip
    row_id, _ = db.insert_once(connection, datasets, values, key=("name", "version"))
    return connection.execute(sa.select(datasets).where(datasets.c.id == row_id)).one()


def _unfinished_before(context: Context, row: Any) -> Sequence[Any]:
    """Earlier versions of the name that were never finished; marks them as such."""
    left = sa.and_(datasets.c.name == row.name, datasets.c.version < row.version, datasets.c.state == WRITING)
    values = {"state": SUPERSEDED, "reason_code": "unfinished", "reason": "Its export was not finished."}
    with context.db.transaction() as connection:
        found = connection.execute(sa.select(datasets.c.version).where(left)).all()
        connection.execute(sa.update(datasets).where(left).values(**values))
    return found


def _right(name: str) -> str:
    """The name of the lock for writing a dataset's versions."""
    return f"export:{name if len(name) <= 50 else hashlib.sha256(name.encode()).hexdigest()[:40]}"
