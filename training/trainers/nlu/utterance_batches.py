"""Rows of utterances -> batches of token ids, intents and tags. Step n draws its rows from the seed and n alone.

An entity's tags stand at the first token of each of its words, as the parser reads them; other tokens are ignored.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Encoding

from ml_backend.errors import PermanentError
from ml_backend.nlu.parsing import Parser, ParserNeeds, Words
from training.runs.nlu_arguments import NluArguments

IGNORED = -100
TRAIN, VALIDATION = "train", "validation"
NEW, REPLAY = "new", "replay"
_POOL = 16  # batches that are drawn together and sorted by length, so that few tokens are padding


@dataclass(frozen=True)
class UtteranceRow:
    """One line of rows.jsonl. `family`: the wordings that are one sentence, and on one side of every split."""

    id: str
    text: str
    intent: str
    entities: Sequence[Mapping[str, Any]] = ()
    language: str = ""
    family: str = ""
    split: str = TRAIN
    part: str = NEW
    checked: bool = False


@dataclass(frozen=True)
class EncodedRow:
    ids: list[int]
    tags: list[int]
    intent: int


def read(folder: Path) -> list[UtteranceRow]:
    """The rows of a workspace; fields that the trainer does not need are left out."""
    rows = []
    names = UtteranceRow.__dataclass_fields__
    with (folder / "rows.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            raw = json.loads(line)
            rows.append(UtteranceRow(**{name: value for name, value in raw.items() if name in names}))
    return rows


def require_trainable(rows: Sequence[UtteranceRow]) -> None:
    """A training part with two intents at least. Raises PermanentError."""
    intents = {row.intent for row in rows if row.split == TRAIN}
    if len(intents) < 2:
        found = f"only of the intent {next(iter(intents))[:40]!r}" if intents else "absent"
        raise PermanentError(
            "too-few-intents", f"The utterances to train on are {found}.",
            "Label utterances of at least two intents, or take a larger dataset.",
        )  # fmt: skip


def encoded(row: UtteranceRow, parser: Parser) -> EncodedRow:
    encoding = parser.encoded(row.text)
    intents, tags = parser.needs.intents, parser.needs.tags
    return EncodedRow(
        list(encoding.ids),
        _tags(encoding, parser.words(encoding), row.entities, tags),
        intents.index(row.intent) if row.intent in intents else IGNORED,
    )


def _tags(
    encoding: Encoding, words: Words, entities: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> list[int]:  # fmt: skip
    """O at the first token of every word, B and I at those of words that an entity overlaps."""
    tags = [IGNORED] * len(encoding.ids)
    for token in words.tokens:
        tags[token] = 0
    for entity in entities:
        if f"B-{entity['entity']}" not in names:
            continue
        inside = False
        for start, end, token in zip(words.starts, words.ends, words.tokens, strict=True):
            if start < entity["end"] and end > entity["start"]:
                tags[token] = names.index(f"{'I' if inside else 'B'}-{entity['entity']}")
                inside = True
    return tags


@dataclass(frozen=True)
class Batches:
    """Batches by step. `hidden` is the id that replaces a hidden token."""

    rows: Sequence[EncodedRow]
    new: Sequence[int]
    old: Sequence[int]
    arguments: NluArguments
    padding: int
    hidden: int
    _epochs: dict[int, list[list[int]]] = field(default_factory=dict, compare=False)

    @property
    def per_epoch(self) -> int:
        """An epoch shows every new row once, and as many old rows as the replay share asks for."""
        return max(1, math.ceil((len(self.new) + self._old_rows) / self.arguments.batch_rows))

    @property
    def _old_rows(self) -> int:
        share = self.arguments.replay_share
        if not self.old or share <= 0:
            return 0
        return len(self.old) if share >= 1 or not self.new else round(len(self.new) * share / (1 - share))

    def at(self, step: int) -> dict[str, torch.Tensor]:
        """The batch of step 0, 1, …: the same whatever was trained before in this process."""
        epoch, place = divmod(step, self.per_epoch)
        numbers = self._epoch(epoch)[place]
        return self.padded([self.rows[n] for n in numbers], np.random.default_rng((self.arguments.seed, 7, step)))

    def _epoch(self, epoch: int) -> list[list[int]]:
        if epoch not in self._epochs:
            self._epochs.clear()
            rng = np.random.default_rng((self.arguments.seed, epoch))
            old: Any = (
                rng.choice(self.old, self._old_rows, replace=self._old_rows > len(self.old)) if self._old_rows else []
            )
            numbers = rng.permutation(np.array([*self.new, *old], dtype=np.int64))
            size, batches = self.arguments.batch_rows, []
            for first in range(0, len(numbers), size * _POOL):
                pool = sorted(numbers[first : first + size * _POOL].tolist(), key=lambda n: len(self.rows[n].ids))
                batches += [pool[at : at + size] for at in range(0, len(pool), size)]
            self._epochs[epoch] = [batches[n] for n in rng.permutation(len(batches))]
        return self._epochs[epoch]

    def padded(self, rows: Sequence[EncodedRow], rng: np.random.Generator | None = None) -> dict[str, torch.Tensor]:
        longest = max(len(row.ids) for row in rows)
        ids = np.full((len(rows), longest), self.padding, dtype=np.int64)
        tags = np.full((len(rows), longest), IGNORED, dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)], tags[number, : len(row.ids)] = row.ids, row.tags
            mask[number, : len(row.ids)] = 1
        if rng is not None and self.arguments.dropped_words > 0:
            hide = (rng.random(ids.shape) < self.arguments.dropped_words) & (mask == 1)
            hide[:, 0] = False
            ids[hide] = self.hidden
        return {
            "input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask),
            "tags": torch.from_numpy(tags), "intents": torch.tensor([row.intent for row in rows]),
        }  # fmt: skip


def batches_of(
    rows: Sequence[UtteranceRow], parser: Parser, arguments: NluArguments, padding: int, hidden: int
) -> Batches:
    training = [row for row in rows if row.split == TRAIN]
    new = [n for n, row in enumerate(training) if row.part != REPLAY]
    old = [n for n, row in enumerate(training) if row.part == REPLAY]
    return Batches([encoded(row, parser) for row in training], new, old, arguments, padding, hidden)


def class_weights(rows: Sequence[UtteranceRow], needs: ParserNeeds, how: str) -> torch.Tensor:
    """balanced: proportional to one over the square root of an intent's rows, 1 on average over the rows."""
    counts = Counter(row.intent for row in rows if row.split == TRAIN)
    if how != "balanced":
        return torch.ones(len(needs.intents))
    weights = torch.tensor([counts[name] ** -0.5 if counts[name] else 0.0 for name in needs.intents])
    shown = torch.tensor([float(counts[name]) for name in needs.intents])
    return weights * shown.sum() / (weights * shown).sum()


def special_id(tokenizer: Any, names: Sequence[str]) -> int:
    """The id of the first of these special tokens that the tokenizer has; 0 where it has none."""
    return next((found for name in names if (found := tokenizer.token_to_id(name)) is not None), 0)
