"""Rows of a dataset -> reasons not to train on them, with counts and row ids. Pure.

A model trained on bad data looks good and is worse than none: its test speakers are in its training data, or it learns
one speaker or the wrong script. So a run is refused before it starts, with the rows. Single faulty rows (`fault`) are
left out by name; only many of them refuse the run.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from ml_backend import languages
from ml_backend.errors import PermanentError
from ml_backend.languages import scripts_in
from ml_backend.models.manifest import WindowPolicy
from training.runs import workload

LEAST_SPEAKERS = 2
AGENT = "agent-"  # agents are on every side because they take many calls; calls distinguish them
_SHOWN = 20
SHORTEST_S = 0.2
_SLACK_S = 0.3
_SYLLABLES_PER_S, _OTHERS_PER_S, _DIGITS_PER_S = 11.0, 28.0, 12.0  # faster than any speaker
_LETTERS_PER_S = {script.letters: script.letters_per_s for script in languages.SCRIPTS.values()}
_LETTERS_PER_S |= dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "HANGUL"), _SYLLABLES_PER_S)
_REASONS = {
    "no-text": "without text: {}", "unknown-language": "in a language the base model does not know: {}",
    "wrong-script": "in another script than their language: {}", "too-short": "shorter than 0.2 s: {}",
    "too-long": "longer than the base's window of MAX s: {}",
    "too-much-text": "with more text than can be said in their time: {}",
    "too-many-labels": "with more text than the model can write: {}", "audio-missing": "without their audio: {}",
}  # fmt: skip


@dataclass(frozen=True)
class DataObjection:
    """One reason to refuse; `rows` are the ids it concerns (the first of them), `count` all of them."""

    code: str
    sentence: str
    count: int = 0
    rows: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "sentence": self.sentence, "count": self.count, "rows": list(self.rows)}


def objections(lines: Iterable[dict[str, Any]]) -> list[DataObjection]:
    """Every objection to the lines of a manifest."""
    by_split: dict[str, list[dict[str, Any]]] = {"train": [], "validation": [], "test": []}
    for line in lines:
        by_split.setdefault(line["split"], []).append(line)
    train, test = by_split["train"], by_split["test"]
    learnt = train + by_split["validation"]
    found = [
        _of("no-rows", "there are no training rows", ["-"] if not train else []),
        *_leaks(learnt, test),
    ]
    speakers = {line["speaker_id"] for line in train if line.get("speaker_id")}
    if train and len(speakers) < LEAST_SPEAKERS:
        whose = "1 speaker" if speakers else "unknown speakers"
        sentence = f"all {len(train)} training rows are of {whose}"
        found.append(DataObjection("one-speaker", sentence, len(train), _ids(train)))
    return [one for one in found if one.count]


def missing_audio(ids: list[str]) -> DataObjection:
    return _of("audio-missing", "without their audio: {}", ids)


def fault(line: dict[str, Any], *, known: Collection[str], window: WindowPolicy) -> str | None:
    """Why a single row is unusable, or None; `known` is empty where only the base's tokenizer can decide."""
    text, language, seconds = (line["text"] or "").strip(), line["language"] or "", line["end_s"] - line["start_s"]
    if not text:
        return "no-text"
    if not language or (known and language not in known):
        return "unknown-language"
    entry = languages.LANGUAGES.get(language)
    if entry is not None and entry.key and not scripts_in(text) <= {entry.script.code, languages.LATIN}:
        return "wrong-script"
    if not seconds >= SHORTEST_S:
        return "too-short"
    if seconds > window.max_s:
        return "too-long"
    if least_s(text) > seconds + _SLACK_S:
        return "too-much-text"
    return "too-many-labels" if workload.labels_of(text) > 2 * workload.MOST_LABELS else None  # the trainer counts


def least_s(text: str) -> float:
    """The shortest time for saying a text: by script, because a character is a letter or a syllable."""
    seconds = 0.0
    for character in text:
        if character.isdigit():
            seconds += 1 / _DIGITS_PER_S
        elif character.isalpha() or unicodedata.category(character).startswith("M"):
            seconds += 1 / _letters_per_s(character)
    return seconds


def of_reason(reason: str, ids: list[str], rows: int, max_s: float) -> DataObjection:
    """The objection for rows that are left out for one reason."""
    sentence = _REASONS.get(reason, reason).replace("MAX", f"{max_s:g}")
    return _of(reason, sentence, ids)


def refusal(found: list[DataObjection]) -> PermanentError:
    sentences = "; ".join(f"{one.sentence}{_named(one)}" for one in found)
    return PermanentError(
        "training-data-refused", f"Nothing is learnt from this data: {sentences}.",
        "Correct the annotations or the filters, export anew, and train on the new version.",
    )  # fmt: skip


def _leaks(learnt: list[dict[str, Any]], test: list[dict[str, Any]]) -> list[DataObjection]:
    """The same words, recording or speaker on both sides: a score on such a test set is meaningless."""
    found = []
    for code, field, what in (
        ("leak-row", "digest", "test rows in training"),
        ("leak-recording", "audio_sha256", "of recordings that test rows are cut from"),
        ("leak-call", "call_id", "of calls that test rows are cut from"),
        ("leak-speaker", "speaker_id", "spoken by speakers of the test set"),
    ):
        tested = {line.get(field) for line in test if not str(line.get(field) or AGENT).startswith(AGENT)}
        rows = [line["id"] for line in learnt if line.get(field) in tested]
        found.append(_of(code, f"{what}: {{}}", rows))
        if rows:
            break  # the wider kinds would repeat the narrowest
    return found


def _letters_per_s(character: str) -> float:
    name = unicodedata.name(character, "")
    return next((most for start, most in _LETTERS_PER_S.items() if name.startswith(start)), _OTHERS_PER_S)


def _of(code: str, sentence: str, ids: list[str]) -> DataObjection:
    number = f"{len(ids):,} row{'s' if len(ids) != 1 else ''}"
    return DataObjection(code, sentence.format(number), len(ids), tuple(ids[:_SHOWN]) if ids != ["-"] else ())


def _ids(lines: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(line["id"] for line in lines[:_SHOWN])


def _named(one: DataObjection) -> str:
    return f" ({', '.join(one.rows[:5])}{', ...' if one.count > 5 else ''})" if one.rows else ""
