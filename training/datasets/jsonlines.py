"""Manifest -> JSON lines or NeMo manifests, one per split, and one WAV file per row.

Paths are relative to their list, as NeMo requires: `../audio/ab/abcd….wav`. Both forms share the files.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from training.datasets import dataset_manifest, splits
from training.datasets.clip_audio import Clips

_AHEAD = 2000

Store = Callable[[str, int, Path, int], None]  # split, number of the part, file, rows


def render(
    path: Path,
    folder: Path,
    store: Store,
    *,
    nemo: bool,
    clips: Clips,
    keep: Callable[[str, bytes], object],
    report: Callable[[int], None] = lambda rows: None,
) -> None:
    """`keep(name, data)` takes each WAV file; `store` each finished list."""
    files = {split: folder / f"{split}.jsonl" for split in splits.SPLITS}
    streams = {split: file.open("wb") for split, file in files.items()}
    counts = dict.fromkeys(files, 0)
    try:
        lines, done = dataset_manifest.read(path), 0
        while some := list(itertools.islice(lines, _AHEAD)):
            clips.expect(some)
            for line in some:
                name = f"{line['id'][:2]}/{line['id']}.wav"
                keep(name, clips.clip(line))
                body = (_for_nemo if nemo else _plain)(line, f"../audio/{name}")
                streams[line["split"]].write(orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE))
                counts[line["split"]] += 1
            done += len(some)
            report(done)
    finally:
        for stream in streams.values():
            stream.close()
    for split, file in files.items():
        store(split, 0, file, counts[split])


def _plain(line: dict[str, Any], place: str) -> dict[str, Any]:
    return {"audio": place, "transcription": line["text"], **{k: v for k, v in line.items() if k != "text"}}


def _for_nemo(line: dict[str, Any], place: str) -> dict[str, Any]:
    return {
        "audio_filepath": place, "duration": round(line["end_s"] - line["start_s"], 3), "text": line["text"],
        "lang": line["language"], "speaker": line["speaker_id"], "id": line["id"],
    }  # fmt: skip
