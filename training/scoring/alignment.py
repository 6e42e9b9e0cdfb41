"""Two texts above each other, word by word, for a person to look at: S replaced, D left out, I put in. Pure."""

from __future__ import annotations

import itertools

from rapidfuzz.distance import Levenshtein

_MARKS = {"equal": "", "replace": "S", "delete": "D", "insert": "I"}


def aligned(reference: str, hypothesis: str) -> str:
    """Three lines, REF, HYP and the marks; only the hypothesis where nothing was said."""
    said, heard = reference.split(), hypothesis.split()
    if not said:
        return hypothesis
    columns: list[tuple[str, str, str]] = []
    for step in Levenshtein.opcodes(said, heard):
        old, new = said[step.src_start : step.src_end], heard[step.dest_start : step.dest_end]
        for one, other in itertools.zip_longest(old, new, fillvalue=""):
            columns.append((one or "*" * len(other), other or "*" * len(one), _MARKS[step.tag]))
    lines = (
        " ".join(cell.ljust(max(map(len, column))) for cell, column in zip(row, columns, strict=True))
        for row in zip(*columns, strict=True)
    )
    return "\n".join(f"{head} {line}".rstrip() for head, line in zip(("REF:", "HYP:", "    "), lines, strict=True))
