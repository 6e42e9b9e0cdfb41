"""Seed -> the table of utterances that `make learn` learns from: what callers of a clinic and of the shop said.

The bundled parser knows the shop only. Most rows were checked by people, as a company's table has them. Those that
nobody has checked carry what a bot of the shop answered, `none_of_these`: people correct them in Label Studio. A few
utterances come in after the training, in wordings that the table does not have: their drafts show the gain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training.demo_intents import intent_corpus
from training.demo_intents.intent_corpus import TEST, LabelledUtterance

ASKED, LATER = 20, 8
NOT_KNOWN = "none_of_these"
_SEED = 20261130
_OLD, _NEW = 2, 8  # times that people say a held-out wording of the shop, and of the clinic; half as often the others
_OUT_OF_SCOPE = 2  # wordings: of an intent with fewer than three, all are trained on and none is tested


@dataclass(frozen=True)
class LearningTable:
    """`rows` and `later_rows` are as `nlu import` reads them; `asked` and `later` say what is right of those that
    nobody has checked."""

    rows: tuple[dict[str, Any], ...]
    later_rows: tuple[dict[str, Any], ...]
    asked: tuple[LabelledUtterance, ...]
    later: tuple[LabelledUtterance, ...]


def table(*, seed: int = _SEED) -> LearningTable:
    """The same rows for the same seed."""
    shop = _few_out_of_scope(intent_corpus.utterances("shop", seed=seed, human=_OLD, auto=0))
    clinic = intent_corpus.utterances("clinic", seed=seed, human=_NEW, auto=0)
    held_out = _spread([row for row in clinic if row.split == TEST], LATER)
    families = {row.family for row in held_out}
    known = [row for row in clinic if row.family not in families]
    asked = _spread([row for row in known if row.split != TEST], ASKED)
    open_ids = {row.id for row in asked}
    checked = [_row(row) for row in (*shop, *known) if row.id not in open_ids]
    return LearningTable(
        (*checked, *_unchecked(asked)), _unchecked(held_out), asked, held_out
    )  # fmt: skip


def _few_out_of_scope(rows: list[LabelledUtterance]) -> list[LabelledUtterance]:
    """The bundled parser has learnt all of these wordings, so that no comparison on them would be fair."""
    kept = sorted({row.family for row in rows if row.intent == NOT_KNOWN})[:_OUT_OF_SCOPE]
    return [row for row in rows if row.intent != NOT_KNOWN or row.family in kept]


def _spread(rows: list[LabelledUtterance], count: int) -> tuple[LabelledUtterance, ...]:
    """So many utterances, each of another wording, by turns from every intent."""
    first = list({row.family: row for row in reversed(rows)}.values())[::-1]
    turns: dict[str, int] = {}
    placed = []
    for number, row in enumerate(first):
        turns[row.intent] = turns.get(row.intent, -1) + 1
        placed.append((turns[row.intent], number, row))
    return tuple(row for _, _, row in sorted(placed, key=lambda one: one[:2])[:count])


def _row(row: LabelledUtterance) -> dict[str, Any]:
    return {
        "id": row.id, "text": row.text, "intent": row.intent, "entities": list(row.entities),
        "language": row.language, "source": row.source, "review_status": "approved",
    }  # fmt: skip


def _unchecked(rows: tuple[LabelledUtterance, ...]) -> tuple[dict[str, Any], ...]:
    """The less sure the bot was, the earlier people are asked."""
    return tuple(
        {
            **_row(row), "intent": NOT_KNOWN, "entities": [], "source": "call", "review_status": "unreviewed",
            "confidence": round(0.2 + 0.01 * number, 2),
        }
        for number, row in enumerate(rows)
    )  # fmt: skip
