"""Manifest -> Parquet for `datasets.load_dataset`: one row per line, in parts of limited size.

Rows are collected into row groups, so memory does not grow with the dataset; a full part goes to the object store
before the next begins. Audio is not compressed, because that does not make it smaller. Its column is the `Audio`
feature of Hugging Face datasets: bytes and a name. The features are in the file's metadata, so readers need not declare
them.
"""

from __future__ import annotations

import itertools
import json
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ml_backend.audio.decoding import RATE_HZ
from training.datasets import dataset_manifest, splits
from training.datasets.clip_audio import Clips, room_for
from training.datasets.jsonlines import Store

PART_BYTES = 400_000_000
_GROUP_BYTES, _GROUP_ROWS, _AHEAD = 8_000_000, 5000, 1000
_AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_COLUMNS = (  # name in the file, name in the manifest, type, Hugging Face's name of the type
    ("id", "id", pa.string(), "string"),
    ("transcription", "text", pa.string(), "string"),
    ("language", "language", pa.string(), "string"),
    ("script", "script", pa.string(), "string"),
    ("speaker_id", "speaker_id", pa.string(), "string"),
    ("accent", "accent", pa.string(), "string"),
    ("emotion", "emotion", pa.string(), "string"),
    ("quality", "quality", pa.string(), "string"),
    ("quality_score", "quality_score", pa.float64(), "float64"),
    ("snr_db", "snr_db", pa.float64(), "float64"),
    ("start_s", "start_s", pa.float64(), "float64"),
    ("end_s", "end_s", pa.float64(), "float64"),
    ("channel", "channel", pa.int32(), "int32"),
    ("call_id", "call_id", pa.string(), "string"),
    ("date", "date", pa.string(), "string"),
    ("source", "source", pa.string(), "string"),
    ("audio_sha256", "audio_sha256", pa.string(), "string"),
    ("project_id", "project_id", pa.int64(), "int64"),
    ("task_id", "task_id", pa.int64(), "int64"),
    ("annotation_id", "annotation_id", pa.int64(), "int64"),
    ("model_version", "model_version", pa.string(), "string"),
    ("consent_purpose", "consent_purpose", pa.string(), "string"),
    ("selection_reason", "selection_reason", pa.string(), "string"),
    ("selection_probability", "selection_probability", pa.float64(), "float64"),
)
_REPEATED = (
    "language", "script", "speaker_id", "accent", "emotion", "quality", "call_id", "date", "source", "audio_sha256",
    "model_version", "consent_purpose", "selection_reason",
)  # fmt: skip


def schema(*, audio: bool) -> pa.Schema:
    """The columns, with the Hugging Face features as metadata."""
    fields = [pa.field(name, kind) for name, _, kind, _ in _COLUMNS]
    features: dict[str, Any] = {name: {"dtype": said, "_type": "Value"} for name, _, _, said in _COLUMNS}
    if audio:
        fields.insert(1, pa.field("audio", _AUDIO))
        features = {"audio": {"sampling_rate": RATE_HZ, "_type": "Audio"}, **features}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    return pa.schema(fields, metadata=metadata)


def render(
    path: Path, folder: Path, store: Store, *, clips: Clips | None, report: Callable[[int], None] = lambda rows: None
) -> None:
    """Write every split of a manifest in parts; each complete part is given to `store`."""
    parts = {split: _Parts(split, folder, store, audio=clips is not None) for split in splits.SPLITS}
    rows = 0
    try:
        for some in _chunks(dataset_manifest.read(path)):
            if clips is not None:
                clips.expect(some)
                for line in some:
                    parts[line["split"]].add(line, clips)
            else:
                for split, each in parts.items():
                    each.extend([line for line in some if line["split"] == split])
            rows += len(some)
            report(rows)
        for each in parts.values():
            each.finish()
    finally:
        for each in parts.values():
            each.abandon()


