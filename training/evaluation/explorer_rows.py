"""Evaluation -> its utterances as rows and their index, so that people can look at every error.

The lines in the object store are the record. Rows and index are made of them when an evaluation is stored, and again
after an erasure, so an erased text is nowhere. `list_evaluation` reads the lines again at the end: whoever removed a
text meanwhile wrote them anew, and then the rows are made again.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import InvalidInput, PermanentError
from ml_backend.models import error_index, kinds, registry
from ml_backend.models.kinds import ExploredLine, Kind
from ml_backend.tables import datasets, evaluation_indexes, evaluation_utterances, evaluations
from training.datasets import dataset

TOGETHER = 90  # rows in one transaction
_TEST = "test"
_PLACE = ("audio_sha256", "start_s", "end_s", "channel", "project_id", "task_id")
_MOST_ATTEMPTS = 5


def list_evaluations(context: JobContext) -> None:
    """The job for evaluations without rows: those of an earlier release, and those whose process was killed."""
    for evaluation_id in context.db.scalars(not_listed().order_by(evaluations.c.id)):
        list_evaluation(context, evaluation_id)


def not_listed() -> sa.Select[Any]:
    """The ids of evaluations that have lines and no rows."""
    facts = sa.and_(evaluation_indexes.c.evaluation_id == evaluations.c.id, evaluation_indexes.c.name == "facts")
    return sa.select(evaluations.c.id).where(evaluations.c.details_key.is_not(None), ~sa.exists().where(facts))


def list_evaluation(context: Context, evaluation_id: int) -> None:
    """Make the rows and the index of one evaluation. Safe to repeat, and to do twice at once."""
    row = context.db.row(evaluations, evaluation_id)
    version = context.db.row(tables.model_versions, row.model_version_id)
    kind = kinds.of(version.kind)
    if row.details_key is None or kind.explored is None:
        return
    for _ in range(_MOST_ATTEMPTS):
        data = lines_of(context, row.details_key)
        found = kind.explored(context, registry.find(context, version.version), kind.read_rows(data), row.scores)
        parts = _written(context, row, kind, found)
        if lines_of(context, row.details_key) != data:  # an erasure removed a text
            continue
        with context.db.transaction() as connection:
            bodies = [{"evaluation_id": evaluation_id, "name": name, "body": body} for name, body in parts.items()]
            db.upsert_many(connection, evaluation_indexes, bodies, key=("evaluation_id", "name"))
        if lines_of(context, row.details_key) == data:
            return


def is_listed(context: Context, evaluation_id: int) -> bool:
    """Whether its rows and index are whole."""
    return bool(context.db.rows(_facts(evaluation_id)))


def hide(context: Context, evaluation_id: int) -> None:
    """Show nothing of it until it is listed again: first step of an erasure, so a killed one is noticed."""
    mine = sa.and_(evaluation_indexes.c.evaluation_id == evaluation_id, evaluation_indexes.c.name == "facts")
    with context.db.transaction() as connection:
        connection.execute(sa.delete(evaluation_indexes).where(mine))


def _facts(evaluation_id: int) -> sa.Select[Any]:
    row = evaluation_indexes.c
    return sa.select(row.name).where(row.evaluation_id == evaluation_id, row.name == "facts")


def lines_of(context: Context, key: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="kaan-evaluation-") as folder:
        path = Path(folder) / "lines"
        context.store.fetch(context.settings.audio_bucket, key, path)
        return path.read_bytes()


def ids_with(context: Context, evaluation_id: int, shas: Iterable[str]) -> set[str]:
    """The lines of an evaluation that are of these recordings."""
    rows, every = evaluation_utterances.c, sorted(shas)
    mine = sa.select(rows.line_id).where(rows.evaluation_id == evaluation_id)
    return {
        line_id
        for begin in range(0, len(every), 500)
        for line_id in context.db.scalars(mine.where(rows.audio_sha256.in_(every[begin : begin + 500])))
    }


def _written(context: Context, row: Any, kind: Kind, found: Iterator[ExploredLine]) -> dict[str, bytes]:
    """Write the rows as they come; gives the parts of the index."""
    places, main = _places(context, row.dataset_id), _main(row, kind)

    def each() -> Iterator[ExploredLine]:
        waiting: list[dict[str, Any]] = []
        for number, line in enumerate(found, 1):
            waiting.append(_values(row.id, number, line, places.get(line.id, {}), main=main))
            if len(waiting) == TOGETHER:
                _store(context, waiting)
                waiting = []
            yield line
        _store(context, waiting)

    facts = {"kind": kind.name, "main": main}
    return error_index.build(each(), row.normalisers or kind.readings, facts)


def _main(row: Any, kind: Kind) -> str:
    """The reading that decides: of speech recognition that of words, otherwise the only one."""
    names: list[str] = list(row.normalisers or kind.readings)
    return next((name for name in names if name.startswith("indic@")), names[0])


def _store(context: Context, rows: Sequence[Mapping[str, Any]]) -> None:
    with context.db.transaction() as connection:
        db.upsert_many(connection, evaluation_utterances, rows, key=("evaluation_id", "number"))


def _values(
    evaluation_id: int, number: int, line: ExploredLine, place: Mapping[str, Any], *, main: str
) -> dict[str, Any]:  # fmt: skip
    """One row. The steps of a reading are left out where they are those of the one that decides, which come first."""
    named = {main: line.steps[main]} if main in line.steps else {}
    named |= {name: steps for name, steps in line.steps.items() if steps != named.get(main)}
    return {
        "evaluation_id": evaluation_id, "number": number, "line_id": _short(line.id),
        "audio_sha256": line.audio_sha256 or place.get("audio_sha256"), "start_s": place.get("start_s"),
        "end_s": place.get("end_s"), "channel": place.get("channel"), "ls_project_id": place.get("project_id"),
        "ls_task_id": place.get("task_id"), "duration_s": line.duration_s, "language": (line.language or "")[:10],
        "detected_language": (line.detected_language or "")[:10] or None, "reference": _storable(line.reference),
        "hypothesis": _storable(line.hypothesis), "counted": line.counted, "weight": line.weight,
        "slices": dict(line.slices), "counts": dict(line.counts), "edits": dict(line.edits),
        "steps": {name: [[_storable(word) for word in step] for step in steps] for name, steps in named.items()},
    }  # fmt: skip


def _storable(text: str) -> str:
    """PostgreSQL stores no NUL, and no database half of a character."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _short(line_id: str) -> str:
    return line_id if len(line_id) <= 120 else hashlib.sha256(line_id.encode()).hexdigest()


def _places(context: Context, dataset_id: int | None) -> dict[str, dict[str, Any]]:
    """Line -> where it comes from: audio, span and task. Of a dataset that an erasure replaced, in the next version."""
    row = context.db.row(datasets, dataset_id) if dataset_id is not None else None
    if row is not None and row.state == dataset.SUPERSEDED:
        later = sa.select(datasets).where(datasets.c.name == row.name, datasets.c.state == dataset.READY)
        row = next(iter(context.db.rows(later.order_by(datasets.c.version.desc()).limit(1))), None)
    if row is None:
        return {}
    try:
        lines = dataset.read(context, row.id, _TEST)
        return {str(line["id"]): {name: line.get(name) for name in _PLACE} for line in lines}
    except PermanentError:  # its files are gone: the errors can be looked at all the same
        return {}
    except InvalidInput:
        return {}
