"""Dataset lines -> speakers, calls or audio on two sides of the split. Pure.

The export keeps a caller on one side. This checks it again by other evidence: the recording's bytes, its call, its
people in the ledger, and twins of the call. A dataset with a leak measures memory, not recognition.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.calls.pseudonyms import is_masked
from ml_backend.tables import calls, company_numbers, recordings
from training.quality import duplicates
from training.quality.duplicates import FamiliarPhrases, RecordingFingerprint

Line = Mapping[str, Any]

_ALONE = np.zeros(1, dtype=np.intp)
KINDS = ("audio", "call", "caller", "speaker", "twin", "family", "wording")


@dataclass(frozen=True)
class AudioOrigin:
    """The source of an audio. `people` are pseudonyms of its speakers outside the company."""

    recording_id: int
    call_id: int | None
    people: tuple[str, ...]
    duration_s: float | None


@dataclass(frozen=True)
class Leak:
    """One leak, with recordings that show it. `kind` is one of KINDS; it names no person."""

    kind: str
    sides: tuple[str, ...]
    recordings: tuple[int, ...]


def origins(connection: Connection) -> dict[str, AudioOrigin]:
    """By SHA-256 of the audio."""
    ours = set(connection.execute(sa.select(company_numbers.c.pseudonym)).scalars())
    audio, call = recordings.c, calls.c
    statement = (
        sa.select(
            audio.id, audio.sha256, audio.call_id, audio.duration_s, call.from_pseudonym, call.to_pseudonym,
            call.direction, call.company_number,
        )
        .outerjoin(calls, call.id == audio.call_id)
        .where(audio.sha256.is_not(None))
        .order_by(audio.id.desc())
    )  # fmt: skip
    rows = connection.execute(statement, execution_options={"yield_per": 2000})
    return {row.sha256: AudioOrigin(row.id, row.call_id, _people(row, ours), row.duration_s) for row in rows}


def find(read: Callable[[], Iterable[Line]], known: Mapping[str, AudioOrigin]) -> list[Leak]:
    """Every leak, the worst kind first. `read` is called twice for lines with `audio_sha256`, `split`, `text`."""
    familiar = FamiliarPhrases(duplicates.batches(_text(line) for line in read()))
    sides: dict[tuple[str, str], set[str]] = defaultdict(set)
    shown: dict[tuple[str, str], set[int]] = defaultdict(set)
    said: dict[tuple[str, str], RecordingFingerprint] = {}
    for line in read():
        sha, split = str(line["audio_sha256"]), str(line["split"])
        origin = known.get(sha)
        names = [("audio", sha)]
        if origin is not None:
            names += [("call", str(origin.call_id))] if origin.call_id is not None else []
            names += [("caller", person) for person in origin.people]
        if line.get("speaker_id") and not str(line["speaker_id"]).startswith("agent"):
            names.append(("speaker", str(line["speaker_id"])))
        for name in names:
            sides[name].add(split)
            if origin is not None and len(shown[name]) < 20:
                shown[name].add(origin.recording_id)
        if origin is not None:
            call = said.setdefault((sha, split), RecordingFingerprint(origin.recording_id, sha, origin.duration_s))
            duplicates.add_parts([call], duplicates.batch_of([_text(line)]), _ALONE, familiar)
    found = [
        Leak(name[0], tuple(sorted(where)), tuple(sorted(shown[name])))
        for name, where in sides.items()
        if len(where) > 1
    ]
    return sorted([*found, *_twins(said)], key=lambda leak: (KINDS.index(leak.kind), leak.recordings))


def of_utterances(lines: Iterable[Line]) -> list[Leak]:
    """Leaks of a dataset of utterances: a caller, rewordings of one sentence, or the very wording on two sides.

    Rows that are tested on although their wording was trained on, and say so, are none.
    """
    sides: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in lines:
        if line.get("wording") == "seen":
            continue
        wording = " ".join(_text(line).casefold().split())
        for kind, name in (("caller", line.get("caller")), ("family", line.get("family")), ("wording", wording)):
            if name:
                sides[kind, str(name)].add(str(line["split"]))
    found = [Leak(kind, tuple(sorted(where)), ()) for (kind, _), where in sides.items() if len(where) > 1]
    return sorted(found, key=lambda leak: KINDS.index(leak.kind))


def to_dict(leaks: list[Leak], lines: int) -> dict[str, Any]:
    kinds = Counter(leak.kind for leak in leaks)
    return {
        "lines": lines,
        "leaks": {kind: kinds[kind] for kind in KINDS if kind in kinds},
        "examples": [vars(leak) for leak in leaks[:20]],
    }


def _text(line: Line) -> str:
    return str(line.get("text") or "")


def _twins(said: Mapping[tuple[str, str], RecordingFingerprint]) -> list[Leak]:
    side = defaultdict(set)
    for (_, split), call in said.items():
        side[call.recording_id].add(split)
    found = []
    for twin in duplicates.find(sorted(said.values(), key=lambda call: call.place)).found:
        where = side[twin.pair[0]] | side[twin.pair[1]]
        if twin.kind == duplicates.SAME_CALL and len(where) > 1:
            found.append(Leak("twin", tuple(sorted(where)), twin.pair))
    return found


def _people(row: Any, ours: set[str]) -> tuple[str, ...]:
    """Numbers outside the company; if both seem to be, the caller of an inbound or the callee of an outbound call."""
    ends = (row.from_pseudonym, row.to_pseudonym)
    outside = [end for end in ends if end and end not in ours and end != row.company_number]
    if len(outside) == 2:
        outside = {"inbound": [ends[0]], "outbound": [ends[1]]}.get(row.direction, [])
    return tuple(end for end in outside if not is_masked(end))