def options(*, audio: bool) -> dict[str, Any]:
    """Writer options: small columns are compressed; audio is not, and has no minimum and maximum."""
    compression = dict.fromkeys([name for name, *_ in _COLUMNS], "zstd")
    if audio:
        compression |= {"audio.bytes": "none", "audio.path": "zstd"}
    return {
        "compression": compression,
        "use_dictionary": list(_REPEATED),
        "write_statistics": ["start_s", "end_s", "language", "quality_score"],
    }  # fmt: skip


class _Parts:
    """The files of one split, one after the other."""

    def __init__(self, split: str, folder: Path, store: Store, *, audio: bool) -> None:
        self._split, self._folder, self._store, self._audio = split, folder, store, audio
        self._schema = schema(audio=audio)
        self._lines: list[dict[str, Any]] = []
        self._sound: _Sound | None = None
        self._batches: list[pa.RecordBatch] = []
        self._number = self._rows = self._waiting = 0
        self._writer: pq.ParquetWriter | None = None

    def extend(self, lines: list[dict[str, Any]]) -> None:
        """Add lines without audio; they wait as columns, a fifth of the size, for a complete row group."""
        if lines:
            self._batches.append(self._columns(lines))
            self._waiting += len(lines)
        if self._waiting >= _GROUP_ROWS:
            self._write()

    def add(self, line: dict[str, Any], clips: Clips) -> None:
        """Add one line with its piece of audio."""
        if self._sound is None:
            self._sound = _Sound()
        if not self._sound.has_room(line):
            self._write()
        self._sound.add(line, clips)
        self._lines.append(line)

    def finish(self) -> None:
        """Write the rest. A split without rows has no file, because `datasets` cannot read an empty one."""
        if self._lines or self._batches:
            self._write()
        self._close()

    def abandon(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._split}-{self._number:05d}.parquet"

    def _write(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, self._schema, **options(audio=self._audio))
        if self._lines:
            self._batches.append(self._columns(self._lines))
        self._writer.write_table(pa.Table.from_batches(self._batches, schema=self._schema))
        self._rows += sum(batch.num_rows for batch in self._batches)
        self._batches, self._lines, self._waiting = [], [], 0
        pa.default_memory_pool().release_unused()  # else it keeps the memory of each column's largest group
        if self._sound is not None:
            self._sound.clear()
        if self._path.stat().st_size >= PART_BYTES:
            self._close()

    def _columns(self, lines: list[dict[str, Any]]) -> pa.RecordBatch:
        columns = [pa.array([line.get(name) for line in lines], kind) for _, name, kind, _ in _COLUMNS]
        if self._audio:
            names = pa.array([f"{line['id']}.wav" for line in lines], pa.string())
            pieces = self._sound.column() if self._sound is not None else pa.array([], pa.binary())
            columns.insert(1, pa.StructArray.from_arrays([pieces, names], fields=list(_AUDIO)))
        return pa.record_batch(columns, schema=self._schema)

    def _close(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        self._store(self._split, self._number, self._path, self._rows)
        self._path.unlink(missing_ok=True)
        self._number, self._rows = self._number + 1, 0


class _Sound:
    """The pieces of one row group in a contiguous buffer that is reused for every group."""

    def __init__(self) -> None:
        self._room: memoryview | None = None
        self._ends = array("i", [0])

    def has_room(self, line: dict[str, Any]) -> bool:
        return self._room is None or self._ends[-1] + room_for(line) <= len(self._room)

    def add(self, line: dict[str, Any], clips: Clips) -> None:
        if self._room is None:
            self._room = memoryview(bytearray(max(_GROUP_BYTES, room_for(line))))
        begin = self._ends[-1]
        self._ends.append(begin + clips.clip_into(line, self._room[begin:]))

    def column(self) -> pa.Array:
        """The pieces without a copy; must be written before `clear`."""
        buffers = [None, pa.py_buffer(self._ends), pa.py_buffer(self._room if self._room is not None else b"")]
        return pa.Array.from_buffers(pa.binary(), len(self._ends) - 1, buffers)

    def clear(self) -> None:
        self._ends = array("i", [0])


def _chunks(lines: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while some := list(itertools.islice(lines, _AHEAD)):
        yield some
