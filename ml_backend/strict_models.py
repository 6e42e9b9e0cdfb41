"""Typed JSON -> a pydantic model that lists every mistake at once.

The same model reads stored values. An older release may have accepted a value that is invalid now, so an invalid field
counts as not set (`readable`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class Checked(BaseModel):
    """Types are exact (no "7" for 7, no true for 1), numbers are finite, values cannot be changed."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=Checked)


def parse(text: str) -> Any:
    """JSON as a person typed it; ValueError for what is none."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def mistakes(error: ValidationError, names: Mapping[str, Any]) -> list[str]:
    """One short phrase for each field that is wrong: what it must be, from its description; unknown names."""
    found: dict[str, str] = {}
    for each in error.errors():
        name = str(each["loc"][0])[:40] if each["loc"] else ""
        if each["type"] == "extra_forbidden":
            found[name] = f"there is no {name!r} (known: {', '.join(names)})"
        elif not name:
            found[name] = str(each["msg"]).removeprefix("Value error, ")
        else:
            wanted = getattr(names.get(name), "description", None)
            found.setdefault(name, f"{name} must be {wanted}" if wanted else f"{name} is wrong")
    return list(found.values())


def readable(model: type[Model], stored: Any) -> Model:
    """What was stored, without the fields that are wrong."""
    given = {str(name): value for name, value in stored.items()} if isinstance(stored, Mapping) else {}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        wrong = {str(each["loc"][0]) for each in error.errors() if each["loc"]}
        right = {name: value for name, value in given.items() if name not in wrong}
        return model.model_validate(right if wrong else {})
