"""Lines of one recording from several tasks -> one for each span of speech.

A call that was imported twice, or that two projects annotate, has two texts for one span. Ground truth is preferred,
then a reviewer's text, then the one changed last; the others are surplus.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.tables import annotations as written
from ml_backend.tables import samples

SHARED = 0.5  # of the shorter of two: from this overlap on they are one span
_FIRST = {"ground-truth": 0, "reviewer": 1}
_PAGE = 1000


def surplus(connection: Connection, rows: Sequence[Any]) -> set[int]:
    """Indices in `rows` of lines with a better one from another task. `rows` are of one recording."""
    by_time = sorted(range(len(rows)), key=lambda place: (rows[place].channel, rows[place].start_s))
    if not any(_same(rows[one], rows[other]) for one, other in _neighbours(rows, by_time)):
        return set()
    ranks = _ranks(connection, sorted({row.annotation_id for row in rows}))
    kept: list[int] = []
    for place in sorted(range(len(rows)), key=lambda each: (*ranks[rows[each].annotation_id], rows[each].digest)):
        if not any(_same(rows[place], rows[other]) for other in kept):
            kept.append(place)
    return set(range(len(rows))) - set(kept)


def _neighbours(rows: Sequence[Any], by_time: Sequence[int]) -> Any:
    """Overlapping and adjacent pairs."""
    for at, one in enumerate(by_time):
        for other in by_time[at + 1 :]:
            yield one, other
            if rows[other].channel != rows[one].channel or rows[other].start_s >= rows[one].end_s:
                break


def _same(one: Any, other: Any) -> bool:
    if one.channel != other.channel or (one.ls_project_id, one.ls_task_id) == (other.ls_project_id, other.ls_task_id):
        return False
    shared_s = min(one.end_s, other.end_s) - max(one.start_s, other.start_s)
    return bool(shared_s > SHARED * min(one.end_s - one.start_s, other.end_s - other.start_s))


def _ranks(connection: Connection, annotation_ids: Sequence[int]) -> dict[int, tuple[Any, ...]]:
    """Sort keys, the best first: by how a task chose it, then the latest. They use only facts from Label Studio."""
    found: dict[int, tuple[Any, ...]] = {}
    columns = (
        samples.c.annotation_id,
        samples.c.chosen_by,
        written.c.ls_updated_at,
        written.c.ls_annotation_id,
    )
    for begin in range(0, len(annotation_ids), _PAGE):
        page = samples.c.annotation_id.in_(annotation_ids[begin : begin + _PAGE])
        asked = sa.select(*columns).join(written, written.c.id == samples.c.annotation_id).where(page)
        for row in connection.execute(asked):
            rank = (_FIRST.get(row.chosen_by, 2), -row.ls_updated_at.timestamp(), -row.ls_annotation_id)
            found[row.annotation_id] = min(rank, found.get(row.annotation_id, rank))
    return found
