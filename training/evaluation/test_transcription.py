"""Model, lines of a dataset -> utterances: every line transcribed like a call; the model detects the language.

A line without audio is counted and skipped. A line that the engine refuses counts as transcribed to nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ml_backend import quantities
from ml_backend.asr.engine import Transcriber
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile, Transcript
from ml_backend.context import Context
from ml_backend.errors import KaanError
from ml_backend.labelling import project_rules
from ml_backend.settings import Settings
from ml_backend.tables import annotations as written
from ml_backend.tables import projects
from ml_backend.usefulness.speech_slices import snr_band
from training.datasets import clip_audio
from training.evaluation import silence
from training.scoring import error_counts
from training.scoring.scores import MAIN, Utterance
from training.text.readings import CURRENT

_POOL_S = 600.0
_HEADER_BYTES = 44
_LONG_S, _SHORT_S = 10.0, 3.0
Report = Callable[[float, str], None]


def transcribe_test_set(
    context: Context, engine: Transcriber, lines: Sequence[dict[str, Any]], report: Report
) -> tuple[list[Utterance], dict[str, Any], int]:
    """Transcribe every line like a call, with language detection, and measure the speed."""
    profile = profile_of(context.settings)
    people = _people(context, lines)
    scored: list[Utterance] = []
    wall_s = cpu_s = audio_s = 0.0
    gone = done = 0
    with clip_audio.Clips(context) as clips:
        clips.expect(list(lines))
        for pool in _pools(lines):
            requests, spoken = [], []
            for line in pool:
                if (samples := wave(clips, line)) is None:
                    gone += 1
                    continue
                requests.append(Request(samples[None], profile, key=line["id"]))
                spoken.append(line)
            began = time.monotonic(), time.process_time()
            answers = engine.transcribe(requests)
            wall_s, cpu_s = wall_s + time.monotonic() - began[0], cpu_s + time.process_time() - began[1]
            for line, answer in zip(spoken, answers, strict=True):
                scored.append(
                    utterance(line, answer, annotators=people.get((line["project_id"], line["annotation_id"])))
                )
                audio_s += scored[-1].duration_s
            done += len(pool)
            report(done / len(lines), f"{done} of {len(lines)} test rows transcribed")
    per_s = max(audio_s, 0.001)
    speed = {"real_time_factor": round(wall_s / per_s, 4), "cpu_per_audio_s": round(cpu_s / per_s, 4),
             "audio_s": round(audio_s, 1)}  # fmt: skip
    return scored, speed, gone


def wave(clips: clip_audio.Clips, line: dict[str, Any]) -> npt.NDArray[np.float32] | None:
    """A line's samples, 16 kHz in -1..1; None if the audio is gone."""
    try:
        raw = clips.clip(line)[_HEADER_BYTES:]
    except KaanError:
        return None
    return np.frombuffer(raw, "<i2").astype(np.float32) / np.float32(32768.0)


def utterance(line: dict[str, Any], answer: Transcript | KaanError, *, annotators: str | None = None) -> Utterance:
    """A manifest line and a model's answer -> the errors under every normaliser."""
    text = answer.text if isinstance(answer, Transcript) else ""
    language, reference = line["language"], line["text"] or ""
    tallies = {}
    edits = (0, 0, 0)
    for name in CURRENT:
        found = error_counts.count(reference, text, normaliser=name, language=language)
        plain = found.to_json()
        tallies[name] = (plain["words"], plain["word_edits"], plain["chars"], plain["char_edits"])
        if name == MAIN:
            edits = (found.word_edits.substitutions, found.word_edits.deletions, found.word_edits.insertions)
    length_s = float(line["end_s"] - line["start_s"])
    chance = line.get("selection_probability")
    slices = {
        "language": language or "unknown",
        "channel": f"channel {line['channel']}",
        "snr": snr_band(line.get("snr_db")),
        "duration": "10 s and more" if length_s >= _LONG_S else "3-10 s" if length_s >= _SHORT_S else "below 3 s",
    } | ({"annotators": annotators} if annotators else {})
    call = line.get("call_id") or line["audio_sha256"]
    return Utterance(
        id=line["id"], audio_sha256=line["audio_sha256"], call=call, caller=line.get("speaker_id") or call,
        duration_s=round(length_s, 3), language=language or "", reference=reference, hypothesis=text,
        detected_language=answer.language if isinstance(answer, Transcript) and text.strip() else None,
        weight=1 / chance if chance else 1.0, empty=not text.strip(), slices=slices, tallies=tallies, edits=edits,
    )  # fmt: skip


def _people(context: Context, lines: Sequence[dict[str, Any]]) -> dict[tuple[Any, Any], str]:
    """Who wrote each reference: reviewer or other if the project names its reviewers, otherwise the person."""
    wanted = sorted({line["annotation_id"] for line in lines if line["annotation_id"]})
    found: dict[tuple[Any, Any], str] = {}
    for at in range(0, len(wanted), 500):
        statement = (
            sa.select(
                projects.c.ls_project_id, projects.c.selection, written.c.ls_annotation_id, written.c.annotator
            )
            .join(projects, projects.c.id == written.c.project_id)
            .where(written.c.ls_annotation_id.in_(wanted[at : at + 500]), written.c.annotator.is_not(None))
        )  # fmt: skip
        for row in context.db.rows(statement):
            reviewers = project_rules.selection(row.selection).reviewers
            group = (
                ("reviewers" if row.annotator in reviewers else "others") if reviewers else f"person {row.annotator}"
            )
            found[row.ls_project_id, row.ls_annotation_id] = group
    return found


def on_silence(engine: Transcriber, settings: Settings) -> dict[str, Any]:
    """The texts written for clips without speech."""
    clips = list(silence.clips())
    answers = engine.transcribe([Request(clip.samples, profile_of(settings)) for clip in clips])
    answered: list[dict[str, Any]] = [
        {"clip": clip.name, "kind": clip.kind, "words": len(one.text.split()) if isinstance(one, Transcript) else 0,
         "text": quantities.shortened(one.text, 200) if isinstance(one, Transcript) else ""}
        for clip, one in zip(clips, answers, strict=True)
    ]  # fmt: skip
    wordy = sum(one["words"] > 0 for one in answered)
    return {"clips": answered, "with_words": wordy, "of": len(answered), "share": round(wordy / len(answered), 4)}


def self_check(engine: Transcriber) -> str | None:
    """Why the version would not be served, or None."""
    try:
        engine.self_check()
    except KaanError as error:
        return error.sentence
    return None


def profile_of(settings: Settings) -> DecodingProfile:
    return DecodingProfile(beam_size=settings.asr_beam_size, languages=settings.spoken)


def _pools(lines: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    some: list[dict[str, Any]] = []
    length_s = 0.0
    for line in lines:
        some.append(line)
        length_s += line["end_s"] - line["start_s"]
        if length_s >= _POOL_S:
            yield some
            some, length_s = [], 0.0
    if some:
        yield some
