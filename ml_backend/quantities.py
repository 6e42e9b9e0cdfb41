"""Numbers -> text, in the unit with the most readable digits. Pure."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """`8.5 s`, `34 s`, `1.2 min`, `12.3 h`: never 0.02 h, which is a minute or nothing at all."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if 0 < seconds < 9.95 else f"{seconds:.0f} s"
    if seconds < 3597:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:,.1f} h"


def rough_duration(seconds: float) -> str:
    """`12 s`, `3 min`, `5 h`, `2 d`: how long something waits or lasts, in its largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 row`, `1,234 rows`, `1 person`, `2 people`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def between(interval: tuple[float, ...] | list[float] | None, *, sign: bool = False) -> str:
    """A rate's interval (value, low, high) as `3.1 % and 5.0 %`; one of no width says nothing: too few to say."""
    if interval is None or interval[1] == interval[2]:
        return TOO_FEW
    low, high = (f"{100 * each:{'+' if sign else ''}.1f}" for each in interval[1:3])
    return f"{low} and {high}" if sign else f"{low} % and {high} %"


TOO_FEW = "too few to say"


def shortened(text: str, most: int) -> str:
    """A foreign sentence in at most so many characters, cut at a word and marked: `could not be …`."""
    plain = " ".join(text.split())
    if len(plain) <= most:
        return plain
    kept = plain[: most - 1]
    if not plain[most - 1].isspace() and " " in kept:
        kept = kept[: kept.rindex(" ")]
    return f"{kept.rstrip(' ,;:.(')} …" if " " in plain[:most] else f"{kept}…"
