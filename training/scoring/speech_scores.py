"""Spoken sentences -> scores of a voice: is it understood, does it say all of it, is it the voice that was asked for.

A sentence is judged beside a reference recording of the same sentence: what the recogniser makes of the reference is
what it can make of any voice, so character error rates are compared, never taken alone. Rates are pooled, intervals
come from drawing sentences again. Pure: transcripts and samples are given.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ml_backend import languages
from ml_backend.tts.mel import Array
from training.scoring import bootstrap, error_counts, speech_measures
from training.scoring.bootstrap import Interval
from training.scoring.speech_measures import SpeechMeasures
from training.text import readings

READING = readings.NUMBER_CANONICAL
SPEECH_SLICES = ("language", "voice", "emotion")
_DEVANAGARI = range(0x0900, 0x0980)


@dataclass(frozen=True)
class SpokenSentence:
    """One sentence as a version said it, beside its reference recording. Edits are of characters.

    `distance` to the reference is None without a recording of it; `wrong_script` and `wrong_language` are those of the
    transcript; `left_out` and `repeated` are words. Where a second recogniser was asked, `edits` are the fewer of
    `first_edits` and `second_edits`.
    """

    id: str
    text: str
    language: str
    voice: str
    emotion: str
    transcript: str
    characters: int
    edits: int
    reference_edits: int | None
    words: int
    left_out: int
    repeated: int
    wrong_script: bool
    wrong_language: bool
    measures: SpeechMeasures
    reference: SpeechMeasures | None
    distance: float | None
    semitones: float | None
    duration_ratio: float | None
    first_edits: int | None = None
    second_edits: int | None = None
    second_transcript: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> SpokenSentence:
        reference = SpeechMeasures(**raw["reference"]) if raw.get("reference") else None
        return cls(**{**raw, "measures": SpeechMeasures(**raw["measures"]), "reference": reference})


@dataclass(frozen=True)
class Judged:
    """What was asked for and what came: `samples` as spoken, `transcript` of them by the recogniser."""

    id: str
    text: str
    language: str
    voice: str
    samples: Array
    transcript: str
    emotion: str = "neutral"
    detected_language: str | None = None
    second_transcript: str | None = None


@dataclass(frozen=True)
class ReferenceRecording:
    samples: Array
    transcript: str
    detected_language: str | None = None
    second_transcript: str | None = None


def scored(asked: Judged, reference: ReferenceRecording | None) -> SpokenSentence:
    """Character edits are those of the transcript with fewer, where there are two. A language is wrong where the
    recogniser finds another in the voice, and the right one in the recording: not every short sentence has one."""
    counts = _counts(asked, asked.transcript)
    second_edits = None if asked.second_transcript is None else _counts(asked, asked.second_transcript).char_edits
    measures = speech_measures.measured(asked.samples)
    alike: dict[str, Any] = {"reference_edits": None, "reference": None, "distance": None, "semitones": None}
    ratio = None
    if reference is not None:
        own_edits = _counts(asked, reference.transcript).char_edits
        if reference.second_transcript is not None:
            own_edits = min(own_edits, _counts(asked, reference.second_transcript).char_edits)
        found = speech_measures.measured(reference.samples)
        alike = {
            "reference_edits": own_edits,
            "reference": found,
            "distance": round(
                speech_measures.distance(
                    speech_measures.cepstra(asked.samples), speech_measures.cepstra(reference.samples)
                ),
                4,
            ),
            "semitones": speech_measures.semitones(measures.pitch_hz, found.pitch_hz),
        }
        ratio = measures.active_s / found.active_s if found.active_s else None
    said, wanted = _words(asked.transcript), _words(asked.text)
    return SpokenSentence(
        asked.id, asked.text, asked.language, asked.voice, asked.emotion, asked.transcript, counts.chars,
        edits=counts.char_edits if second_edits is None else min(counts.char_edits, second_edits), words=counts.words,
        left_out=counts.word_edits.deletions, repeated=repeats(wanted, said),
        wrong_script=_wrong_script(asked.text, asked.transcript), wrong_language=_wrong_language(asked, reference),
        measures=measures, duration_ratio=ratio, **alike, second_edits=second_edits,
        first_edits=None if second_edits is None else counts.char_edits, second_transcript=asked.second_transcript,
    )  # fmt: skip


def repeats(wanted: Sequence[str], said: Sequence[str]) -> int:
    """Words said twice in a row more often than the text has them so."""
    return max(0, _doubled(said) - _doubled(wanted))


def mixes_languages(text: str, language: str) -> bool:
    """Whether a text has letters of another script than its language's own: English words in Hindi, or Hindi in Roman
    letters."""
    known = languages.LANGUAGES.get(languages.transcribed_as(language))
    return known is not None and bool(languages.scripts_in(text) - {known.script.code})


def character_errors(sentences: Sequence[SpokenSentence]) -> Interval | None:
    """The pooled character error rate of the version."""
    return bootstrap.rate(np.array([(one.edits, one.characters) for one in sentences], dtype=np.float64))


def against_reference(sentences: Sequence[SpokenSentence]) -> Interval | None:
    """Character error rate of the version minus that of the reference recordings, on the same sentences."""
    rows = [
        (one.reference_edits, one.edits, one.characters) for one in sentences if one.reference_edits is not None
    ]  # fmt: skip
    return bootstrap.difference(np.array(rows, dtype=np.float64)) if rows else None


def against_version(before: Sequence[SpokenSentence], now: Sequence[SpokenSentence]) -> Interval | None:
    """Character error rate now minus before, on the sentences that both said."""
    pairs = _paired(before, now)
    rows = [(one.edits, other.edits, one.characters) for one, other in pairs]
    return bootstrap.difference(np.array(rows, dtype=np.float64)) if rows else None


def distance_change(before: Sequence[SpokenSentence], now: Sequence[SpokenSentence]) -> Interval | None:
    """Mean distance to the reference recordings, now minus before, on the sentences that both said."""
    pairs = _paired(before, now)
    rows = [(one.distance, other.distance, 1.0) for one, other in pairs if None not in (one.distance, other.distance)]
    return bootstrap.difference(np.array(rows, dtype=np.float64)) if rows else None


def summary(sentences: Sequence[SpokenSentence]) -> dict[str, Any]:
    """All that an evaluation's row says about a voice: over all, and by slice with counts."""
    return {
        **_figures(sentences),
        "slices": {
            kind: {name: _figures(some) for name, some in sorted(_by(sentences, kind).items())}
            for kind in SPEECH_SLICES
        },
    }  # fmt: skip


