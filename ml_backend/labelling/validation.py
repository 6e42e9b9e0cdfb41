"""Prediction -> its faults: checks for what Label Studio would store but not show. Pure.

`POST /api/predictions` and an import with tasks validate nothing, and `import/predictions` drops invalid items with
a 201 (Label Studio 1.23.2), so a fault would go unnoticed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from ml_backend.labelling.controls import Choices, Controls


def check(prediction: Mapping[str, Any], controls: Controls) -> list[str]:
    """All faults of an outgoing prediction that Label Studio would store but not show; empty if there are none."""
    faults: list[str] = []
    if not prediction.get("model_version"):
        faults.append("model_version is missing")
    if not is_number(prediction.get("score")) or not 0 <= prediction["score"] <= 1:
        faults.append("score is not a number in 0..1")
    result = prediction.get("result")
    if not isinstance(result, list) or not result:
        return [*faults, "result is empty"]
    regions = {item.get("id"): item for item in result if item.get("type") == "labels"}
    seen: set[tuple[Any, Any]] = set()
    for item in result:
        place = (item.get("id"), item.get("from_name"))
        if place in seen:
            faults.append(f"{place[1]}: two items with one id")
        seen.add(place)
        faults += [f"{str(item.get('from_name'))[:40]}: {fault}" for fault in _item_faults(item, controls, regions)]
    return faults


def _item_faults(item: Mapping[str, Any], controls: Controls, regions: Mapping[Any, Any]) -> list[str]:
    name, value = item.get("from_name"), item.get("value")
    known = {c.name: c for c in (*controls.choices.values(), *controls.other_choices.values())}
    if not isinstance(value, dict) or not item.get("id"):
        return ["no value or no id"]
    if item.get("to_name") != controls.audio:
        return [f"to_name is not {controls.audio}"]
    if controls.text and name == controls.text.name:
        return _text_faults(item, value, controls, regions)
    regions_by = {**controls.other_labels, **({controls.labels.name: controls.labels} if controls.labels else {})}
    if name in regions_by:
        chosen = value.get("labels")
        fits = _are_options(chosen, regions_by[name].options) and (len(chosen) == 1 or regions_by[name].multiple)
        wrong = item.get("type") != "labels" or not fits
        return [*_place_faults(value), *(["labels not in the config"] if wrong else [])]
    if name in known:
        return _choice_faults(item, value, known[name])
    return ["no such control in the config"]


def _text_faults(
    item: Mapping[str, Any], value: Mapping[str, Any], controls: Controls, regions: Mapping[Any, Any]
) -> list[str]:
    faults = []
    texts = value.get("text")
    if item.get("type") != "textarea" or not isinstance(texts, list) or len(texts) != 1:
        faults.append("text is not one string in a list")
    elif not isinstance(texts[0], str) or not texts[0].strip():
        faults.append("text is empty")
    if controls.by_regions:
        region = regions.get(item.get("id"))
        if region is None or any(region["value"].get(k) != value.get(k) for k in ("start", "end", "channel")):
            faults.append("text without its region")
        faults += _place_faults(value)
    elif "start" in value or "end" in value:
        faults.append("times on a text for the whole file")
    return faults


def _place_faults(value: Mapping[str, Any]) -> list[str]:
    start, end, channel = value.get("start"), value.get("end"), value.get("channel")
    if not is_number(start) or not is_number(end) or not 0 <= start < end:
        return ["times are not 0 <= start < end"]
    if not isinstance(channel, int) or isinstance(channel, bool) or channel < 0:
        return ["channel is not a whole number"]
    return []


def _choice_faults(item: Mapping[str, Any], value: Mapping[str, Any], choices: Choices) -> list[str]:
    chosen = value.get("choices")
    if item.get("type") != "choices" or not _are_options(chosen, choices.options):
        return ["choice not in the config"]
    return ["several choices where one is allowed"] if len(chosen) > 1 and not choices.multiple else []


def _are_options(chosen: Any, options: Sequence[str]) -> TypeGuard[list[str]]:
    return isinstance(chosen, list) and bool(chosen) and all(c in options for c in chosen)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite number; JSON's true is not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
