"""Datasets -> the rows of a workspace: training, validation, and rows replayed against forgetting.

Audio is cut as in `training.datasets`. An unusable row (no text, no audio, longer than the base's window, more text
than can be said in its time) is left out by name. Many of them mean that the data as a whole is wrong, and the run is
refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend.context import Context
from ml_backend.errors import PermanentError
from training.datasets import clip_audio, dataset
from training.runs import data_checks
from training.runs.bases import Base
from training.runs.workspace import NEW, REPLAY, Row, Workspace

_HEADER_BYTES = 44


@dataclass
class TrainingRows:
    """The checked lines of a run's datasets; `left_out` are ids by reason."""

    new: list[dict[str, Any]]
    replay: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    @property
    def train_s(self) -> float:
        return sum(_length(line) for line in self.new + self.replay if line["split"] == "train")

    @property
    def clips(self) -> int:
        return len([line for line in self.new + self.replay if line["split"] == "train"])

    def to_json(self) -> dict[str, Any]:
        return {
            "train": sum(line["split"] == "train" for line in self.new),
            "validation": sum(line["split"] == "validation" for line in self.new),
            "replay": len(self.replay), "train_s": round(self.train_s, 1),
            "left_out": {reason: {"count": len(ids), "rows": ids[:20]} for reason, ids in self.left_out.items()},
        }  # fmt: skip


def gather(context: Context, dataset_id: int, replay_id: int, base: Base, *, most_left_out: float) -> TrainingRows:
    """Read and check the rows; PermanentError `training-data-refused` with counts and row ids for bad data."""
    known = frozenset(base.languages)
    lines = [_taught(line, known) for line in dataset.read(context, dataset_id)]
    found = data_checks.objections(lines)
    learnt = [line for line in lines if line["split"] in ("train", "validation")]
    left_out: dict[str, list[str]] = {}
    selected = TrainingRows(_usable(context, learnt, base, left_out), left_out=left_out)
    unfit = sum(len(ids) for ids in left_out.values())
    if unfit > _bearable(len(learnt), most_left_out) or (learnt and not selected.clips):
        found += [*_unfit(selected, learnt, base, most_left_out)]
    if replay_id:
        older = [_taught(line, known) for line in dataset.read(context, replay_id)]
        older = [line for line in older if line["split"] in ("train", "validation")]
        tested = {line["audio_sha256"] for line in lines if line["split"] == "test"}
        replayed: dict[str, list[str]] = {}
        usable = _usable(context, older, base, replayed)
        selected.replay = [line for line in usable if line["audio_sha256"] not in tested]
        replayed["tested"] = [line["id"] for line in older if line["audio_sha256"] in tested]
        left_out |= {f"replay-{reason}": ids for reason, ids in replayed.items() if ids}
    if found:
        raise data_checks.refusal(found)
    return selected


def write(context: Context, selected: TrainingRows, workspace: Workspace, *, most_left_out: float) -> list[Row]:
    """Write audio and rows into the workspace; rows whose audio is now missing are left out too."""
    gone: list[str] = []
    rows = workspace.write_rows(_cut(context, selected, gone))
    if gone:
        selected.left_out["audio-missing"] = [*selected.left_out.get("audio-missing", []), *gone]
        if len(gone) > _bearable(len(rows) + len(gone), most_left_out) or not any(r.split == "train" for r in rows):
            raise data_checks.refusal([data_checks.missing_audio(gone)])
        kept = {row.id for row in rows}
        selected.new = [line for line in selected.new if line["id"] in kept]
        selected.replay = [line for line in selected.replay if line["id"] in kept]
    return rows


def _usable(
    context: Context, lines: list[dict[str, Any]], base: Base, left_out: dict[str, list[str]]
) -> list[dict[str, Any]]:
    """The usable lines; the ids of the others go into `left_out` by reason."""
    usable = []
    with clip_audio.Clips(context) as clips:
        clips.expect(lines)
        for line in lines:
            reason = data_checks.fault(line, known=base.languages, window=base.window)
            if reason is None and not clips.known(line):
                reason = "audio-missing"
            if reason is None:
                usable.append(line)
            else:
                left_out.setdefault(reason, []).append(line["id"])
    return usable


def _bearable(rows: int, most_left_out: float) -> float:
    return max(1.0, most_left_out * rows) if most_left_out else 0.0


def _cut(context: Context, selected: TrainingRows, gone: list[str]) -> Iterator[tuple[Row, npt.NDArray[np.float32]]]:
    for part, lines in ((NEW, selected.new), (REPLAY, selected.replay)):
        with clip_audio.Clips(context) as clips:
            clips.expect(lines)
            for line in lines:
                try:
                    raw = clips.clip(line)[_HEADER_BYTES:]
                except PermanentError:
                    gone.append(line["id"])
                    continue
                wave = np.frombuffer(raw, "<i2").astype(np.float32) / np.float32(32767.0)
                speaker = line.get("speaker_id") or ""
                row = Row(line["id"], line["text"], line["language"], 0, 0, line["split"], part, speaker)
                yield row, wave


def _taught(line: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """A line with a language that models have a token for: the first of a mixture (hi-en), as in transcription."""
    language, first = line["language"] or "", (line["language"] or "").partition("-")[0]
    return line if language in known or language == first else {**line, "language": first}


def _length(line: dict[str, Any]) -> float:
    return float(line["end_s"] - line["start_s"])


def _unfit(
    selected: TrainingRows, learnt: list[dict[str, Any]], base: Base, most_left_out: float
) -> Iterator[data_checks.DataObjection]:
    """The error with every reason and its rows, and last the next step."""
    for reason, ids in selected.left_out.items():
        yield data_checks.of_reason(reason, ids, len(learnt), base.window.max_s)
    count = sum(len(ids) for ids in selected.left_out.values())
    share = f"{count} of {len(learnt)} rows cannot be learnt from, where at most {most_left_out:.0%} may be left out"
    yield data_checks.DataObjection("left-out", f"{share}; more are allowed with `--option most_left_out=0.5`", count)