def write_lines(sentences: Iterable[SpokenSentence]) -> bytes:
    return "".join(json.dumps(one.to_json(), ensure_ascii=False) + "\n" for one in sentences).encode()


def read_lines(raw: bytes) -> list[SpokenSentence]:
    return [SpokenSentence.from_json(json.loads(line)) for line in raw.splitlines() if line.strip()]


def _figures(sentences: Sequence[SpokenSentence]) -> dict[str, Any]:
    errors, difference = character_errors(sentences), against_reference(sentences)
    words = sum(one.words for one in sentences)
    return {
        "sentences": len(sentences),
        "words": words,
        "cer": errors.to_json() if errors else None,
        "cer_against_reference": difference.to_json() if difference else None,
        "left_out": _share(sum(one.left_out for one in sentences), words),
        "repeated": _share(sum(one.repeated for one in sentences), words),
        "wrong_script": _share(sum(one.wrong_script for one in sentences), len(sentences)),
        "wrong_language": _share(sum(one.wrong_language for one in sentences), len(sentences)),
        "second": _second(sentences),
        "distance": _mean(sentences, lambda one: one.distance),
        "semitones": _median(sentences, lambda one: one.semitones),
        "duration_ratio": duration_ratio(sentences),
        "pitch_hz": _median(sentences, lambda one: one.measures.pitch_hz),
        "level_dbfs": _median(sentences, lambda one: one.measures.level_dbfs),
        "flatness": _median(sentences, lambda one: one.measures.flatness),
        "reference_flatness": _median(sentences, lambda one: one.reference.flatness if one.reference else None),
        "silent_share": _mean(sentences, lambda one: one.measures.silent_share),
        "clipped_share": _mean(sentences, lambda one: one.measures.clipped_share),
    }


