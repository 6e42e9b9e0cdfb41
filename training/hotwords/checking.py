"""Approved word -> HotwordCheck: recent annotated calls are transcribed again with the word and without it.

A word can help in two ways. `prompt` gives it to the model before decoding, as Whisper's own hotwords: this helps
models that were trained with a text prompt and harms others. `correction` replaces, after decoding, the forms that
people changed to it nearly every time: this works with every model, but only for repeated mistakes. Both are tried and
the better one is kept. A word that makes other speech worse is refused.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ml_backend.asr import corrections
from ml_backend.asr.corrections import fold
from ml_backend.asr.engine import Transcriber
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile, Transcript
from ml_backend.audio import decoding
from ml_backend.context import Context
from ml_backend.tables import recordings, samples
from training.hotwords.hotword_rows import BOTH, CORRECTION, PROMPT
from training.scoring.error_counts import ErrorCounts, count
from training.text import readings

MOST_S = 300.0  # of audio: a check is done in minutes on a CPU with a large model
SHARE_WITH_WORD = 0.5  # of that time, at most, for places where the word is said
LOOK_BACK = 5000  # samples
LONGEST_S = 30.0
UNDECIDED = ("not-in-recent-calls", "too-little-audio")  # refusals that say nothing about the word
LEAST_WORDS = 50  # transcribed elsewhere, for a verdict


@dataclass(frozen=True)
class Place:
    """A stretch of a recording with its reference text."""

    recording_id: int
    derived_key: str
    start_s: float
    end_s: float
    channel: int
    text: str
    has_word: bool


@dataclass(frozen=True)
class HotwordCheck:
    """`way` is None when the word is refused; `numbers` are kept in its row either way."""

    way: str | None
    numbers: dict[str, Any]
    code: str | None = None
    reason: str | None = None


def places(context: Context, *, project_id: int, language: str, word: str) -> list[Place]:
    """Recent places in this language, those with the word first, together at most MOST_S seconds."""
    statement = (
        sa.select(samples, recordings.c.derived_key)
        .join(recordings, recordings.c.id == samples.c.recording_id)
        .where(samples.c.project_id == project_id, samples.c.language == language, samples.c.state == "accepted")
        .where(recordings.c.state == "ready", recordings.c.derived_key.is_not(None), ~recordings.c.synthetic)
        .where(~samples.c.blind)  # what models are tested on decides nothing else
        .order_by(samples.c.id.desc())
        .limit(LOOK_BACK)
    )
    with_word: list[Place] = []
    elsewhere: list[Place] = []
    wanted = f" {fold(word)} "
    for row in context.db.rows(statement):
        if row.end_s - row.start_s > LONGEST_S:
            continue
        has_word = wanted in f" {fold(row.text)} "
        place = Place(row.recording_id, row.derived_key, row.start_s, row.end_s, row.channel, row.text, has_word)
        (with_word if has_word else elsewhere).append(place)
    first = _within(with_word, MOST_S * SHARE_WITH_WORD)
    return first + _within(elsewhere, MOST_S - sum(place.end_s - place.start_s for place in first))


def judge(
    context: Context,
    transcriber: Transcriber,
    base: DecodingProfile,
    *,
    language: str,
    word: str,
    forms: Sequence[str],
    chosen: Sequence[Place],
) -> HotwordCheck:
    """Transcribe the places with and without the word, and decide. `base` is the project's current decoding."""
    base = replace(base, language=language)
    plain = replace(base, corrections=())
    fixed = (*base.corrections, *((language, form, word) for form in forms))
    prompted_profile = replace(plain, learnt_words=(*base.learnt_words, (language, word)))
    clips = list(_clips(context, chosen))
    without = _transcripts(transcriber, plain, clips)
    prompted = _transcripts(transcriber, prompted_profile, clips)
    texts = {
        "now": [corrections.apply(one, base.corrections).text for one in without],
        PROMPT: [corrections.apply(one, base.corrections).text for one in prompted],
    }
    if forms:
        texts[CORRECTION] = [corrections.apply(one, fixed).text for one in without]
        texts[BOTH] = [corrections.apply(one, fixed).text for one in prompted]
    counts_of = {name: _scored(chosen, texts_of_version, language) for name, texts_of_version in texts.items()}
    numbers = {
        "model_version": transcriber.model_version,
        "forms": list(forms),
        "seconds": round(sum(place.end_s - place.start_s for place in chosen), 1),
        "places": len(chosen),
        "normaliser": readings.INDIC,
        "ways": {name: _numbers(*scores) for name, scores in counts_of.items()},
    }
    return decide(word, numbers)


