"""Seed -> labelled utterances of a domain, as a table of people's and of generated rows has them.

A wording is one line of a domain; a person said it once or twice (`human`, checked), and a generator reworded that
(`auto`: other values, fillers, a slip of the finger), naming the row it rewords. All of one wording are one family.
Wordings are held out whole: the last of each intent and way for the test, the one before for validation. Marathi has
too few for that: its last is in the test.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from training.demo_intents.shop_sentences import AFTER, BEFORE, CLINIC, SHOP, SLOTS

DOMAINS = {"shop": SHOP, "clinic": CLINIC}
TRAIN, VALIDATION, TEST = "train", "validation", "test"
_SLOT = re.compile(r"\{(\w+)\}")
_DIGITS = str.maketrans("0123456789", "०१२३४५६७८९")
_FILLED, _SLIPS = 0.5, 0.15  # chance of a filler on either side; of a slip in an auto row


@dataclass(frozen=True)
class LabelledUtterance:
    """`source` is human or auto; `parent` the id of the row that an auto row rewords."""

    id: str
    text: str
    intent: str
    language: str
    script: str
    family: str
    split: str
    source: str
    entities: tuple[dict[str, Any], ...] = ()
    parent: str | None = None

    def to_json(self, *, part: str = "new") -> dict[str, Any]:
        """A line of a run's rows.jsonl."""
        return {
            "id": self.id, "text": self.text, "intent": self.intent, "entities": list(self.entities),
            "language": self.language, "script": self.script, "family": self.family,
            "checked": self.source == "human", "split": self.split, "part": part,
        }  # fmt: skip


@dataclass(frozen=True)
class Wording:
    intent: str
    way: str
    template: str
    family: str
    split: str


def utterances(domain: str, *, seed: int, human: int = 4, auto: int = 6) -> list[LabelledUtterance]:
    """Every wording of the domain as people say it, `human` times where it is held out and half as often where it is
    trained on, where it is also reworded `auto` times. No text stands twice."""
    found = []
    for wording in wordings(domain):
        rng = random.Random(f"{seed} {wording.family}")
        times = human // 2 if wording.split == TRAIN else human
        people = [_said(wording, rng, number) for number in range(times)]
        found += people
        if wording.split == TRAIN and people:
            found += [_reworded(wording, rng, people[0], number) for number in range(auto)]
    return list({row.text: row for row in reversed(found)}.values())[::-1]


def wordings(domain: str) -> Iterator[Wording]:
    intent = way = ""
    lines = re.sub(r"/\n\s+", "/ ", DOMAINS[domain]).strip().splitlines()
    for line in lines:
        way, separator, rest = line.partition(": ")
        if not separator:
            intent = line.strip()
            continue
        templates = [each.strip() for each in rest.split(" / ")]
        for number, template in enumerate(templates):
            family = f"{domain}-{intent}-{way}-{number}"
            yield Wording(intent, way, template, family, _split(way, number, len(templates)))


def _split(way: str, number: int, count: int) -> str:
    if number == count - 1:
        return TEST
    return VALIDATION if number == count - 2 and way != "mr" else TRAIN


def _said(wording: Wording, rng: random.Random, number: int) -> LabelledUtterance:
    """The first as it is written, the others perhaps with a filler."""
    text, entities = filled(wording.template, wording.way, rng)
    if number:
        text, entities = _with_fillers(wording.way, text, entities, rng)
    return _row(wording, f"{wording.family}-h{number}", text, entities, "human", None)


def _reworded(wording: Wording, rng: random.Random, parent: LabelledUtterance, number: int) -> LabelledUtterance:
    """Other values, perhaps fillers, perhaps two letters swapped outside the entities."""
    text, entities = filled(wording.template, wording.way, rng)
    if rng.random() < _SLIPS:
        text = _slipped(text, entities, rng)
    text, entities = _with_fillers(wording.way, text, entities, rng)
    return _row(wording, f"{wording.family}-a{number}", text, entities, "auto", parent.id)


def _with_fillers(
    way: str, text: str, entities: list[dict[str, Any]], rng: random.Random
) -> tuple[str, list[dict[str, Any]]]:
    if rng.random() < _FILLED:
        before = rng.choice(BEFORE[way].split(", ")) + " "
        text, entities = before + text, _moved(entities, len(before))
    if rng.random() < _FILLED:
        text += " " + rng.choice(AFTER[way].split(", "))
    return text, entities


def filled(template: str, way: str, rng: random.Random) -> tuple[str, list[dict[str, Any]]]:
    """The template with values in its slots, and where they are."""
    text, entities, at = "", [], 0
    for slot in _SLOT.finditer(template):
        text += template[at : slot.start()]
        value = _value(slot.group(1), way, rng)
        entities.append({"entity": slot.group(1), "start": len(text), "end": len(text) + len(value), "value": value})
        text += value
        at = slot.end()
    return text + template[at:], entities


def _value(slot: str, way: str, rng: random.Random) -> str:
    script = "Latn" if way in ("en", "hi-Latn") else "Deva"
    rupees = rng.choice([99, 149, 250, 500, 799, 1200, 2500, 4999])
    form = rng.choice(SLOTS[slot][script].split(", "))
    number = str(rng.randint(1000, 99999))
    return form.format(n=number, d=number.translate(_DIGITS), r=rupees, x=str(rupees).translate(_DIGITS))


def _slipped(text: str, entities: list[dict[str, Any]], rng: random.Random) -> str:
    """Two neighbouring Roman letters swapped: offsets stay as they are."""
    places = [
        n for n in range(len(text) - 1)
        if text[n : n + 2].isascii() and text[n : n + 2].isalpha()
        and not any(each["start"] - 1 <= n <= each["end"] for each in entities)
    ]  # fmt: skip
    if not places:
        return text
    at = rng.choice(places)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _moved(entities: list[dict[str, Any]], by: int) -> list[dict[str, Any]]:
    return [{**each, "start": each["start"] + by, "end": each["end"] + by} for each in entities]


def _row(
    wording: Wording, name: str, text: str, entities: list[dict[str, Any]], source: str, parent: str | None
) -> LabelledUtterance:
    language, script = wording.way.partition("-")[0], "Latn" if wording.way in ("en", "hi-Latn") else "Deva"
    return LabelledUtterance(
        name, text, wording.intent, language, script, wording.family, wording.split, source, tuple(entities), parent
    )
