"""How loud a channel is over its length <-> one letter for each part. Without numpy, because the page draws it.

A letter stands for a level between -60 and 0 dBFS in 62 steps, so a recording of any length takes as many bytes as it
has parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

PARTS = 240
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANK = {letter: place / (len(_LETTERS) - 1) for place, letter in enumerate(_LETTERS)}
_LEAST_DBFS = -60.0


def levels(powers: Iterable[float]) -> str:
    """Mean powers (1.0 is full scale) as letters."""
    return "".join(_LETTERS[round(_height(power) * (len(_LETTERS) - 1))] for power in powers)


def heights(text: str) -> list[float]:
    """Letters as heights from 0 (-60 dBFS or less) to 1 (full scale); an unknown letter is silence."""
    return [_RANK.get(letter, 0.0) for letter in text]


def _height(power: float) -> float:
    decibels = 10 * math.log10(power) if power > 0 else _LEAST_DBFS
    return min(1.0, max(0.0, 1 - decibels / _LEAST_DBFS))


def outline(text: str, *, width: float, height: float, top: float = 0.0) -> str:
    """The letters as the points of an SVG polygon: above and below the middle of a band from `top` on."""
    found = heights(text)
    if not found:
        return ""
    middle, step = top + height / 2, width / len(found)
    above = [(place * step, middle - max(0.4, each * height / 2)) for place, each in enumerate(found)]
    below = [(x, 2 * middle - y) for x, y in reversed(above)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in (*above, *below))
