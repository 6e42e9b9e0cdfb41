"""One piece of the test set as one model heard it: what scores are made of, and what two models are compared by.

Kept as JSON lines beside the version. The counts of every reading stay when somebody in it is erased; the texts go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

Tally = tuple[int, int, int, int]  # words, word edits, characters, character edits


@dataclass(frozen=True)
class Utterance:
    """`tallies` by normaliser, `edits` (replaced, left out, put in) of the first; `slices` by kind of slice.

    `weight` is one over the chance that the call was drawn; `heard_language` is None where nothing was heard.
    """

    id: str
    audio_sha256: str
    call: str
    caller: str
    duration_s: float
    language: str
    reference: str
    hypothesis: str
    heard_language: str | None = None
    weight: float = 1.0
    empty: bool = False
    slices: dict[str, str] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    edits: tuple[int, int, int] = (0, 0, 0)

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
