"""The IVR's prompts with known texts -> the same prompts by another version, beside the old ones, and how they compare.

A prompt is a sound that lies where the IVR reads it. Its text is known from `voice_clips`: from a `.txt` beside it, or
from the clip with the same language and name elsewhere, because an IVR saves its pairs under the same hash. A prompt
without a text is counted and left alone. It keeps its voice and emotion where the version has them, else it gets the
version's first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from ml_backend.audio import decoding
from ml_backend.context import Context
from ml_backend.errors import PermanentError
from ml_backend.tables import voice_clips
from ml_backend.tts import prompts
from ml_backend.tts.prompts import PromptPlaces, Saying
from ml_backend.tts.voice_loading import Voice
from training.scoring import speech_measures
from training.scoring.speech_measures import SpeechMeasures

READY, MISSING, CLIPPED, SILENT, LENGTH, UNREADABLE = "ready", "missing", "clipped", "silent", "length", "unreadable"
MOST_CLIPPED = 0.005
SHORTEST, LONGEST = 0.5, 2.0  # of the old prompt's speech, without the silence around it
_LEAST_SPEECH_S = 0.1
Report = Callable[[float, str], None]


@dataclass(frozen=True)
class IvrPrompt:
    """A prompt that the IVR has, as `voice_clips` knows it."""

    key: str
    text: str
    language: str
    voice: str | None
    emotion: str | None
    model_version: str | None


@dataclass(frozen=True)
class PromptList:
    """`known` can be spoken anew; `textless` are keys without a known text or language."""

    known: tuple[IvrPrompt, ...]
    textless: tuple[str, ...]


@dataclass(frozen=True)
class RenderReport:
    """`failed`: (key, code, sentence) of prompts that the version cannot say."""

    new: int
    before: int
    failed: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class PromptComparison:
    """One prompt, old and new; `state` is `ready` or what is wrong with the new one. Lengths are those of speech."""

    prompt: IvrPrompt
    rendering: str
    state: str
    old_s: float | None = None
    new_s: float | None = None
    clipped_share: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.new_s / self.old_s if self.new_s and self.old_s else None


@dataclass(frozen=True)
class PromptScope:
    """Which prompts a version may speak: those of one language, or all but those whose language has a champion of its
    own."""

    only: str | None = None
    but: frozenset[str] = frozenset()

    def has(self, prompt: IvrPrompt) -> bool:
        return prompt.language == self.only if self.only else prompt.language not in self.but


EVERY = PromptScope()


def listed(context: Context, scope: PromptScope = EVERY) -> PromptList:
    """What the IVR reads now, in the order of the keys."""
    places = PromptPlaces.of(context.settings)
    keys = [info.key for info in context.store.list(places.bucket, prefix=places.live) if info.key.endswith(".wav")]
    own, twins = _rows(context, places)
    known, textless = [], []
    for key in keys:
        row = own.get(key)
        said = row if row is not None and row.text else twins.get(_language_and_name(key))
        if said is None or not said.language:
            textless.append(key)
            continue
        known.append(
            IvrPrompt(
                key, said.text, said.language, (row.voice if row is not None else None) or said.voice,
                (row.emotion if row is not None else None) or said.emotion,
                row.model_version if row is not None else None,
            )
        )  # fmt: skip
    return PromptList(tuple(one for one in known if scope.has(one)), tuple(textless))


def _rows(context: Context, places: PromptPlaces) -> tuple[dict[str, Any], dict[tuple[str, str], Any]]:
    """(clips of prompts by key, the only text of each language and name elsewhere)"""
    own: dict[str, Any] = {}
    twins: dict[tuple[str, str], Any] = {}
    twofold = set()
    for row in context.db.rows(sa.select(voice_clips).order_by(voice_clips.c.id)):
        if row.bucket == places.bucket and row.key.startswith(places.live):
            own[row.key] = row
        elif row.text and not (row.bucket == places.bucket and row.key.startswith(places.versions)):
            name = _language_and_name(row.key)
            if name in twins and twins[name].text != row.text:
                twofold.add(name)
            twins.setdefault(name, row)
    return own, {name: row for name, row in twins.items() if name not in twofold}


def _language_and_name(key: str) -> tuple[str, str]:
    """(`hi`, `4f2a`) of `tts/hi/4f2a.wav`"""
    parts = key.rsplit("/", 2)
    return (parts[-2] if len(parts) > 1 else "", parts[-1].rpartition(".")[0])


def to_say(speaker: Voice, prompt: IvrPrompt) -> Saying:
    needs = speaker.needs
    return prompts.saying(
        speaker, prompt.text, prompt.language,
        voice=prompt.voice if prompt.voice in needs.voices else None,
        emotion=prompt.emotion if prompt.emotion in needs.emotions else None,
    )  # fmt: skip


def render(
    context: Context, speaker: Voice, *, scope: PromptScope = EVERY, report: Report = lambda fraction, note: None
) -> RenderReport:
    """Speak every prompt that this version has not spoken yet. What it cannot say costs the others nothing."""
    known, failed, new = listed(context, scope).known, [], 0
    made = prompts.spoken_each(context, speaker, [to_say(speaker, prompt) for prompt in known])
    for number, (prompt, found) in enumerate(zip(known, made, strict=True), 1):
        if isinstance(found, PermanentError):
            failed.append((prompt.key, found.code, f"{found.sentence} {found.next_step}".strip()))
        else:
            new += found[1]
        report(number / len(known), f"prompt {number:,} of {len(known):,}")
    return RenderReport(new, len(known) - new - len(failed), tuple(failed))


def compare(
    context: Context, speaker: Voice, *, scope: PromptScope = EVERY, report: Report = lambda fraction, note: None
) -> list[PromptComparison]:
    """Each prompt beside its rendering by this version, by figures; whether it sounds better, people say."""
    known, found = listed(context, scope).known, []
    for number, prompt in enumerate(known, 1):
        found.append(_compared(context, prompt, to_say(speaker, prompt)))
        report(number / len(known), f"prompt {number:,} of {len(known):,}")
    return found


def _compared(context: Context, prompt: IvrPrompt, asked: Saying) -> PromptComparison:
    places = PromptPlaces.of(context.settings)
    key = asked.key(places)
    if context.store.stat(places.bucket, key) is None:
        return PromptComparison(prompt, key, MISSING)
    new, old = _measured(context, places.bucket, key), _measured(context, places.bucket, prompt.key)
    if new is None:
        return PromptComparison(prompt, key, UNREADABLE)
    old_s = old.active_s if old is not None else None
    ratio = new.active_s / old_s if old_s else 1.0
    state = READY
    if new.active_s < _LEAST_SPEECH_S:
        state = SILENT
    elif new.clipped_share > MOST_CLIPPED:
        state = CLIPPED
    elif not SHORTEST <= ratio <= LONGEST:
        state = LENGTH
    return PromptComparison(prompt, key, state, old_s, new.active_s, new.clipped_share)


def _measured(context: Context, bucket: str, key: str) -> SpeechMeasures | None:
    """None for what cannot be read as audio: an old prompt may be anything."""
    with tempfile.TemporaryDirectory(prefix="kaan-prompts-") as folder:
        source, plain = Path(folder) / "prompt", Path(folder) / "prompt.16k.wav"
        try:
            context.store.fetch(bucket, key, source)
            decoding.decode(source, plain)
            return speech_measures.measured(np.asarray(decoding.read_wav(plain)[0][0], dtype=np.float32))
        except PermanentError:
            return None
