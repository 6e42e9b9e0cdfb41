"""Datasets -> the rows of a workspace: what is learnt, what it is watched on, and what is replayed against forgetting.

Audio is cut as `training.export` cuts it. A row whose audio is gone, or that is longer than the base model's window, is
not skipped in silence: the first refuses the run, the second is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend.context import Context
from ml_backend.errors import PermanentError
from training import checks, dataset
from training.bases import Base
from training.export import audio
from training.workspace import NEW, REPLAY, Row, Workspace

_HEADER_BYTES = 44
_SHORTEST_S = 0.2


@dataclass
class Material:
    """The lines of the datasets that a run uses, checked; `left_out` are ids by reason."""

    new: list[dict[str, Any]]
    replay: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    @property
    def train_s(self) -> float:
        return sum(_length(line) for line in self.new + self.replay if line["split"] == "train")

    @property
    def clips(self) -> int:
        return sum(line["split"] == "train" for line in self.new + self.replay)

    def to_json(self) -> dict[str, Any]:
        return {
            "train": sum(line["split"] == "train" for line in self.new),
            "validation": sum(line["split"] == "validation" for line in self.new),
            "replay": len(self.replay), "train_s": round(self.train_s, 1),
            "left_out": {reason: {"count": len(ids), "rows": ids[:20]} for reason, ids in self.left_out.items()},
        }  # fmt: skip


def gather(context: Context, dataset_id: int, replay_id: int, base: Base, *, most_left_out: float) -> Material:
    """PermanentError `training-data-refused` with counts and row ids, where nothing should be learnt from the data."""
    known = frozenset(base.languages)
    lines = [_taught(line, known) for line in dataset.read(context, dataset_id)]
    found = checks.objections(lines)
    learnt = [line for line in lines if line["split"] in ("train", "validation")]
    found += [one for one in (checks.unknown_languages(learnt, known),) if one.count]
    material = Material([line for line in learnt if _fits(line, base)])
    if replay_id:
        older = [_taught(line, known) for line in dataset.read(context, replay_id)]
        older = [line for line in older if line["split"] in ("train", "validation")]
        tested = {line["audio_sha256"] for line in lines if line["split"] == "test"}
        material.replay = [line for line in older if _fits(line, base) and line["audio_sha256"] not in tested]
        material.left_out["replay-tested"] = [line["id"] for line in older if line["audio_sha256"] in tested]
    material.left_out["too-long"] = [line["id"] for line in learnt if _length(line) > base.window.max_s]
    material.left_out["too-short"] = [line["id"] for line in learnt if _length(line) < _SHORTEST_S]
    material.left_out = {reason: ids for reason, ids in material.left_out.items() if ids}
    if len(learnt) - len(material.new) > most_left_out * max(1, len(learnt)):
        found.append(_unfit(material, learnt, base, most_left_out))
    with audio.Clips(context) as clips:
        clips.expect(material.new + material.replay)
        gone = [line["id"] for line in material.new + material.replay if not clips.known(line)]
    found += [one for one in (checks.missing_audio(gone),) if one.count]
    if found:
        raise checks.refusal(found)
    return material


def write(context: Context, material: Material, workspace: Workspace) -> list[Row]:
    """Audio and rows into the workspace. Raises the same refusal when audio turns out to be gone now."""
    gone: list[str] = []
    rows = workspace.write_rows(_cut(context, material, gone))
    if gone:
        raise checks.refusal([checks.missing_audio(gone)])
    return rows


def _cut(context: Context, material: Material, gone: list[str]) -> Iterator[tuple[Row, npt.NDArray[np.float32]]]:
    for part, lines in ((NEW, material.new), (REPLAY, material.replay)):
        with audio.Clips(context) as clips:
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
    """A line under a language models have a token for: of a mixture (hi-en) it is the first, as a call is heard."""
    language, first = line["language"] or "", (line["language"] or "").partition("-")[0]
    return line if language in known or language == first else {**line, "language": first}


def _fits(line: dict[str, Any], base: Base) -> bool:
    return _SHORTEST_S <= _length(line) <= base.window.max_s


def _length(line: dict[str, Any]) -> float:
    return float(line["end_s"] - line["start_s"])


def _unfit(material: Material, learnt: list[dict[str, Any]], base: Base, most_left_out: float) -> checks.Objection:
    ids = material.left_out.get("too-long", []) + material.left_out.get("too-short", [])
    sentence = (
        f"{len(ids)} of {len(learnt)} rows do not fit the base's window of {base.window.max_s:g} s, where at most "
        f"{most_left_out:.0%} may be left out: take a base with a longer window, or allow more with "
        "`--option most_left_out=0.5`"
    )
    return checks.Objection("window", sentence, len(ids), tuple(ids[:20]))
