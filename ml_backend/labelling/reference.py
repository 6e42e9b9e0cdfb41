"""Annotation result -> Reference: the text and choices of an annotator. Pure; the inverse of `rendering`.

Invalid regions are listed one by one, valid ones are kept. Texts are stripped, because the editor leaves a trailing
newline after Enter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_backend.labelling.controls import Choices, Controls
from ml_backend.labelling.validation import is_number
from ml_backend.languages import LANGUAGE_NAMES, SCRIPT_NAMES

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z]{2,3})?")


@dataclass(frozen=True)
class Region:
    """One region of audio in an annotation."""

    start_s: float
    end_s: float
    channel: int
    text: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reference:
    """The text and choices of an annotator. `language` and `script` are codes if the option is known (hi, Deva)."""

    text: str
    segments: tuple[Region, ...] = ()
    language: str | None = None
    script: str | None = None
    quality: str | None = None
    accent: str | None = None
    emotion: str | None = None
    redraft: str | None = None  # the language of a requested new draft; the rest is then not a reference
    reject: tuple[str, ...] = ()
    choices: tuple[tuple[str, tuple[str, ...]], ...] = ()  # every choice made, by control name
    problems: tuple[str, ...] = ()


def to_reference(result: Any, controls: Controls) -> Reference:
    """Convert an annotation's `result`; regions are in time order."""
    problems: list[str] = []
    places: dict[str, tuple[float, float, int]] = {}
    labels: dict[str, tuple[str, ...]] = {}
    texts: dict[str, str] = {}
    whole: list[str] = []
    chosen: dict[str, tuple[str, ...]] = {}
    if not isinstance(result, list):
        result, problems = [], ["the result is not a list"]
    for number, item in enumerate(result):
        value = item.get("value") if isinstance(item, dict) else None
        if not isinstance(value, dict):
            problems.append(f"item {number} has no value")
            continue
        if controls.rates and item.get("to_name") != controls.audio:
            continue  # a marked word of the spoken text is not a region of audio
        kind, item_id = item.get("type"), str(item.get("id", number))
        if "start" in value or "end" in value:
            place = _read_place(value)
            if place is None:
                problems.append(f"item {number} has impossible times")
                continue
            places.setdefault(item_id, place)
        if kind == "labels":
            labels[item_id] = (*labels.get(item_id, ()), *_strings(value.get("labels")))
        elif kind == "choices" and item_id not in places:
            chosen[str(item.get("from_name"))] = _strings(value.get("choices"))
        elif kind == "textarea" and controls.text and item.get("from_name") == controls.text.name:
            text = " ".join(filter(None, (clean(t) for t in _strings(value.get("text")))))
            if item_id in places:
                texts[item_id] = text
            elif text:
                whole.append(text)
    regions = tuple(
        Region(start_s, end_s, channel, texts.get(item_id, ""), labels.get(item_id, ()))
        for item_id, (start_s, end_s, channel) in sorted(places.items(), key=lambda entry: entry[1][0])
    )
    spoken = " ".join(filter(None, (*whole, *(region.text for region in regions))))
    return _reference(spoken, regions, chosen, controls, problems)


def _reference(
    text: str,
    regions: tuple[Region, ...],
    chosen: dict[str, tuple[str, ...]],
    controls: Controls,
    problems: list[str],
) -> Reference:
    def of(role: str) -> tuple[str, ...]:
        choices = controls.choices.get(role)
        return chosen.get(choices.name, ()) if choices else ()

    def first(role: str) -> str | None:
        return next(iter(of(role)), None)

    return Reference(
        text=text,
        segments=regions,
        language=_code(first("language"), controls.choices.get("language"), LANGUAGE_NAMES),
        script=_code(first("script"), controls.choices.get("script"), SCRIPT_NAMES),
        quality=first("quality"),
        accent=first("accent"),
        emotion=first("emotion"),
        redraft=_language(_code(first("redraft"), controls.choices.get("redraft"), LANGUAGE_NAMES)),
        reject=of("reject"),
        choices=tuple(chosen.items()),
        problems=tuple(problems),
    )


def _code(option: str | None, choices: Choices | None, known: Mapping[str, tuple[str, ...]]) -> str | None:
    """The code of an option; the option itself if it is unknown."""
    if option is None or choices is None:
        return option
    return next((code for code, words in known.items() if choices.option(*words) == option), option)


def _language(code: str | None) -> str | None:
    """The code if it is a language's, else None: other options request no draft."""
    return code if code and _LANGUAGE.fullmatch(code) else None


def _read_place(value: Mapping[str, Any]) -> tuple[float, float, int] | None:
    start, end, channel = value.get("start"), value.get("end"), value.get("channel", 0)
    if not is_number(start) or not is_number(end) or not 0 <= start < end:
        return None
    return float(start), float(end), channel if isinstance(channel, int) and channel >= 0 else 0


def _strings(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()


def clean(text: str) -> str:
    """Remove what databases and JSON cannot hold: control characters and lone surrogates."""
    if not text.isprintable():
        text = "".join(c for c in text if c in "\n\t" or not (ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or _half(c)))
    return text.strip()


def _half(character: str) -> bool:
    return 0xD800 <= ord(character) <= 0xDFFF