def decide(word: str, numbers: dict[str, Any]) -> HotwordCheck:
    """The way that removes most errors where the word is said, of those that add none elsewhere. Pure."""
    ways = numbers["ways"]
    now = ways["now"]
    if not now["here"]["words"]:
        return HotwordCheck(
            None, numbers, "not-in-recent-calls", f"None of the recent annotated calls has {word!r}: nothing to check."
        )
    if now["elsewhere"]["words"] < LEAST_WORDS:
        reason = (
            f"Only {now['elsewhere']['words']} words of other annotated speech are there; {LEAST_WORDS} are needed."
        )
        return HotwordCheck(None, numbers, "too-little-audio", reason)
    saved = {
        way: now["here"]["word_edits"] - scores["here"]["word_edits"] for way, scores in ways.items() if way != "now"
    }
    limit = now["elsewhere"]["word_edits"]
    safe = [way for way in saved if ways[way]["elsewhere"]["word_edits"] <= limit and saved[way] > 0]
    if safe:
        order = (CORRECTION, PROMPT, BOTH)  # of equals, the one that asks least of the model
        return HotwordCheck(max(safe, key=lambda way: (saved[way], -order.index(way))), numbers)
    best = max(saved, key=lambda way: saved[way])
    if saved[best] <= 0:
        wrong, of = now["here"]["word_edits"], now["here"]["words"]
        reason = f"Where {word!r} is said, {wrong} of {of} words are wrong now, and no fewer would be with it."
        return HotwordCheck(None, numbers, "no-gain", reason)
    after, of = ways[best]["elsewhere"]["word_edits"], now["elsewhere"]["words"]
    rates = f"{100 * limit / of:.1f} % and {100 * after / of:.1f} %"
    reason = f"Elsewhere {limit} of {of} words are wrong now, and {after} would be with it ({rates})."
    return HotwordCheck(None, numbers, "hurts-elsewhere", reason)


def _within(found: Sequence[Place], seconds: float) -> list[Place]:
    chosen: list[Place] = []
    for place in found:
        if place.end_s - place.start_s <= seconds:
            chosen.append(place)
            seconds -= place.end_s - place.start_s
    return chosen


def _clips(context: Context, chosen: Sequence[Place]) -> Iterator[npt.NDArray[np.float32]]:
    """Samples [1 or all channels, n] of each place; a recording is fetched once, because its places are adjacent."""
    bucket = context.settings.audio_bucket
    for place in chosen:
        with _local(context, bucket, place.derived_key) as path:
            samples_, _ = decoding.read_wav(path, start_s=place.start_s, end_s=place.end_s)
        yield samples_[min(place.channel, len(samples_) - 1)][None, :]


@contextmanager
def _local(context: Context, bucket: str, key: str) -> Iterator[Path]:
    path = context.store.open_local(bucket, key)
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="kaan-words-") as folder:
        path = Path(folder) / "audio.wav"
        context.store.fetch(bucket, key, path)
        yield path


def _transcripts(
    transcriber: Transcriber, profile: DecodingProfile, clips: Sequence[npt.NDArray[np.float32]]
) -> list[Transcript]:
    """The text of each clip; one that cannot be transcribed counts as silence, with and without the word."""
    answers = transcriber.transcribe([Request(clip, profile) for clip in clips])
    silence = Transcript((), profile.language, 0.0, 0.0, 0.0, transcriber.model_version)
    return [answer if isinstance(answer, Transcript) else silence for answer in answers]


def _scored(chosen: Sequence[Place], texts_of_version: Sequence[str], language: str) -> tuple[ErrorCounts, ErrorCounts]:
    """Pooled counts (where the word is said, elsewhere)."""
    here, elsewhere = ErrorCounts(), ErrorCounts()
    for place, text in zip(chosen, texts_of_version, strict=True):
        found = count(place.text, text, normaliser=readings.INDIC, language=language)
        if place.has_word:
            here += found
        else:
            elsewhere += found
    return here, elsewhere


def _numbers(here: ErrorCounts, elsewhere: ErrorCounts) -> dict[str, Any]:
    def one(counts: ErrorCounts) -> dict[str, int]:
        return {"words": counts.words, "word_edits": counts.word_edits.total}

    return {"here": one(here), "elsewhere": one(elsewhere)}
