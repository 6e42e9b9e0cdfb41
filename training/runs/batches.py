"""Rows -> the endless, planned order of batches: a pure function of the seed, so that a resumed run continues exactly.

Only row numbers are planned here, which is cheap; frames are read and augmented when a batch is built. Rows of similar
length share a batch, because the encoder has no mask and padding costs time. A window counts with its padded length,
which is always 30 s for a published Whisper, because that is what memory must hold.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ml_backend.models.manifest import WindowPolicy
from training.runs import workload
from training.runs.workspace import NEW, REPLAY, Row

POOL = 320
MOST_PHRASES = 4
GAP_S = 0.4  # silence added to each of several phrases in one window


@dataclass(frozen=True)
class Pick:
    """One window: its rows in order, and the seed of all its random choices."""

    rows: tuple[int, ...]
    duration_s: float
    seed: int


@dataclass(frozen=True)
class Order:
    """The training rows of a workspace and how they are mixed."""

    rows: list[Row]
    seed: int
    batch_s: float
    window: WindowPolicy
    several_share: float = 0.0
    replay_share: float = 0.0
    tempo: float = 0.0
    labels: Sequence[int] = ()
    """Tokens of each row, where they are known: phrases share a window only when the decoder can hold them all."""
    most_labels: int = workload.MOST_LABELS
    _groups: dict[tuple[str, str, str], list[int]] = field(
        default_factory=lambda: defaultdict(list), init=False, repr=False, compare=False
    )

    def epoch(self, number: int) -> list[list[Pick]]:
        """Every new row once, replayed rows beside them, in batches of at most `batch_s` padded seconds."""
        rng = random.Random(f"{self.seed}-{number}")
        new, replay = self._numbers(NEW), self._numbers(REPLAY)
        wanted = round(len(new) * self.replay_share / max(1e-9, 1 - self.replay_share)) if replay else 0
        if new and wanted:
            before = number * wanted
            turns = list(replay)
            random.Random(self.seed).shuffle(turns)
            chosen = new + [turns[(before + n) % len(turns)] for n in range(wanted)]
        else:
            chosen = new + replay
        rng.shuffle(chosen)
        picks = [self._pick(first, rng) for first in chosen]
        batches = [batch for at in range(0, len(picks), POOL) for batch in self._cut(picks[at : at + POOL])]
        rng.shuffle(batches)
        return batches

    def tokens(self, numbers: Sequence[int]) -> int:
        """The decoder's tokens for a window of these rows."""
        return sum(self.labels[n] + workload.STAMPS for n in numbers) + workload.FRAME

    def padded_s(self, pick: Pick) -> float:
        """The padded length of a window."""
        return workload.padded_s(pick.duration_s, self.window, tempo=self.tempo)

    def _numbers(self, part: str) -> list[int]:
        return [n for n, row in enumerate(self.rows) if row.split == "train" and row.part == part]

    def _pick(self, first: int, rng: random.Random) -> Pick:
        row = self.rows[first]
        picked, length_s = [first], row.duration_s
        if rng.random() < self.several_share:
            others = self._beside()[row.language, row.speaker, row.part]
            for other in rng.sample(others, min(len(others), rng.randint(1, MOST_PHRASES - 1))):
                more_s = self.rows[other].duration_s + GAP_S
                if other != first and length_s + more_s <= self.window.max_s and self._writable([*picked, other]):
                    picked.append(other)
                    length_s += more_s
        return Pick(tuple(picked), length_s, rng.getrandbits(48))

    def _writable(self, numbers: list[int]) -> bool:
        return not self.labels or self.tokens(numbers) <= self.most_labels

    def _beside(self) -> dict[tuple[str, str, str], list[int]]:
        if not self._groups:
            for number, row in enumerate(self.rows):
                if row.split == "train":
                    self._groups[row.language, row.speaker, row.part].append(number)
        return self._groups

    def _cut(self, pool: list[Pick]) -> Iterator[list[Pick]]:
        batch: list[Pick] = []
        for pick in sorted(pool, key=lambda p: (p.duration_s, p.seed)):
            if batch and (len(batch) + 1) * self.padded_s(pick) > self.batch_s:
                yield batch
                batch = []
            batch.append(pick)
        if batch:
            yield batch
