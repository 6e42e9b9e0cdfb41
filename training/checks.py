"""Rows of a dataset -> why nothing should be learnt from them, with counts and row ids. Pure.

A model trained on bad data is worse than none: it is scored on people who are in its training, or learns one speaker,
or the wrong script, and looks good. So a run refuses before it starts, and says which rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ml_backend.errors import PermanentError
from training.normalisation.writing import scripts

LEAST_SPEAKERS = 2
AGENT = "agent-"  # agents are on every side by their work; they are told apart by call
_SHOWN = 20
_SCRIPTS = {"hi": {"Deva", "Latn"}, "mr": {"Deva", "Latn"}, "en": {"Latn"}}


@dataclass(frozen=True)
class Objection:
    """One reason to refuse; `rows` are the ids it concerns (the first of them), `count` all of them."""

    code: str
    sentence: str
    count: int = 0
    rows: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "sentence": self.sentence, "count": self.count, "rows": list(self.rows)}


def objections(lines: Iterable[dict[str, Any]]) -> list[Objection]:
    """Everything wrong with the lines of a manifest, told at once."""
    by_split: dict[str, list[dict[str, Any]]] = {"train": [], "validation": [], "test": []}
    for line in lines:
        by_split.setdefault(line["split"], []).append(line)
    train, test = by_split["train"], by_split["test"]
    learnt = train + by_split["validation"]
    found = [
        _of("no-rows", "there are no training rows", ["-"] if not train else []),
        _of("no-text", "without text: {}", [r["id"] for r in learnt if not (r["text"] or "").strip()]),
        _of("wrong-script", "in another script than their language: {}", _off_script(learnt)),
        *_leaks(learnt, test),
    ]
    speakers = {line["speaker_id"] for line in train if line.get("speaker_id")}
    if train and len(speakers) < LEAST_SPEAKERS:
        whose = "1 speaker" if speakers else "nobody knows whom"
        sentence = f"all {len(train)} training rows are of {whose}"
        found.append(Objection("one-speaker", sentence, len(train), _ids(train)))
    return [one for one in found if one.count]


def missing_audio(ids: list[str]) -> Objection:
    return _of("audio-missing", "without their audio: {}", ids)


def unknown_languages(lines: Iterable[dict[str, Any]], known: frozenset[str]) -> Objection:
    """Languages the base has no token for; `known` is empty where only its tokenizer tells."""
    return _of(
        "unknown-language", "in a language the base model does not know: {}",
        [line["id"] for line in lines if not line["language"] or (known and line["language"] not in known)],
    )  # fmt: skip


def refusal(found: list[Objection]) -> PermanentError:
    sentences = "; ".join(f"{one.sentence}{_named(one)}" for one in found)
    return PermanentError(
        "training-data-refused", f"Nothing is learnt from this data: {sentences}.",
        "Correct the annotations or the filters, export anew, and train on the new version.",
    )  # fmt: skip


def _leaks(learnt: list[dict[str, Any]], test: list[dict[str, Any]]) -> list[Objection]:
    """The same words, recording or speaker on both sides: a score on such a test set means nothing."""
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
            break  # the narrowest says it; the wider ones repeat it
    return found


def _off_script(lines: list[dict[str, Any]]) -> list[str]:
    wrong = []
    for line in lines:
        written, allowed = scripts(line["text"] or ""), _SCRIPTS.get(line["language"] or "")
        if allowed is not None and written and not written <= allowed:
            wrong.append(line["id"])
    return wrong


def _of(code: str, sentence: str, ids: list[str]) -> Objection:
    number = f"{len(ids):,} row{'s' if len(ids) != 1 else ''}"
    return Objection(code, sentence.format(number), len(ids), tuple(ids[:_SHOWN]) if ids != ["-"] else ())


def _ids(lines: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(line["id"] for line in lines[:_SHOWN])


def _named(one: Objection) -> str:
    return f" ({', '.join(one.rows[:5])}{', ...' if one.count > 5 else ''})" if one.rows else ""
