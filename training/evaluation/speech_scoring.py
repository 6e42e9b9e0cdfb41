"""Lines of a test set -> the scores of a voice: each sentence is spoken, transcribed, and compared with its recording.

The recogniser is the champion of speech recognition, with the language given (`speech_recognisers`). What it makes of
the recordings is scored too: a voice is compared with what can be recognised at all.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.audio import decoding
from ml_backend.context import Context
from ml_backend.errors import PermanentError
from ml_backend.models import kinds, registry
from ml_backend.models.kinds import ExploredLine, FigureTable, Line, Scored
from ml_backend.models.registry import Version
from ml_backend.serving import default_model
from ml_backend.tts import voice_loading
from ml_backend.tts.mel import Array
from ml_backend.tts.speaking import Speech, SpeechLine
from training.evaluation import speech_recognisers
from training.evaluation.speech_recognisers import SpeechRecognisers
from training.scoring import alignment, speech_scores
from training.scoring.speech_scores import SPEECH_SLICES, Judged, ReferenceRecording, SpokenSentence
from training.text import readings

READINGS = ("speech@1",)
RATE_HZ = 16_000
Report = Callable[[float, str], None]
Recorded = Callable[[Context, Line], Array | None]


def scorer(recorded: Recorded) -> Callable[[Context, Version, list[Line], Report], Scored]:
    """The scoring of a version; `recorded` gives the recording of a line."""

    def score(context: Context, version: Version, lines: list[Line], report: Report) -> Scored:
        folder = Path(registry.verified(context, version))
        rows: list[SpokenSentence] = []
        refused, seconds, cpu_s = [], 0.0, 0.0
        recognisers = SpeechRecognisers(context, [line["language"] for line in lines])
        said = _said(context, folder, lines)
        for number, line in enumerate(lines):
            began = time.process_time()
            speech = next(said)
            cpu_s += time.process_time() - began
            if isinstance(speech, PermanentError):  # a language or letters that it does not have
                refused.append(line["id"])
                continue
            samples = _at_16_khz(speech)
            seconds += len(samples) / RATE_HZ
            rows.append(judged(recognisers, line, samples, recorded(context, line)))
            report(number / len(lines), f"{number + 1:,} of {len(lines):,} sentences spoken")
        found = {
            **speech_scores.summary(rows), "not_spoken": len(refused),
            "speed": {"real_time_factor": round(cpu_s / seconds, 4) if seconds else None},
            "recognisers": recognisers.names,
        }  # fmt: skip
        return Scored(found, rows)

    return score


def explored(
    context: Context, version: Version, rows: Sequence[SpokenSentence], scores: dict[str, Any]
) -> Iterator[ExploredLine]:
    """Sentences for people who look at errors: the text that was asked for, beside what is recognised in the speech.
    Wrong words of `counts` are those left out, wrong characters those of the transcript with fewer."""
    for one in rows:
        second = one.second_edits is not None and one.second_edits < (one.first_edits or 0)
        written = (one.second_transcript or "") if second else one.transcript
        expected, recognised = readings.pair(one.text, written, normaliser=speech_scores.READING, language=one.language)
        steps = alignment.steps(expected, recognised)
        yield ExploredLine(
            id=one.id, reference=one.text, hypothesis=written, steps={READINGS[0]: steps},
            counts={READINGS[0]: (one.words, one.left_out, one.characters, one.edits)},
            edits={READINGS[0]: alignment.edits_of(steps)}, words=alignment.words_of(steps), language=one.language,
            duration_s=one.measures.active_s, slices={name: str(getattr(one, name)) for name in SPEECH_SLICES},
        )  # fmt: skip


def without_texts(
    rows: Sequence[SpokenSentence], recordings: Collection[str], ids: Collection[str]
) -> list[SpokenSentence]:
    nothing: dict[str, Any] = {"text": "", "transcript": "", "second_transcript": None}
    return [replace(one, **nothing) if one.id in ids else one for one in rows]


def conditions(context: Context) -> dict[str, Any]:
    """Scores are comparable where the same recogniser judged them."""
    default_model.ensure(context)
    second = speech_recognisers.second_of(context)
    return {"recogniser": registry.champion(context, kinds.ASR).version, **({"second": second} if second else {})}


def judged(
    recognisers: SpeechRecognisers, line: Line, samples: Array, recording: Array | None
) -> SpokenSentence:  # fmt: skip
    """One line as it was spoken, beside its recording."""
    spoken, own = recognisers.recognise(line["text"], line["language"], [samples, recording])
    return speech_scores.scored(
        Judged(
            line["id"], line["text"], line["language"], line["voice"] or "unknown", samples, spoken.text,
            line["emotion"] or "neutral", spoken.language, spoken.second,
        ),
        None if recording is None else ReferenceRecording(recording, own.text, own.language, own.second),
    )  # fmt: skip


def figures(scores: dict[str, Any]) -> Iterator[str | FigureTable]:
    """The scores for the terminal."""
    yield f"{scores['sentences']:,} sentences, {scores['words']:,} words; {scores['not_spoken']:,} it could not say"
    rows = [("all", *_row(scores))]
    for kind, some in scores["slices"].items():
        rows += [(f"{kind}: {name}", *_row(one)) for name, one in some.items()]
    yield FigureTable(
        ("slice", "characters wrong", "above the recordings", "distance", "semitones", "length", "sentences"),
        tuple(rows),
    )
    if sentence := second_sentence(scores):
        yield sentence
    yield f"{scores['speed']['real_time_factor']} s of CPU per second of speech"


def second_sentence(scores: dict[str, Any]) -> str:
    """What the second recogniser was asked, with the names of both; empty where it was not."""
    second = scores.get("second") or {"sentences": 0}
    if not second["sentences"]:
        return ""
    names = " and ".join(scores.get("recognisers", ()))
    return (
        f"{second['sentences']:,} sentences mix two languages: {names} transcribed them, and the transcript with fewer "
        f"errors counts (the second's in {second['lower']:,}; both write the same in {second['same']:,})"
    )


def headline(scores: dict[str, Any]) -> str:
    return f"{100 * scores['cer'][0]:.1f} characters wrong of 100" if scores["cer"] else ""


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    cer, above = one["cer"], one["cer_against_reference"]
    return (
        f"{100 * cer[0]:.1f} %" if cer else "-", f"{100 * above[0]:+.1f}" if above else "-",
        _number(one["distance"]), _number(one["semitones"], sign=True), _number(one["duration_ratio"]),
        f"{one['sentences']:,}",
    )  # fmt: skip


def _number(value: float | None, *, sign: bool = False) -> str:
    return "-" if value is None else f"{value:+.2f}" if sign else f"{value:.2f}"


def _said(context: Context, folder: Path, lines: Sequence[Line]) -> Iterator[Speech | PermanentError]:
    """Each line by the version. A voice or an emotion that it does not have is said by its first."""
    voice = voice_loading.load(context.settings, folder)
    names = voice.needs
    return voice.speak_each(
        [
            SpeechLine(
                line["text"], line["language"], line["voice"] if line["voice"] in names.voices else None,
                line["emotion"] if line["emotion"] in names.emotions else None,
            )
            for line in lines
        ]
    )  # fmt: skip


def _at_16_khz(speech: Speech) -> Array:
    if speech.rate_hz == RATE_HZ:
        return speech.samples
    with tempfile.TemporaryDirectory(prefix="kaan-speech-") as folder:
        spoken, decoded = Path(folder) / "spoken.wav", Path(folder) / "16k.wav"
        spoken.write_bytes(speech.to_wav())
        decoding.decode(spoken, decoded)
        return _samples_of(decoded)


def _samples_of(decoded: Path) -> Array:
    return np.asarray(decoding.read_wav(decoded)[0][0], dtype=np.float32)
