"""A dataset of voices -> its forms in the object store: JSON lines beside the recordings, or Parquet with them.

A recording is passed on as it was delivered, at its own rate. The columns of the Parquet form are those of Hugging
Face's speech datasets, with the features in the file's metadata. Recordings are collected into row groups and parts of
limited size, so that memory and the free disk do not grow with the dataset.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ml_backend.context import Context
from training.datasets import dataset_manifest, renderings, splits

JSONL, PARQUET = "jsonl", "parquet"
FORMS = {JSONL: "JSON lines beside WAV files", PARQUET: "Parquet with audio, for Hugging Face datasets"}
PART_BYTES = 400_000_000
_GROUP_BYTES = 16_000_000
_TEXTS = ("id", "text", "speaker_id", "language", "emotion", "engine", "source", "audio_sha256")
Report = Callable[[float, str], None]
Read = Callable[[dict[str, Any]], bytes]


def render(
    context: Context, form: str, path: Path, folder: str, *, rows: int, report: Report = lambda fraction, note: None
) -> dict[str, Any]:
    """Returns {"files": [{"split", "key", "rows", "size_bytes", "sha256"}]}."""
    renderings.check((form,), FORMS)
    context.store.ensure_bucket(context.settings.audio_bucket)
    files: list[dict[str, Any]] = []
    done = 0
    with tempfile.TemporaryDirectory(prefix="kaan-render-") as aside:
        copy = Path(aside) / "clip"

        def fetched(line: dict[str, Any]) -> Path:
            nonlocal done
            copy.unlink(missing_ok=True)
            context.store.fetch(line["bucket"], line["key"], copy)
            done += 1
            report(0.1 + 0.8 * done / max(1, rows), f"{form}: {done:,} of {rows:,} clips")
            return copy

        for split in splits.SPLITS:
            lines = (line for line in dataset_manifest.read(path) if line["split"] == split)
            target = Path(aside) / split
            if form == JSONL:
                made = _listed(context, lines, target, fetched, folder)
            else:
                made = _tables(lines, target, lambda line: fetched(line).read_bytes())
            for file, count in made:
                key = f"{folder}/{form}/{file.name}"
                size_bytes, sha256 = file.stat().st_size, renderings.replace(context, key, file)
                files.append({"split": split, "key": key, "rows": count, "size_bytes": size_bytes, "sha256": sha256})
                file.unlink()
    return {"files": files}


def _listed(
    context: Context, lines: Iterator[dict[str, Any]], target: Path, fetched: Callable[[dict[str, Any]], Path],
    folder: str,
) -> Iterator[tuple[Path, int]]:  # fmt: skip
    """(file, rows) of a split's JSON lines; the recordings are stored beside it."""
    file, count = target.with_suffix(".jsonl"), 0
    with file.open("w", encoding="utf-8") as out:
        for line in lines:
            name = f"{line['id']}{Path(line['key']).suffix or '.wav'}"
            renderings.replace(context, f"{folder}/audio/{name}", fetched(line))
            out.write(json.dumps({**line, "audio": f"../audio/{name}"}, ensure_ascii=False) + "\n")
            count += 1
    if count:
        yield file, count


def _tables(lines: Iterator[dict[str, Any]], target: Path, read: Read) -> Iterator[tuple[Path, int]]:
    """(file, rows) of a split's Parquet parts, each complete before the next begins."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, number, rows, written = _schema(), 0, 0, 0
    group: list[dict[str, Any]] = []
    waiting = 0
    writer: Any = None
    file = target

    def flush() -> None:
        nonlocal writer, file, waiting, written
        if group:
            if writer is None:
                file = target.with_name(f"{target.name}-{number:05d}.parquet")
                writer = pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=["language", "emotion"])
            writer.write_table(pa.Table.from_pylist(group, schema))
            written += waiting
            waiting = 0
            group.clear()

    for line in lines:
        data = read(line)
        name = f"{line['id']}{Path(line['key']).suffix or '.wav'}"
        group.append(
            {
                **{column: line.get(column) for column in _TEXTS}, "speaker_id": line["voice"],
                "audio": {"bytes": data, "path": name}, "duration_s": line["duration_s"], "rate_hz": line["rate_hz"],
            }
        )  # fmt: skip
        rows, waiting = rows + 1, waiting + len(data)
        if waiting >= _GROUP_BYTES:
            flush()
        if written >= PART_BYTES:
            writer.close()
            yield file, rows
            writer, number, rows, written = None, number + 1, 0, 0
    flush()
    if writer is not None:
        writer.close()
        yield file, rows


def _schema() -> Any:
    import pyarrow as pa

    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [("audio", audio), *((name, pa.string()) for name in _TEXTS)]
    fields += [("duration_s", pa.float64()), ("rate_hz", pa.int32())]
    features: dict[str, Any] = {"audio": {"_type": "Audio"}}  # at the rate of each recording
    features |= {name: {"dtype": "string", "_type": "Value"} for name in _TEXTS}
    features |= {"duration_s": {"dtype": "float64", "_type": "Value"}, "rate_hz": {"dtype": "int32", "_type": "Value"}}
    return pa.schema(fields, metadata={b"huggingface": json.dumps({"info": {"features": features}}).encode()})