def _second(sentences: Sequence[SpokenSentence]) -> dict[str, int]:
    """How often a second recogniser was asked, had fewer errors, and wrote the same."""
    asked = [one for one in sentences if one.second_edits is not None and one.first_edits is not None]
    return {
        "sentences": len(asked),
        "lower": sum((one.second_edits or 0) < (one.first_edits or 0) for one in asked),
        "same": sum(_words(one.transcript) == _words(one.second_transcript or "") for one in asked),
    }


def duration_ratio(sentences: Sequence[SpokenSentence]) -> float | None:
    """Length of all spoken sentences over that of all references."""
    pairs = [(one.measures.active_s, one.reference.active_s) for one in sentences if one.reference is not None]
    total = sum(reference for _, reference in pairs)
    return round(sum(spoken for spoken, _ in pairs) / total, 4) if total else None


def _paired(
    before: Sequence[SpokenSentence], now: Sequence[SpokenSentence]
) -> list[tuple[SpokenSentence, SpokenSentence]]:
    by_id = {one.id: one for one in now}
    return [(one, by_id[one.id]) for one in before if one.id in by_id]


def _by(sentences: Sequence[SpokenSentence], kind: str) -> dict[str, list[SpokenSentence]]:
    found: dict[str, list[SpokenSentence]] = defaultdict(list)
    for one in sentences:
        found[str(getattr(one, kind))].append(one)
    return found


def _values(
    sentences: Sequence[SpokenSentence], figure: Callable[[SpokenSentence], float | None]
) -> list[float]:  # fmt: skip
    return [value for one in sentences if (value := figure(one)) is not None]


def _mean(sentences: Sequence[SpokenSentence], figure: Callable[[SpokenSentence], float | None]) -> float | None:
    values = _values(sentences, figure)
    return round(float(np.mean(values)), 4) if values else None


def _median(sentences: Sequence[SpokenSentence], figure: Callable[[SpokenSentence], float | None]) -> float | None:
    values = _values(sentences, figure)
    return round(float(np.median(values)), 4) if values else None


def _share(count: int, of: int) -> dict[str, Any]:
    return {"count": count, "of": of, "share": round(count / of, 4) if of else None}


def _words(text: str) -> list[str]:
    return readings.normalise(text, normaliser=readings.INDIC).split()


def _doubled(words: Sequence[str]) -> int:
    return sum(one == other for one, other in itertools.pairwise(words))


def _counts(asked: Judged, transcript: str) -> error_counts.ErrorCounts:
    return error_counts.count(asked.text, transcript, normaliser=READING, language=asked.language)


def _wrong_language(asked: Judged, reference: ReferenceRecording | None) -> bool:
    wanted = languages.transcribed_as(asked.language)
    own = reference.detected_language if reference is not None else None
    return asked.detected_language not in (None, wanted) and own in (None, wanted)


def _wrong_script(text: str, transcript: str) -> bool:
    """Whether a text in one script alone is transcribed mostly in the other."""
    wanted, got = _devanagari_share(text), _devanagari_share(transcript)
    if wanted is None or got is None:
        return False
    return (wanted == 1.0 and got < 0.5) or (wanted == 0.0 and got > 0.5)


def _devanagari_share(text: str) -> float | None:
    letters = [letter for letter in text if letter.isalpha()]
    return sum(ord(letter) in _DEVANAGARI for letter in letters) / len(letters) if letters else None
