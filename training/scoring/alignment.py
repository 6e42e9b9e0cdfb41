"""Two texts above each other, word by word, for a person to look at: S replaced, D left out, I put in. Pure."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

_MARKS = {"equal": "", "replace": "S", "delete": "D", "insert": "I"}


def aligned(reference: str, hypothesis: str) -> str:
    """Three lines, REF, HYP and the marks; only the hypothesis where nothing was said."""
    said, written = reference.split(), hypothesis.split()
    if not said:
        return hypothesis
    columns: list[tuple[str, str, str]] = []
    for step in Levenshtein.opcodes(said, written):
        old, new = said[step.src_start : step.src_end], written[step.dest_start : step.dest_end]
        for one, other in itertools.zip_longest(old, new, fillvalue=""):
            columns.append((one or "*" * len(other), other or "*" * len(one), _MARKS[step.tag]))
    lines = (
        " ".join(cell.ljust(max(map(len, column))) for cell, column in zip(row, columns, strict=True))
        for row in zip(*columns, strict=True)
    )
    return "\n".join(f"{head} {line}".rstrip() for head, line in zip(("REF:", "HYP:", "    "), lines, strict=True))


def steps(reference: str, hypothesis: str) -> list[list[str]]:
    """How normalised texts differ, for a page that draws it: ["=", words], ["S", said, written], ["D", said] or
    ["I", written], in their order. As many S, D and I as `error_counts` counts."""
    said, written = reference.split(), hypothesis.split()
    found: list[list[str]] = []
    for step in Levenshtein.opcodes(said, written):
        old, new = said[step.src_start : step.src_end], written[step.dest_start : step.dest_end]
        if step.tag == "equal":
            found.append(["=", " ".join(old)])
        elif step.tag == "replace":
            found += [["S", one, other] for one, other in zip(old, new, strict=True)]
        else:
            found += [["D", word] for word in old] + [["I", word] for word in new]
    return found


def edits_of(found: list[list[str]]) -> tuple[int, int, int]:
    """How many words these steps replace, leave out and put in."""
    tags = [step[0] for step in found]
    return tags.count("S"), tags.count("D"), tags.count("I")


def words_of(found: list[list[str]]) -> frozenset[str]:
    """Every word of both texts."""
    return frozenset(word for _, *texts in found for text in texts for word in text.split())


@dataclass(frozen=True)
class Block:
    """words[first:last] of each side; `same` when they agree."""

    same: bool
    hypothesis: tuple[int, int]
    reference: tuple[int, int]


def blocks(hypothesis: list[str], reference: list[str]) -> list[Block]:
    """Agreeing and differing stretches, taking turns."""
    found: list[Block] = []
    for op in Levenshtein.opcodes(hypothesis, reference):
        same = op.tag == "equal"
        hypothesis_from, hypothesis_to, reference_from, reference_to = (
            op.src_start,
            op.src_end,
            op.dest_start,
            op.dest_end,
        )
        if found and found[-1].same == same:
            before = found.pop()
            hypothesis_from, reference_from = before.hypothesis[0], before.reference[0]
        found.append(Block(same, (hypothesis_from, hypothesis_to), (reference_from, reference_to)))
    return found
