"""Verdict -> an SVG: word error rate by slice, before and now, with how many words each stands on."""

from __future__ import annotations

import io
from typing import Any

FILE = "slices.svg"
NEEDS = ("matplotlib",)
_BEFORE, _NOW, _WORSE = "#9aa0a6", "#1a73e8", "#d93025"


def svg(decided: dict[str, Any]) -> bytes:
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
        before, now = 100 * one["before"], 100 * one["now"]
        axes.plot([before, now], [place, place], color=_NOW if now <= before else _WORSE, alpha=pale, zorder=1)
        axes.scatter([before], [place], color=_BEFORE, alpha=pale, zorder=2, label="before" if not place else None)
        colour = _NOW if now <= before else _WORSE
        axes.scatter([now], [place], color=colour, alpha=pale, zorder=3, label="now" if not place else None)
    names = ["all" if one["kind"] == "all" else f"{one['kind']}: {one['name']}" for one in every]
    axes.set_yticks(range(len(every)), [f"{n} ({o['words']:,} words)" for n, o in zip(names, every, strict=True)])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("wrong words in 100")
    axes.grid(axis="x", alpha=0.3)
    if every:
        axes.legend(loc="lower right")
    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": FILE, "svg.fonttype": "none"}):  # the same every time, and text stays text
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
