"""Lines of kind nlu -> the columns of Hugging Face datasets, and Rasa's YAML.

Columns: `intent` is a ClassLabel, `tokens` are words and signs, `ner_tags` their BIO tags as ClassLabels. A token never
reaches across the border of an entity, so the tags say exactly what the spans say.

Rasa marks an entity as `[value](name)` inside the example and has no escape for these signs. So an example whose own
words would be read as such a mark cannot be written: it is left out, and its id is returned.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Any

COLUMNS = (  # name in the file, name in the manifest, type
    ("id", "id", "string"),
    ("text", "text", "string"),
    ("intent", "intent", "label"),
    ("tokens", "tokens", "strings"),
    ("ner_tags", "ner_tags", "labels"),
    ("language", "language", "string"),
    ("script", "script", "string"),
    ("family", "family", "string"),
    ("wording", "wording", "string"),
    ("checked", "checked", "bool"),
    ("source", "source", "string"),
    ("caller", "caller", "string"),
    ("project_id", "project_id", "int64"),
    ("task_id", "task_id", "int64"),
    ("annotation_id", "annotation_id", "int64"),
    ("model_version", "model_version", "string"),
    ("consent_purpose", "consent_purpose", "string"),
)
_MARK = re.compile(r"\[[^\]]+?\](?:\([^:)]+?(?::[^)]+)?\)|\{[^}]+?\}|\[.*?\])")  # what Rasa reads as an entity
_PLAIN_NAME = re.compile(r"[^\[\](){}:\"\\\n]+")


@dataclass(frozen=True)
class TagNames:
    """The names behind the numbers of both ClassLabels."""

    intents: tuple[str, ...]
    tags: tuple[str, ...]

    @classmethod
    def of(cls, lines: Iterable[dict[str, Any]]) -> TagNames:
        """Of all lines of a dataset, in alphabetical order; O is 0."""
        intents, entities = set[str](), set[str]()
        for line in lines:
            intents.add(line["intent"])
            entities.update(each["entity"] for each in line["entities"])
        tags = ("O", *(f"{mark}-{name}" for name in sorted(entities) for mark in "BI"))
        return cls(tuple(sorted(intents)), tags)

    def features(self) -> dict[str, Any]:
        """What goes into the Parquet file's metadata under `huggingface`, `info`, `features`."""
        plain = {"string": "string", "bool": "bool", "int64": "int64"}
        found: dict[str, Any] = {}
        for name, _, kind in COLUMNS:
            if kind == "label":
                found[name] = {"names": list(self.intents), "_type": "ClassLabel"}
            elif kind == "labels":
                found[name] = {"feature": {"names": list(self.tags), "_type": "ClassLabel"}, "_type": "List"}
            elif kind == "strings":
                found[name] = {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
            else:
                found[name] = {"dtype": plain[kind], "_type": "Value"}
        return found

    def columns(self, line: dict[str, Any]) -> dict[str, Any]:
        """One row of the file."""
        tokens, tags = tagged(line["text"], line["entities"])
        numbers = {name: number for number, name in enumerate(self.tags)}
        made = {
            **line, "intent": self.intents.index(line["intent"]), "tokens": [text for text, _, _ in tokens],
            "ner_tags": [numbers[tag] for tag in tags],
        }  # fmt: skip
        return {name: made.get(key) for name, key, _ in COLUMNS}


def tokens_of(text: str, borders: Iterable[int] = ()) -> list[tuple[str, int, int]]:
    """(token, start, end): runs of letters, marks and digits, and every other sign by itself; cut at `borders`.

    Vowel signs and joiners belong to their word: `\\w` of regular expressions would cut Devanagari into pieces.
    """
    cuts = set(borders)
    found: list[tuple[str, int, int]] = []
    start: int | None = None
    for place, letter in enumerate(text):
        inside = unicodedata.category(letter)[0] in "LMN" or letter in "\u200c\u200d_"
        if start is not None and (not inside or place in cuts):
            found.append((text[start:place], start, place))
            start = None
        if inside:
            start = place if start is None else start
        elif not letter.isspace():
            found.append((letter, place, place + 1))
    if start is not None:
        found.append((text[start:], start, len(text)))
    return found


def tagged(text: str, entities: Sequence[Any]) -> tuple[list[tuple[str, int, int]], list[str]]:
    """The tokens of a text and their BIO tags."""
    borders = [place for each in entities for place in (each["start"], each["end"])]
    tokens = tokens_of(text, borders)
    tags = []
    for _, start, end in tokens:
        inside = next((one for one in entities if one["start"] <= start and end <= one["end"]), None)
        first = inside is not None and not text[inside["start"] : start].strip()
        tags.append("O" if inside is None else f"{'B' if first else 'I'}-{inside['entity']}")
    return tokens, tags


def write_rasa(lines: Iterable[dict[str, Any]], stream: IO[str]) -> list[str]:
    """Rasa's `nlu.yml`, intents in alphabetical order; returns the ids of lines that it cannot hold."""
    of_intent: defaultdict[str, list[str]] = defaultdict(list)
    left_out = []
    for line in lines:
        example = rasa_example(line["text"], line["entities"])
        if example is None:
            left_out.append(line["id"])
        else:
            of_intent[line["intent"]].append(example)
    stream.write('version: "3.1"\n\nnlu:\n' if of_intent else 'version: "3.1"\n\nnlu: []\n')
    for intent in sorted(of_intent):
        stream.write(f"- intent: {json.dumps(intent, ensure_ascii=False)}\n  examples: |\n")
        stream.writelines(f"    - {example}\n" for example in of_intent[intent])
    return left_out


def rasa_example(text: str, entities: Sequence[Any]) -> str | None:
    """The text with its entities marked; None where Rasa would read something else."""
    parts, at = [], 0
    for each in sorted(entities, key=lambda one: one["start"]):
        parts += [text[at : each["start"]], _marked(text[each["start"] : each["end"]], each["entity"])]
        at = each["end"]
    marked = "".join([*parts, text[at:]])
    if _read_back(marked) != (text, [(each["start"], each["end"], each["entity"]) for each in
                                     sorted(entities, key=lambda one: one["start"])]):  # fmt: skip
        return None
    return marked


def _marked(value: str, entity: str) -> str:
    if _PLAIN_NAME.fullmatch(entity):
        return f"[{value}]({entity})"
    return f"[{value}]{json.dumps({'entity': entity}, ensure_ascii=False)}"


def _read_back(example: str) -> tuple[str, list[tuple[int, int, str]]]:
    """The text and spans that Rasa finds in an example."""
    text, spans, at = "", [], 0
    for found in _MARK.finditer(example):
        value, _, rest = found[0][1:].partition("]")
        text += example[at : found.start()]
        name = rest[1:-1]
        if rest.startswith("{"):
            try:
                name = json.loads(rest)["entity"]
            except (ValueError, KeyError, TypeError):
                name = ""
        spans.append((len(text), len(text) + len(value), name if rest[0] in "({" else ""))
        text, at = text + value, found.end()
    return text + example[at:], spans
