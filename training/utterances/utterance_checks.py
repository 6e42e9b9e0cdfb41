"""One row of a table or file -> an utterance, or the reason why it is left out. Pure.

Offsets count characters, as Python does. Other programs count UTF-16 units, and spreadsheets trim texts. So a span is
accepted where its value is found at its offsets, and corrected where the value occurs exactly once elsewhere.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ml_backend import languages
from ml_backend.labelling.utterance_marks import digest, from_utf16
from ml_backend.languages import LANGUAGES, code_of
from training.samples.language_policy import script
from training.text.language_of_text import language_of
from training.utterances.label_names import LabelNames

HUMAN, AUTO, CALL, CORRECTION = "human", "auto", "call", "correction"
SOURCES = (HUMAN, AUTO, CALL, CORRECTION)
MAX_CHARS = 1000  # of a text: one utterance, not a conversation
MAX_NAME = 120
_MAX_ENTITIES = 50
_APPROVED, _REJECTED, _UNREVIEWED = "approved", "rejected", "unreviewed"
_MARKUP = re.compile(r"<[A-Za-z/!][^<>]*>|&(?:[a-z]{2,8}|#\d{1,6}|#x[0-9a-f]{1,5});", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_BLANKS = re.compile(r"[\t\n\v\f\r\u0085\u00a0\u2028\u2029]")  # one character each, so that offsets stay

REASONS = (
    ("row-unreadable", "The row cannot be read. Correct its quotes, brackets or encoding in the source."),
    ("utterance-no-id", "The row has no id, or one of more than 120 characters. Give it one in the source."),
    ("utterance-id-twice", "An earlier row of this import has the same id. Make ids unique in the source."),
    ("utterance-empty", "The text is empty or no text. Write what the caller said, or delete the row."),
    ("utterance-too-long", "The text has more than 1,000 characters. Store one utterance per row."),
    ("utterance-unprintable", "The text has control characters or half of a character. Store it as UTF-8 text."),
    ("utterance-markup", "The text has HTML in it. Store plain text, without tags and with signs as they are read."),
    ("intent-missing", "The row has no intent. Label it, or delete it."),
    ("intent-unusable", "The intent is no text, or longer than 120 characters. Write its short name."),
    ("entities-unreadable", "The entities are no list of objects with entity, start and end. Correct them."),
    ("span-outside", "An entity begins or ends outside the text, or ends before it begins. Correct its offsets."),
    ("span-mismatch", "An entity's offsets do not enclose its value, which occurs several times. Correct its offsets."),
    ("spans-overlap", "Two entities overlap. Keep one of them."),
    ("source-unknown", "The source is not human, auto, call or correction. Use one of these words."),
    ("utterance-rejected", "A reviewer rejected the row in the source. Nothing is to be done."),
    ("call-erased", "The call, or the person in it, was erased here. Delete the row in the source."),
    ("call-consent", "What the people in the call agreed to does not cover training. Nothing is to be done."),
    ("gone-from-source", "The row is no longer in the table or file. Nothing is to be done."),
)
SENTENCES = dict(REASONS)


class LeftOut(Exception):
    """Why a row is left out; `code` is one of REASONS. Never reaches a person as an exception."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class CheckedUtterance:
    """A row that can be used; `notes` are codes of what was corrected on the way."""

    external_id: str
    text: str
    intent: str
    entities: tuple[dict[str, Any], ...]
    language: str | None
    script: str | None
    source: str
    checked: bool
    parent_id: str | None = None
    call_sid: str | None = None
    model_version: str | None = None
    confidence: float | None = None
    source_updated_at: datetime | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def digest(self) -> str:
        return digest(self.text, self.intent, self.entities, self.language)


@dataclass(frozen=True)
class Reading:
    """How rows are understood: what `auto` means, the languages spoken, and the spelling of each label."""

    labels: LabelNames
    auto_means: str = "source"
    spoken: tuple[str, ...] = ()


def check(row: Mapping[str, Any], reading: Reading) -> CheckedUtterance:
    """The utterance of a row, by the names in UTTERANCE_FIELDS. Raises LeftOut."""
    notes: list[str] = []
    name = external_id(row)
    review = _word(row.get("review_status"))
    if review == _REJECTED:
        raise LeftOut("utterance-rejected")
    stated = plain_text(row.get("text"))
    text = stated.strip()
    intent = _intent(row.get("intent"), reading.labels)
    entities = _entities(row.get("entities"), stated, reading.labels, notes)
    source, language = _source_and_language(row, reading, notes)
    if language is None:
        language = language_of(text, reading.spoken)
    checked = review == _APPROVED if review in (_APPROVED, _UNREVIEWED) else source in (HUMAN, CORRECTION)
    return CheckedUtterance(
        external_id=name,
        text=text,
        intent=intent,
        entities=entities,
        language=language,
        script=script(text),
        source=source,
        checked=checked,
        parent_id=_short(row.get("parent_id")),
        call_sid=_short(row.get("call_sid"), most=200),
        model_version=_short(row.get("model_version")),
        confidence=_confidence(row.get("confidence")),
        source_updated_at=moment(row.get("updated_at")),
        notes=tuple(dict.fromkeys(notes)),
    )


