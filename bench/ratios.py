"""Two ways of doing the same, side by side: alternated, CPU seconds, medians, an A-A control that can void the row."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MOST_DRIFT = 0.05  # the same side measured twice may differ by this much; beyond it the row proves nothing


def row(
    name: str,
    pairs: list[tuple[float, float]],
    control: list[tuple[float, float]],
    *,
    target: float,
    at_least: bool,
    **more: Any,
) -> dict[str, Any]:
    """One line of the table: the median of B over the median of A, its spread over the rounds, the control."""
    ratio = _median(1, pairs) / _median(0, pairs)
    same = _median(1, control) / _median(0, control)
    each = sorted(b / a for a, b in pairs)
    return {
        "name": name,
        "value": round(ratio, 3),
        "target": f"{'>=' if at_least else '<='} {target}",
        "met": bool(ratio >= target if at_least else ratio <= target),
        "spread": [round(each[0], 3), round(each[-1], 3)],
        "control": round(same, 3),
        "void": abs(same - 1) > MOST_DRIFT,
        "rounds": len(pairs),
        **more,
    }


def alternate(a: Callable[[], float], b: Callable[[], float], *, rounds: int) -> list[tuple[float, float]]:
    """(A, B) of each round, in turn, so that what the machine does meanwhile meets both."""
    return [(a(), b()) for _ in range(rounds)]


def own_cpu_s(work: Callable[[], Any], *, child: int | None = None) -> float:
    """CPU seconds of this process for `work`, and of a child process (its own children included) where one helps."""
    before = time.process_time() + (_tree_cpu_s(child) if child else 0.0)
    work()
    return time.process_time() + (_tree_cpu_s(child) if child else 0.0) - before


def _tree_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(value) for value in fields[11:15]) / _TICKS_PER_S


def _median(side: int, pairs: list[tuple[float, float]]) -> float:
    return statistics.median(pair[side] for pair in pairs)
