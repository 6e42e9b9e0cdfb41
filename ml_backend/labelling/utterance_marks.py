"""One utterance <-> the result of a Label Studio task: entities as spans of its text, and choices. Pure.

Label Studio counts characters of a text as Python does: its editor splits the text into code points (read in the source
of 1.23.2), so a span behind an emoji has the same offsets on both sides. Results of tools that count UTF-16 units are
recognised by the text that a span states, and converted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ml_backend.labelling.reference import clean

TEXT, ENTITIES, INTENT, LANGUAGE = "text", "entities", "intent", "language"  # names of the controls of `nlu`
VERDICT, OUT_OF_SCOPE, COMMENTS = "verdict", "out_of_scope", "comments"
UNUSABLE = "unusable"  # the verdict on an utterance that nobody should learn from
CORRECTION = "correction"  # the source of an utterance that annotations made; people are asked about the others
HUMAN = "human"  # the source of one that a person wrote
WAITING = "waiting"  # the state of one that teaches nothing until a person has said what it means
NONE_OF_THESE = "none_of_these"  # the intent of what no model of these intents should answer, and its choice


@dataclass(frozen=True)
class MarkedUtterance:
    """What an annotator, or a model, says of one utterance."""

    intent: str | None = None
    entities: tuple[dict[str, Any], ...] = ()
    language: str | None = None
    verdict: str | None = None
    out_of_scope: bool = False
    comments: str = ""
    problems: tuple[str, ...] = ()


def to_result(text: str, marked: MarkedUtterance, *, score: float | None = None) -> list[dict[str, Any]]:
    """A draft's `result`: one item for each choice and each entity."""
    items = []
    scope = NONE_OF_THESE if marked.out_of_scope else None
    chosen = ((INTENT, marked.intent), (OUT_OF_SCOPE, scope), (LANGUAGE, marked.language))
    for name, value in chosen:
        if value:
            items.append(_item(name, name, "choices", {"choices": [value]}, score))
    for number, each in enumerate(marked.entities):
        start, end = each["start"], each["end"]
        marks = {"start": start, "end": end, "text": text[start:end], "labels": [each["entity"]]}
        items.append(_item(f"{ENTITIES}-{number}", ENTITIES, "labels", marks, score))
    return items


def _item(name: str, control: str, kind: str, value: dict[str, Any], score: float | None) -> dict[str, Any]:
    item = {"id": name, "from_name": control, "to_name": TEXT, "type": kind, "value": value}
    return item if score is None else {**item, "score": score}


def to_utterance(result: Any, text: str) -> MarkedUtterance:
    """Read an annotation's `result`. Invalid items are listed, and valid ones kept."""
    problems: list[str] = []
    chosen: dict[str, str] = {}
    spans: list[dict[str, Any]] = []
    comments = ""
    for number, item in enumerate(result if isinstance(result, list) else ()):
        value = item.get("value") if isinstance(item, Mapping) else None
        if not isinstance(value, Mapping):
            problems.append(f"item {number} has no value")
        elif item.get("type") == "choices":
            if options := _strings(value.get("choices")):
                chosen[str(item.get("from_name"))] = options[0]
        elif item.get("type") == "labels":
            place = span(text, value.get("start"), value.get("end"), value.get("text"))
            labels = _strings(value.get("labels"))
            if place is None or not labels:
                problems.append(f"item {number} marks no part of the text")
                continue
            start, end = place
            spans.append({"entity": labels[0], "start": start, "end": end, "value": text[start:end]})
        elif item.get("type") == "textarea":
            comments = "\n".join(filter(None, (clean(each) for each in _strings(value.get("text")))))
    kept: list[dict[str, Any]] = []
    for one in sorted(spans, key=lambda each: (each["start"], -each["end"])):
        if kept and one["start"] < kept[-1]["end"]:
            problems.append(f"the mark {one['entity'][:40]!r} overlaps another one")
        else:
            kept.append(one)
    return MarkedUtterance(
        intent=chosen.get(INTENT), entities=tuple(kept), language=chosen.get(LANGUAGE), verdict=chosen.get(VERDICT),
        out_of_scope=OUT_OF_SCOPE in chosen, comments=comments, problems=tuple(problems),
    )  # fmt: skip


def said_of(marked: MarkedUtterance) -> frozenset[tuple[Any, ...]]:
    """What an answer says, as a set that can be compared: its intent, its language and each entity with its place.

    Of the verdicts only that it is unusable: a draft has none, and whether it was right is what is compared.
    """
    intent = NONE_OF_THESE if marked.out_of_scope else marked.intent
    unusable = UNUSABLE if marked.verdict == UNUSABLE else None
    named = ((INTENT, intent), (LANGUAGE, marked.language), (VERDICT, unusable))
    spans = ((ENTITIES, each["start"], each["end"], each["entity"]) for each in marked.entities)
    return frozenset([*(each for each in named if each[1]), *spans])


def same_answer(result: Any, other: Any, text: str) -> bool:
    """Whether two results say the same of a text."""
    return said_of(to_utterance(result, text)) == said_of(to_utterance(other, text))


def span(text: str, start: Any, end: Any, stated: Any = None) -> tuple[int, int] | None:
    """A span as offsets in characters, without blanks at its ends; None where it encloses nothing of the text.

    `stated` is what the span encloses, as its maker says: it decides between characters and UTF-16 units.
    """
    if not (_is_whole(start) and _is_whole(end)):
        return None
    place = (start, end)
    if isinstance(stated, str) and stated and text[max(0, start) : max(0, end)].strip() != stated.strip():
        units = from_utf16(text, start, end)
        if units is not None and text[slice(*units)].strip() == stated.strip():
            place = units
    begin, finish = place
    if not 0 <= begin < finish <= len(text):
        return None
    while begin < finish and text[begin].isspace():
        begin += 1
    while finish > begin and text[finish - 1].isspace():
        finish -= 1
    return (begin, finish) if begin < finish else None


def from_utf16(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Offsets in UTF-16 units, as browsers and Java count, as offsets in characters."""
    units, places = 0, {}
    for place, letter in enumerate(text):
        places[units] = place
        units += 2 if ord(letter) > 0xFFFF else 1
    places[units] = len(text)
    return (places[start], places[end]) if start in places and end in places else None


def digest(text: str, intent: str | None, entities: Iterable[Any], language: str | None) -> str:
    """The identity of an utterance's content."""
    spans = sorted((each["start"], each["end"], each["entity"]) for each in entities)
    return hashlib.sha256(orjson.dumps([text, intent, spans, language])).hexdigest()


def _strings(value: Any) -> Sequence[str]:
    return [each for each in value if isinstance(each, str) and each] if isinstance(value, list) else []


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
