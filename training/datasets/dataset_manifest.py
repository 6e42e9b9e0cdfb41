"""Lines -> the canonical manifest: the dataset itself. Its SHA-256 is the dataset's hash.

One JSON object per line, with sorted names and no spaces, in the order of audio, time, channel and digest. All other
files (Parquet, JSON lines, NeMo manifests, the card) can be remade from it. Exclusions with their reasons are in a
second file, which is not hashed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import orjson

from training.datasets import splits
from training.datasets.dataset_counts import OF_CALLS, DatasetCounts

MANIFEST, EXCLUSIONS, CARD = "manifest.jsonl", "exclusions.jsonl", "README.md"


@dataclass(frozen=True)
class Written:
    """A manifest on disk: its hash, the hash of its test part, and its counts."""

    path: Path
    exclusions: Path
    sha256: str
    test_sha256: str
    counts: DatasetCounts


class Writer:
    """Writes both files line by line; `close` returns the result."""

    def __init__(self, folder: Path, *, counted_by: tuple[str, ...] = OF_CALLS) -> None:
        self.path, self._left_out = folder / MANIFEST, folder / EXCLUSIONS
        self._lines: IO[bytes] = self.path.open("wb")
        self._excluded: IO[bytes] = self._left_out.open("wb")
        self._all, self._test = hashlib.sha256(), hashlib.sha256()
        self.counts = DatasetCounts(counted_by)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lines.close()
        self._excluded.close()

    def add(self, line: dict[str, Any]) -> None:
        raw = canonical(line)
        self._lines.write(raw)
        self._all.update(raw)
        if line["split"] == splits.TEST:
            self._test.update(raw)
        self.counts.add(line)

    def exclude(self, named: dict[str, Any], reason: str) -> None:
        self._excluded.write(canonical({**named, "reason": reason}))
        self.counts.exclude(reason)

    def close(self) -> Written:
        self._lines.close()
        self._excluded.close()
        return Written(self.path, self._left_out, self._all.hexdigest(), self._test.hexdigest(), self.counts)


def canonical(line: dict[str, Any]) -> bytes:
    """The canonical bytes of a line."""
    return orjson.dumps(line, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file, one at a time."""
    with path.open("rb") as stream:
        yield from map(orjson.loads, stream)


def order(line: dict[str, Any]) -> tuple[Any, ...]:
    """The sort key of lines."""
    return line["audio_sha256"], line["start_s"], line["end_s"], line["channel"], line["digest"]


def difference(old: Iterable[dict[str, Any]], new: Iterable[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(added, removed or changed; the line) between two manifests, in their order. For `changed` it is the new line.

    The same piece of audio with another text counts as one removed and one added.
    """
    before, after = iter(old), iter(new)
    left, right = next(before, None), next(after, None)
    while left is not None and right is not None:
        if order(left) < order(right):
            yield "removed", left
            left = next(before, None)
        elif order(right) < order(left):
            yield "added", right
            right = next(after, None)
        else:
            if left != right:
                yield "changed", {**right, "before": {k: v for k, v in left.items() if right.get(k) != v}}
            left, right = next(before, None), next(after, None)
    for rest, what in ((left, "removed"), (right, "added")):
        if rest is not None:
            yield what, rest
    for line in before:
        yield "removed", line
    for line in after:
        yield "added", line
