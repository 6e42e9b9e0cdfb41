"""A page of a listing, and our rows for the same range of keys -> new, altered and missing objects. Pure.

The object store lists keys in byte order and the table `objects` has the same order. So a page needs one range of rows
and no look-up per key, and a comparison costs little more than the listing itself (bench/listing.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ml_backend.storage.object_store import ObjectInfo

LOST = "lost"
Row = tuple[str, str, int, str]  # object_key, etag, size_bytes, state
Known = Callable[[str, str | None, int], Sequence[Any]]  # (after, up to and including or None, at most) -> Rows


@dataclass(frozen=True)
class Differences:
    """The differences in one range of keys: new, altered or returned objects; keys that are no longer listed."""

    appeared: list[ObjectInfo]
    gone: list[str]


def of_stretch(listed: Sequence[ObjectInfo], known: Sequence[Any]) -> Differences:
    """Compare a part of a listing with the rows of exactly the same range of keys."""
    rows = {row[0]: row for row in known}
    appeared = []
    for found in listed:
        row = rows.pop(found.key, None)
        if row is None or row[1] != found.etag or row[2] != found.size_bytes or row[3] == LOST:
            appeared.append(found)
    return Differences(appeared, [key for key, row in rows.items() if row[3] != LOST])


def of_page(
    listed: Sequence[ObjectInfo], known: Known, *, after: str, last: bool, at_most: int
) -> Iterator[Differences]:
    """Compare a page with our rows after `after` up to the page's end (all further rows when it is the last).

    One page may match any number of rows (a million objects were deleted), so rows are read in pieces.
    """
    end = None if last else listed[-1].key
    begin = 0
    while True:
        rows = known(after, end, at_most)
        edge = end if len(rows) < at_most else str(rows[-1][0])
        stop = len(listed)
        if edge is not None and edge != end:
            stop = next((at for at in range(begin, len(listed)) if listed[at].key > edge), len(listed))
        yield of_stretch(listed[begin:stop], rows)
        if len(rows) < at_most:
            return
        begin, after = stop, str(edge)
