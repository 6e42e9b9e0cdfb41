"""Two lists of words -> where they agree and where not, in order. Pure.

Neighbouring edits are one block: `some sara` against `Samsara` is one mistake, however an alignment spells it out.
"""

from __future__ import annotations

from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein


@dataclass(frozen=True)
class Block:
    """words[first:last] of each side; `same` when they agree."""

    same: bool
    heard: tuple[int, int]
    meant: tuple[int, int]


def blocks(heard: list[str], meant: list[str]) -> list[Block]:
    """Agreeing and differing stretches, taking turns."""
    found: list[Block] = []
    for op in Levenshtein.opcodes(heard, meant):
        same = op.tag == "equal"
        heard_from, heard_to, meant_from, meant_to = op.src_start, op.src_end, op.dest_start, op.dest_end
        if found and found[-1].same == same:
            before = found.pop()
            heard_from, meant_from = before.heard[0], before.meant[0]
        found.append(Block(same, (heard_from, heard_to), (meant_from, meant_to)))
    return found
