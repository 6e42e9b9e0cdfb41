"""Rows -> what one corrected error brings in each language, which slices are annotated too little, and known words.

Annotating an hour of a language lowers its WER by exponent x WER / hours (the slope of the power law), and that counts
as much as the language's share of calls. Spread over the errors of that hour, it is the worth of one corrected error:

    worth = share of calls x exponent x WER / hours annotated / errors per hour

scaled so that the mean over calls is 1. A slice weighs the square root of its share of calls over its share of what is
annotated, within limits: the full ratio is the weight of importance sampling, and its root is less noisy where shares
are small.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.tables import recordings, samples
from ml_backend.usefulness.speech_slices import slices_of
from ml_backend.usefulness.task_worth import word_key
from training.quality.reviews import Review

NEWEST = 20_000  # recordings and samples that are looked at: the latest
EXPONENT = 0.2  # of learning curves, until the team's own is fitted: Hestness et al. 2017 find 0.07 to 0.35
START_HOURS = 0.2  # added to every language, so that the first minutes do not decide
SMOOTH = 0.02  # added to every share
LEAST_WEIGHT, MOST_WEIGHT = 0.5, 2.0
LEAST_WORTH, MOST_WORTH = 0.25, 4.0
LEAST_RECORDINGS = 50  # and samples, below which shares say nothing
KNOWN_IN = 3  # recordings that a word is said in, from which it is known; also keeps what one caller said out of it
MOST_WORDS = 5000  # of a language


@dataclass(frozen=True)
class Shares:
    """Seconds of calls and of accepted samples by kind of slice and name, with `language` among the kinds."""

    calls: Mapping[str, Mapping[str, float]]
    annotated: Mapping[str, Mapping[str, float]]
    recordings: int
    samples: int
    known_words: Mapping[str, list[str]]


def shares(connection: Connection) -> Shares:
    """Of the latest calls and samples."""
    calls: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    row = recordings.c
    number = 0
    latest = sa.select(sa.func.max(row.id)).scalar_subquery()
    statement = sa.select(row.language, row.quality, row.channels, row.duration_s).where(
        row.id > latest - NEWEST, row.state == "ready", ~row.synthetic, row.duration_s.is_not(None)
    )
    for found in connection.execute(statement):
        number += 1
        for kind, name in _slices(found, found.language).items():
            calls[kind][name] += float(found.duration_s)
    annotated: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    said: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    one, taught = samples.c, 0
    newest = sa.select(sa.func.max(one.id)).scalar_subquery()
    accepted = (
        sa.select(one.language, one.text, one.start_s, one.end_s, one.recording_id, row.quality, row.channels)
        .join(recordings, row.id == one.recording_id)
        .where(one.id > newest - NEWEST, one.state == "accepted", ~one.blind)
    )
    for piece in connection.execute(accepted):
        taught += 1
        for kind, name in _slices(piece, piece.language).items():
            annotated[kind][name] += float(piece.end_s - piece.start_s)
        for word in piece.text.split():
            said[piece.language or ""][word_key(word)].add(piece.recording_id)
    return Shares(calls, annotated, number, taught, {language: _known(words) for language, words in said.items()})


def slice_weights(found: Shares) -> dict[str, dict[str, float]]:
    """Kind -> name -> weight; empty while there is too little. Languages have `language_worth`."""
    if min(found.recordings, found.samples) < LEAST_RECORDINGS:
        return {}
    weights: dict[str, dict[str, float]] = {}
    for kind, names in found.calls.items():
        if kind == "language":
            continue
        every, taught = sum(names.values()), sum(found.annotated.get(kind, {}).values())
        for name, seconds in names.items():
            has = found.annotated.get(kind, {}).get(name, 0.0)
            ratio = (seconds / every + SMOOTH) / (has / taught + SMOOTH)
            weights.setdefault(kind, {})[name] = round(min(MOST_WEIGHT, max(LEAST_WEIGHT, ratio**0.5)), 4)
    return weights


def language_worth(
    found: Shares, judged: Sequence[Review], curves: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """Language -> worth of one corrected error, 1 being the mean over calls; of languages with corrections."""
    edits: Counter[str] = Counter()
    words: Counter[str] = Counter()
    audio_s: dict[str, float] = defaultdict(float)
    for each in judged:
        if each.language and each.audio_s and each.words:
            edits[each.language] += each.word_edits or 0
            words[each.language] += each.words
            audio_s[each.language] += each.audio_s
    of_calls = found.calls.get("language", {})
    every = sum(of_calls.get(language, 0.0) for language in words)
    if every <= 0 or found.recordings < LEAST_RECORDINGS:
        return {}
    worth: dict[str, float] = {}
    for language in words:
        per_hour = max(1.0, edits[language]) / (audio_s[language] / 3600)
        hours = START_HOURS + found.annotated.get("language", {}).get(language, 0.0) / 3600
        fitted = (curves.get(language) or {}).get("fit") or {}
        falls = float(fitted.get("exponent") or EXPONENT) * (edits[language] / words[language]) / hours
        worth[language] = (of_calls.get(language, 0.0) + SMOOTH * every) / every * falls / per_hour
    mean = sum(worth[language] * of_calls.get(language, 0.0) for language in worth) / every
    if mean <= 0:
        return {}
    return {
        language: round(min(MOST_WORTH, max(LEAST_WORTH, value / mean)), 4) for language, value in sorted(worth.items())
    }


def _slices(row: Any, language: str | None) -> dict[str, str]:
    return {**slices_of(row), "language": language or "unknown"}


def _known(words: Mapping[str, set[int]]) -> list[str]:
    often = [(len(where), word) for word, where in words.items() if word and len(where) >= KNOWN_IN]
    return sorted(word for _, word in sorted(often, reverse=True)[:MOST_WORDS])
