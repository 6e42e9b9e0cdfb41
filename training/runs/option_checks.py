"""The options of a trainer of any kind -> checked: types as their defaults, numbers in their ranges, no unknown name.

A trainer's options are one frozen dataclass, whose defaults give the types; `OptionRules` gives the rest.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from ml_backend.errors import InvalidInput

_MOST_NAMED = 6
_LONGEST_TEXT = 500
Options = TypeVar("Options")


@dataclass(frozen=True)
class OptionRules:
    """`shares` lie in 0..1; `listing` is the next step of an error: where all options are listed."""

    listing: str
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    shares: Sequence[str] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def require(options: Any, rules: OptionRules, *, also: Sequence[str] = ()) -> None:
    """Raises InvalidInput that lists every mistake at once. `also`: what the kind itself found wrong."""
    wrong = [sentence for sentence in (_complaint(options, each.name, rules) for each in fields(options)) if sentence]
    if found := [*wrong, *also]:
        raise InvalidInput("training-arguments", f"{'; '.join(found[:_MOST_NAMED])}.", rules.listing)


def made(kind: type[Options], raw: Mapping[str, Any], rules: OptionRules) -> Options:
    """Refuses unknown names: a misspelt option would silently be the default."""
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    for name in raw:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InvalidInput("training-arguments", f"There is no training option {name[:40]!r}{hint}.", rules.listing)
    return kind(**raw)


def _complaint(options: Any, name: str, rules: OptionRules) -> str:
    value, default = getattr(options, name), type(options).__dataclass_fields__[name].default
    if isinstance(default, bool) or isinstance(value, bool):
        return "" if isinstance(default, bool) and isinstance(value, bool) else f"{name} must be {_kind(default)}"
    if isinstance(default, str):
        if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
            return f"{name} must be text"
        known = rules.choices.get(name, (value,))
        return f"{name} must be one of {', '.join(known)}" if value not in known else ""
    if not isinstance(value, int if isinstance(default, int) else (int, float)) or value != value:
        return f"{name} must be {_kind(default)}"
    low, high = (0, 1) if name in rules.shares else rules.ranges.get(name, (value, value))
    return "" if low <= value <= high else f"{name} must be between {low} and {high}"


def _kind(default: object) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[type(default)]
