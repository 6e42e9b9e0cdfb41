"""`extra_params` of a project -> Parameters: what a person may set per project in Label Studio.

Label Studio stores any JSON there, so the shape is checked where it arrives (/setup answers 400 with all mistakes)
and read leniently where it is used: a project written by an older release must still work.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_backend.errors import InvalidInput
from ml_backend.labelling.controls import SCRIPTS

ANY_SCRIPT = "any"
MAX_TEXT_CHARS = 2000
MAX_HOTWORDS = 200


@dataclass(frozen=True)
class Parameters:
    """Decoding and rendering wishes of one project; None means the setting's default."""

    language: str | None = None
    prompt: str | None = None
    hotwords: tuple[str, ...] = ()
    beam_size: int | None = None
    minimum_confidence: float = 0.0


def read(extra_params: Any) -> Parameters:
    """Parameters of a stored value; a field that is wrong counts as not set."""
    fields, _ = _fields(extra_params if isinstance(extra_params, Mapping) else {})
    return Parameters(**fields)


def accept(extra_params: Any) -> dict[str, Any] | None:
    """The object to store, None when nothing was said; InvalidInput `bad-extra-params` with every mistake."""
    if extra_params is None or extra_params == "":
        return None
    if isinstance(extra_params, str):
        try:
            extra_params = json.loads(extra_params)
        except (ValueError, RecursionError):
            raise _refused(["it is not JSON"]) from None
    if not isinstance(extra_params, dict):
        raise _refused(["it is not an object"])
    _, mistakes = _fields(extra_params)
    try:
        text = json.dumps(extra_params, allow_nan=False)
    except (ValueError, RecursionError):
        raise _refused(["it holds NaN or is nested too deeply"]) from None
    if len(text) > 20 * MAX_TEXT_CHARS:
        mistakes.append(f"it is longer than {20 * MAX_TEXT_CHARS} characters")
    if mistakes:
        raise _refused(mistakes)
    return extra_params


def _fields(params: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(the fields that are right, a sentence for each that is wrong). Unknown names are other people's."""
    found: dict[str, Any] = {}
    mistakes: list[str] = []

    def take(name: str, value: Any, right: bool, wanted: str) -> None:
        if params.get(name) is None:
            return
        if right:
            found[name] = value
        else:
            mistakes.append(f"{name} must be {wanted}")

    language, prompt = params.get("language"), params.get("prompt")
    take("language", language, _is_text(language, 20) and language not in ("auto", ""), "a language code such as hi")
    if language in ("auto", ""):
        mistakes.clear()  # both mean: detect it
    take("prompt", prompt, _is_text(prompt, MAX_TEXT_CHARS), f"text of at most {MAX_TEXT_CHARS} characters")
    hotwords: Any = params.get("hotwords")
    if isinstance(hotwords, str):
        hotwords = [word.strip() for word in hotwords.split(",") if word.strip()]
    words = isinstance(hotwords, list) and len(hotwords) <= MAX_HOTWORDS and all(_is_text(w, 100) for w in hotwords)
    take("hotwords", tuple(hotwords) if words else (), words, f"a list of at most {MAX_HOTWORDS} words")
    if (scripts := params.get("script_policy")) is not None and not _is_policy(scripts):
        mistakes.append(f"script_policy must give each language one of {', '.join((*SCRIPTS, ANY_SCRIPT))}")
    beam = params.get("beam_size")
    take("beam_size", beam, isinstance(beam, int) and not isinstance(beam, bool) and 1 <= beam <= 20, "1 to 20")
    least: Any = params.get("minimum_confidence")
    take("minimum_confidence", least, _is_number(least) and 0 <= least <= 1, "a number from 0 to 1")
    return found, mistakes


def _is_text(value: Any, limit: int) -> bool:
    return isinstance(value, str) and len(value) <= limit and "\x00" not in value


def _is_policy(value: Any) -> bool:
    """Whether every language has a script we know; a misspelt one would let every script through."""
    known = {ANY_SCRIPT, *(word for words in SCRIPTS.values() for word in words)}
    return isinstance(value, Mapping) and all(_is_text(one, 20) and one.casefold() in known for one in value.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refused(mistakes: list[str]) -> InvalidInput:
    return InvalidInput(
        "bad-extra-params",
        "The project's extra parameters cannot be used: " + "; ".join(mistakes) + ".",
        "Correct them in the ML backend's settings in Label Studio.",
    )
