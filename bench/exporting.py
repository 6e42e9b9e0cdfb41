"""Exporting a dataset: our renderings against the least that could do it, and memory from 100,000 to a million rows.

The bare side reads the same manifest with orjson and writes the same columns, compressed alike, through one streaming
`ParquetWriter`; with audio it also reads each piece's bytes from its recording, in order, and puts a WAV header before
them; then its file goes into the same object store. Ours also separates splits, looks up where recordings lie, and
limits row groups and parts.
The whole export has a third row: from the database to the manifest and Parquet without audio, against the same
statement read by the database's own driver, written as lines with orjson and hashed, and then the bare writer.

Memory is the largest resident size of a process that does nothing but the export, database to Parquet.
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import re
import tempfile
import wave
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from bench import ratios
from bench.ratios import alternate, own_cpu_s
from ml_backend import db, tables
from ml_backend.context import Context, open_context
from ml_backend.settings import Settings
from training.datasets import clip_audio, dataset, dataset_rows, parquet, renderings
from training.datasets.filters import DatasetFilters

FEW, MANY = 100_000, 1_000_000
PER_RECORDING, CALLERS_PER, ROUNDS, PIECE_S, WITH_AUDIO = 20, 3, 5, 2.5, 1600
MOST_MB, MOST_GROWTH = 250.0, 1.05
AT = datetime(2026, 3, 4, tzinfo=UTC)
TEXT = "नमस्ते मेरा ऑर्डर नंबर दो तीन चार है और मुझे रिफंड चाहिए"


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    few, many, rounds = (20_000, 100_000, 1) if quick else (FEW, MANY, ROUNDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        context = _context(folder / "few", few)
        try:
            yield from _without_audio(context, folder, rounds)
            yield _whole(context, folder, rounds)
        finally:
            context.db.dispose()
        context = _context(folder / "audio", WITH_AUDIO, sound=True)
        try:
            yield _with_audio(context, folder, rounds)
        finally:
            context.db.dispose()
        yield _memory(folder, few, many)


def _without_audio(context: Context, folder: Path, rounds: int) -> Iterator[dict[str, Any]]:
    path, count = _manifest(context, folder / "lines")

    def ours() -> float:
        return own_cpu_s(lambda: _ours(context, renderings.TEXT, path, count))

    def bare() -> float:
        return own_cpu_s(lambda: _bare(context, path, folder / "bare.parquet", None))

    bare(), ours()
    yield ratios.row(
        f"rendering {count:,} rows without audio / orjson + bare ParquetWriter, CPU",
        alternate(bare, ours, rounds=rounds), alternate(bare, bare, rounds=rounds), target=1.25, at_least=False,
    )  # fmt: skip


def _with_audio(context: Context, folder: Path, rounds: int) -> dict[str, Any]:
    path, count = _manifest(context, folder / "spoken")
    bucket = context.settings.audio_bucket
    rows_of = context.db.rows(sa.select(tables.recordings.c.sha256, tables.recordings.c.derived_key))
    places = {row.sha256: context.store.open_local(bucket, row.derived_key) for row in rows_of}

    def ours() -> float:
        return own_cpu_s(lambda: _ours(context, renderings.PARQUET, path, count))

    def bare() -> float:
        return own_cpu_s(lambda: _bare(context, path, folder / "bare.parquet", places))

    bare(), ours()
    return ratios.row(
        f"rendering {count:,} rows of {PIECE_S} s with audio / orjson + reading + bare ParquetWriter, CPU",
        alternate(bare, ours, rounds=rounds), alternate(bare, bare, rounds=rounds), target=1.25, at_least=False,
    )  # fmt: skip


def _whole(context: Context, folder: Path, rounds: int) -> dict[str, Any]:
    def ours() -> float:
        return own_cpu_s(lambda: _export(context))

    def bare() -> float:
        return own_cpu_s(lambda: _bare_whole(context, folder))

    bare(), ours()
    return ratios.row(
        "whole export without audio / driver + orjson + SHA-256 + orjson + bare ParquetWriter, CPU",
        alternate(bare, ours, rounds=rounds), alternate(bare, bare, rounds=rounds), target=3, at_least=False,
    )  # fmt: skip


def _memory(folder: Path, few: int, many: int) -> dict[str, Any]:
    """Each size in a process of its own, so that what one has used does not count for the other."""
    peaks = []
    for count in (few, many):
        context = _context(folder / f"memory-{count}", count)
        context.db.dispose()
        peaks.append(_peak_mb(folder / f"memory-{count}"))
    return {
        "name": f"peak memory of an export of {many:,} rows / of {few:,} rows",
        "value": round(peaks[1] / peaks[0], 3),
        "target": f"<= {MOST_GROWTH}",
        "met": peaks[1] <= peaks[0] * MOST_GROWTH and peaks[1] <= MOST_MB,
        "megabytes": [round(each, 1) for each in peaks],
        "most_megabytes": MOST_MB,
    }


def _ours(context: Context, form: str, path: Path, count: int) -> None:
    made = renderings.make(context, form, path, "datasets/bench/1", rows=count, report=lambda fraction, note: None)
    written = sum(file["rows"] for file in made["files"])
    if written != count:
        raise AssertionError(f"{written} of {count} rows were written")


def _bare(context: Context, path: Path, target: Path, places: dict[str, Any] | None) -> None:
    """The least: one file, one pass, batches as large as ours."""
    schema = parquet.schema(audio=places is not None)
    kinds = [("text" if field.name == "transcription" else field.name, field.type) for field in schema]
    stream, opened = None, ""
    with (
        pq.ParquetWriter(target, schema, **parquet.options(audio=places is not None)) as writer,
        path.open("rb") as given,
    ):
        while some := list(itertools.islice(given, 20_000 if places is None else 200)):
            lines = [orjson.loads(raw) for raw in some]
            if places is not None:
                for line in lines:
                    if line["audio_sha256"] != opened:
                        opened = line["audio_sha256"]
                        stream = places[opened].open("rb")
                    begin, end = round(line["start_s"] * 16_000), round(line["end_s"] * 16_000)
                    stream.seek(44 + 2 * begin)
                    line["audio"] = {
                        "bytes": clip_audio.wav(stream.read(2 * (end - begin))),
                        "path": f"{line['id']}.wav",
                    }
            columns = [pa.array([line.get(name) for line in lines], kind) for name, kind in kinds]
            writer.write_batch(pa.record_batch(columns, schema=schema))
    context.store.put_file(context.settings.audio_bucket, "bare.parquet", target)
    context.store.delete(context.settings.audio_bucket, "bare.parquet")
    target.unlink()


def _bare_whole(context: Context, folder: Path) -> None:
    """The rows' own statement through the driver, every row a line with the same names, hashed, then `_bare`."""
    found: list[Any] = []
    with context.db.reading() as connection:
        found.append(
            str(dataset_rows.statement(DatasetFilters()).compile(connection, compile_kwargs={"literal_binds": True}))
        )
        cursor = connection.connection.cursor()
        cursor.execute(found[0])
        names = [each[0] for each in cursor.description]
        digest, path = hashlib.sha256(), folder / "bare.jsonl"
        known = [name for _, name, *_ in parquet._COLUMNS]
        with path.open("wb") as out:
            for row in cursor:
                line = dict.fromkeys(known) | dict(zip(names, row, strict=True))
                line["id"], line["source"] = line["digest"][:20], "calls"
                raw = orjson.dumps(line, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
                digest.update(raw)
                out.write(raw)
    _bare(context, path, folder / "bare.parquet", None)


def _export(context: Context) -> None:
    with context.db.transaction() as connection:
        connection.execute(sa.delete(tables.datasets))
    dataset_id = dataset.export(context, name="bench", forms=(renderings.TEXT,))
    renderings.remove(context, f"datasets/bench/{context.db.row(tables.datasets, dataset_id).version}")


def _manifest(context: Context, folder: Path) -> tuple[Path, int]:
    folder.mkdir()
    context.store.ensure_bucket(context.settings.audio_bucket)
    written = dataset._gather(context, DatasetFilters(), folder, lambda fraction, note: None)
    return written.path, written.counts.rows


def _peak_mb(folder: Path) -> float:
    """A fresh interpreter: a forked one would begin with what this process holds."""
    fresh = multiprocessing.get_context("spawn")
    answer = fresh.Queue()
    process = fresh.Process(target=_measured, args=(folder, answer))
    process.start()
    peak = float(answer.get(timeout=1800))
    process.join(60)
    return peak


def _measured(folder: Path, answer: Any) -> None:
    _export(open_context(Settings(_env_file=None, data_dir=folder)))
    status = Path("/proc/self/status").read_text()  # getrusage would count what the parent had when it forked
    answer.put(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)  # type: ignore[index]


def _context(folder: Path, count: int, *, sound: bool = False) -> Context:
    """So many accepted samples of recordings with twenty each, three recordings per caller."""
    folder.mkdir()
    settings = Settings(_env_file=None, data_dir=folder)
    db.upgrade(settings.database)
    context = open_context(settings)
    context.store.ensure_bucket(settings.audio_bucket)
    with context.db.transaction() as connection:
        project = {"id": 1, "instance_url": "http://ls", "ls_project_id": 1}
        connection.execute(sa.insert(tables.projects).values(**project))
        for first in range(0, count // PER_RECORDING, 500):
            _insert(connection, range(first, min(first + 500, count // PER_RECORDING)), spread=not sound)
    if sound:
        for number in range(count // PER_RECORDING):
            _speak(context, number)
    return context


def _insert(connection: Any, numbers: range, *, spread: bool) -> None:
    """`spread`: calls are of 50 to 300 s, as calls are, and not all of one length."""
    calls, recordings, tasks, annotations, samples = [], [], [], [], []
    for number in numbers:
        sha, row_id = hashlib.sha256(str(number).encode()).hexdigest(), number + 1
        calls.append({
            "id": row_id, "provider": "exotel", "call_sid": sha[:32],
            "from_pseudonym": f"{number // CALLERS_PER:024x}-00",
            "direction": "inbound", "started_at": AT, "company_number": "company", "to_pseudonym": "company",
        })  # fmt: skip
        recordings.append({
            "id": row_id, "source": "object", "source_identity": sha, "call_id": row_id, "sha256": sha,
            "state": "ready",
            "derived_key": f"derived/{sha}/audio.wav", "channels": 1,
            "duration_s": PER_RECORDING * PIECE_S + (number * 37 % 2500 / 10 if spread else 0.0),
            "quality": {"parts": {"leg_0": {"snr_db": 20.0 + number % 9}}}, "quality_score": 0.9,
        })  # fmt: skip
        blind = number % 40 == 0
        common = {"project_id": 1, "id": row_id}
        tasks.append({
            **common, "recording_id": row_id, "external_key": sha, "origin": "ours", "ls_task_id": row_id,
            "blind": blind,
            "selection_reason": "blind" if blind else "review", "selection_probability": 0.5, "state": "annotated",
        })  # fmt: skip
        annotations.append({
            **common, "task_id": row_id, "ls_annotation_id": row_id, "ls_updated_at": AT, "result": [],
            "model_version": "asr-1",
        })  # fmt: skip
        for piece in range(PER_RECORDING):
            text = f"{TEXT} {number} {piece}"
            samples.append({
                "project_id": 1, "task_id": row_id, "number": piece, "annotation_id": row_id, "recording_id": row_id,
                "start_s": piece * PIECE_S, "end_s": (piece + 1) * PIECE_S, "channel": 0, "text": text,
                "language": "hi",
                "script": "Deva", "blind": blind, "digest": hashlib.sha256(f"{sha}{piece}".encode()).hexdigest(),
                "accepted_at": AT, "state": "accepted", "quality": "good", "accent": None,
            })  # fmt: skip
    for table, values in (
        (tables.calls, calls), (tables.recordings, recordings), (tables.tasks, tasks),
        (tables.annotations, annotations), (tables.samples, samples),
    ):  # fmt: skip
        connection.execute(sa.insert(table), values)


def _speak(context: Context, number: int) -> None:
    sha = hashlib.sha256(str(number).encode()).hexdigest()
    samples = np.random.default_rng(number).integers(-9000, 9000, int(PER_RECORDING * PIECE_S * 16_000), dtype=np.int16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audio.wav"
        with wave.open(str(path), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(16_000)
            out.writeframes(samples.tobytes())
        context.store.put_file(context.settings.audio_bucket, f"derived/{sha}/audio.wav", path)