def external_id(row: Mapping[str, Any]) -> str:
    """The row's id in its source; without a column of ids, a hash of what it says."""
    if "id" not in row:
        said = [str(row.get(name) or "").strip() for name in ("text", "intent", "language")]
        return f"text-{hashlib.sha256(repr(said).encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"
    found = _short(row["id"])
    if not found or _UNPRINTABLE.search(found):
        raise LeftOut("utterance-no-id")
    return found


def moment(value: Any) -> datetime | None:
    """A time of the source as UTC; one without a zone counts as UTC. None for anything that is no time."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        return None


def plain_text(value: Any) -> str:
    """The text with plain spaces for all blanks, still with those around it."""
    if not isinstance(value, str) or not value.strip():
        raise LeftOut("utterance-empty")
    if len(value) > MAX_CHARS:
        raise LeftOut("utterance-too-long")
    if _UNPRINTABLE.search(value):
        raise LeftOut("utterance-unprintable")
    if _MARKUP.search(value):
        raise LeftOut("utterance-markup")
    plain = _BLANKS.sub(" ", value.replace("\ufeff", " "))
    if not plain.strip():
        raise LeftOut("utterance-empty")
    return plain


def _intent(value: Any, labels: LabelNames) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise LeftOut("intent-missing")
    if not isinstance(value, str) or len(value) > MAX_NAME or _UNPRINTABLE.search(value):
        raise LeftOut("intent-unusable")
    return labels.intent(value)


def _entities(value: Any, text: str, labels: LabelNames, notes: list[str]) -> tuple[dict[str, Any], ...]:
    spans = sorted((_span(each, text, labels, notes) for each in _list(value)), key=lambda one: one["start"])
    for before, after in itertools.pairwise(spans):
        if after["start"] < before["end"]:
            raise LeftOut("spans-overlap")
    return tuple(spans)


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else []
        except (ValueError, RecursionError):
            raise LeftOut("entities-unreadable") from None
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > _MAX_ENTITIES:
        raise LeftOut("entities-unreadable")
    return value


def _span(value: Any, text: str, labels: LabelNames, notes: list[str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise LeftOut("entities-unreadable")
    name = next((value[key] for key in ("entity", "label", "type") if value.get(key)), None)
    start, end = _whole(value.get("start")), _whole(value.get("end"))
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME or start is None or end is None:
        raise LeftOut("entities-unreadable")
    start, end = _place(text, start, end, value.get("value"), notes)
    while start < end and text[start].isspace():  # a person's mouse also takes the blanks
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start >= end:
        raise LeftOut("span-outside")
    before = len(text) - len(text.lstrip())
    return {"entity": labels.entity(name), "start": start - before, "end": end - before, "value": text[start:end]}


def _place(text: str, start: int, end: int, stated: Any, notes: list[str]) -> tuple[int, int]:
    """The offsets in characters of `text`, with the value that the source states as witness."""
    value = stated if isinstance(stated, str) and stated and stated in text else None
    inside = 0 <= start < end <= len(text)
    if inside and (value is None or text[start:end].strip() == value.strip()):
        return start, end
    if value is not None:
        units = from_utf16(text, start, end)
        if units is not None and text[slice(*units)] == value:
            notes.append("offsets-utf16")
            return units
        if text.count(value) == 1:
            notes.append("offsets-moved")
            return text.index(value), text.index(value) + len(value)
    raise LeftOut("span-mismatch" if inside else "span-outside")


def _source_and_language(row: Mapping[str, Any], reading: Reading, notes: list[str]) -> tuple[str, str | None]:
    """`auto` in the column of languages is a source or an unknown language, as configured; never a language."""
    stated, source = _word(row.get("language")), _word(row.get("source"))
    if source and source not in SOURCES:
        raise LeftOut("source-unknown")
    if stated == "auto":
        return source or (AUTO if reading.auto_means == "source" else HUMAN), None
    code = transcribed(stated)
    if stated and code is None:
        notes.append("language-unknown")
    return source or HUMAN, code


def transcribed(stated: str) -> str | None:
    """The code of a language by any of its names, without its region; None for an unknown one."""
    for name in (stated, re.split(r"[-_]", stated)[0]):
        if (code := code_of(name)) in LANGUAGES:
            return languages.transcribed_as(code)
    return None


def _word(value: Any) -> str:
    return value.strip().casefold() if isinstance(value, str) else ""


def _short(value: Any, *, most: int = MAX_NAME) -> str | None:
    """A name in the source; None for an empty one and for one that cannot be a name. Spreadsheets write 7 as 7.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or isinstance(value, bool) or (not isinstance(value, str | int | float) and not _is_uuid(value)):
        return None
    text = str(value).strip()
    return text if 0 < len(text) <= most else None


def _is_uuid(value: Any) -> bool:
    return type(value).__name__ == "UUID"


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 10:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def _confidence(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and 0 <= found <= 1 else None


def printable(text: str) -> str:
    """The text with a mark in place of each character that no database stores."""
    return _UNPRINTABLE.sub("\ufffd", text)
