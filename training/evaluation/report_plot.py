"""Verdict -> an SVG: word error rate by slice, before and now, with intervals and the number of words in each slice."""

from __future__ import annotations

import io
from typing import Any

FILE = "slices.svg"
NEEDS = ("matplotlib",)
_APART = 0.14  # of a row, between the two arms and its middle
_BEFORE, _NOW, _WORSE = "#9aa0a6", "#1a73e8", "#d93025"


def svg(
    decided: dict[str, Any], *, better_is_more: bool = False, unit: str = "words",
    axis: str = "wrong words in 100, and where they lie with 95 % confidence",
) -> bytes:  # fmt: skip
    """`decided` is `Verdict.to_json()`. Slices with too few words are drawn pale."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    every = [one for one in (decided["overall"], *decided["slices"]) if one["before"] is not None]
    figure = Figure(figsize=(8, 1.4 + 0.42 * len(every)), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    for place, one in enumerate(every):
        pale = 1.0 if one["enough"] else 0.35
        sound = one["now"] >= one["before"] if better_is_more else one["now"] <= one["before"]
        colour = _NOW if sound else _WORSE
        arms = (("before", -_APART, _BEFORE), ("now", _APART, colour))
        for arm, aside, paint in arms:  # one above the other, so that both are seen where they are the same
            rate = 100 * one[arm]
            axes.plot(
                [rate], [place + aside], "o", color=paint, alpha=pale, zorder=3, gid=f"{arm}-{place}",
                label=arm if not place else None,
            )  # fmt: skip
            between = one.get(f"{arm}_between")
            if between and between[1] < between[2]:
                axes.plot(
                    [100 * between[1], 100 * between[2]], [place + aside] * 2, color=paint, alpha=pale, zorder=2,
                    gid=f"{arm}-between-{place}",
                )  # fmt: skip
    names = ["all" if one["kind"] == "all" else f"{one['kind']}: {one['name']}" for one in every]
    axes.set_yticks(range(len(every)), [f"{n} ({o['words']:,} {unit})" for n, o in zip(names, every, strict=True)])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(axis)
    axes.grid(axis="x", alpha=0.3)
    if every:
        axes.legend(loc="lower right")
    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": FILE, "svg.fonttype": "none"}):  # the same every time, and text stays text
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
