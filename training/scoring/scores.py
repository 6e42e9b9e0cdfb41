"""Utterances -> scores: pooled rates with counts and intervals, by reading and by slice. Pure.

A call that was drawn with a small chance stands for many: errors and words are weighted by one over that chance. The
counts beside a rate are unweighted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from training.scoring import bootstrap
from training.scoring.bootstrap import Interval
from training.text.readings import CURRENT, INDIC

MAIN = INDIC  # the reading that decides
EDITS = ("replaced", "left_out", "put_in")
SLICES = ("language", "channel", "snr", "duration", "annotators")
_RUNAWAY = 2.0  # times the words that were said, and a few more: invented text


def scores(utterances: Sequence[Utterance]) -> dict[str, Any]:
    """All that an evaluation's row says about texts."""
    return {
        **counted(utterances),
        "audio_s": round(sum(one.duration_s for one in utterances), 2),
        "rates": {name: _rates(utterances, name) for name in CURRENT},
        "edits": {name: sum(one.edits[place] for one in utterances) for place, name in enumerate(EDITS)},
        "slices": {kind: _slices(utterances, kind) for kind in SLICES},
        "language_identification": _languages(utterances),
        "empty": _share(utterances, [one.empty for one in utterances if one.reference or one.tallies[MAIN][0]]),
        "runaway": _share(utterances, [runaway(one) for one in utterances]),
    }  # fmt: skip


def counted(utterances: Iterable[Utterance]) -> dict[str, int]:
    """Size of the set: utterances, calls, callers and words."""
    every = list(utterances)
    return {
        "utterances": len(every),
        "calls": len({one.call for one in every}),
        "callers": len({one.caller for one in every}),
        "words": sum(one.tallies[MAIN][0] for one in every),
    }


def by_slice(utterances: Iterable[Utterance], kind: str) -> dict[str, list[Utterance]]:
    """The utterances of each slice of one kind; those that are in none are left out."""
    found: dict[str, list[Utterance]] = defaultdict(list)
    for one in utterances:
        if name := one.slices.get(kind):
            found[name].append(one)
    return {name: found[name] for name in sorted(found)}


def rate(utterances: Sequence[Utterance], normaliser: str = MAIN, *, chars: bool = False) -> Interval | None:
    """Weighted and pooled word (or character) error rate."""
    words, edits = (2, 3) if chars else (0, 1)
    return bootstrap.rate(
        bootstrap.by_call(
            (u.call, (u.weight * u.tallies[normaliser][edits], u.weight * u.tallies[normaliser][words]))
            for u in utterances
        )
    )


def runaway(one: Utterance) -> bool:
    """Whether far more was written than was said."""
    said = one.tallies[MAIN][0]
    return said + one.edits[2] - one.edits[1] > _RUNAWAY * said + 3


def _rates(utterances: Sequence[Utterance], name: str) -> dict[str, Any]:
    sums = [sum(one.tallies[name][place] for one in utterances) for place in range(4)]
    words, chars = rate(utterances, name), rate(utterances, name, chars=True)
    return {
        "words": sums[0], "word_edits": sums[1], "chars": sums[2], "char_edits": sums[3],
        "wer": words.to_json() if words else None, "cer": chars.to_json() if chars else None,
    }  # fmt: skip


def _slices(utterances: Sequence[Utterance], kind: str) -> dict[str, Any]:
    found = {}
    for name, some in by_slice(utterances, kind).items():
        interval = rate(some)
        found[name] = {**counted(some), "wer": interval.to_json() if interval else None}
    return found


def _languages(utterances: Sequence[Utterance]) -> dict[str, Any]:
    """Only answers with a text: an empty answer names no language."""
    with_language = [one for one in utterances if one.detected_language and one.language]
    return _share(utterances, [one.detected_language == one.language for one in with_language])


def _share(utterances: Sequence[Utterance], flags: Sequence[bool]) -> dict[str, Any]:
    return {"count": sum(flags), "of": len(flags), "share": round(sum(flags) / len(flags), 4) if flags else None}


Tally = tuple[int, int, int, int]  # words, word edits, characters, character edits


@dataclass(frozen=True)
class Utterance:
    """`tallies` by normaliser, `edits` (replaced, left out, put in) of the first; `slices` by kind of slice.

    `weight` is one over the chance that the call was drawn; `detected_language` is None where nothing was transcribed.
    """

    id: str
    audio_sha256: str
    call: str
    caller: str
    duration_s: float
    language: str
    reference: str
    hypothesis: str
    detected_language: str | None = None
    weight: float = 1.0
    empty: bool = False
    slices: dict[str, str] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    edits: tuple[int, int, int] = (0, 0, 0)
    learnt: bool = False  # the version was trained on it: the scores leave it out

    def without_text(self) -> Utterance:
        return replace(self, reference="", hypothesis="")


def write(utterances: Iterable[Utterance]) -> bytes:
    """JSON lines, in the order given."""
    return b"".join(orjson.dumps(asdict(one), option=orjson.OPT_APPEND_NEWLINE) for one in utterances)


def read(raw: bytes) -> Iterator[Utterance]:
    for line in raw.splitlines():
        yield _utterance(orjson.loads(line))


def _utterance(body: dict[str, Any]) -> Utterance:
    tallies = {name: tuple(numbers) for name, numbers in body.pop("tallies").items()}
    return Utterance(**{**body, "edits": tuple(body["edits"])}, tallies=tallies)
