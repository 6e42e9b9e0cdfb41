"""Transcript -> Prediction. Pure; its inverse is `reference`.

Label Studio silently stores predictions that it cannot show. So every prediction is checked against the parsed config,
and one that would open empty raises an error here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ml_backend.asr.transcript import NO_TEXT, Segment, Transcript
from ml_backend.errors import PermanentError
from ml_backend.labelling.controls import Controls, Labels
from ml_backend.labelling.reference import Reference, Region, clean, to_reference
from ml_backend.labelling.validation import check
from ml_backend.languages import LANGUAGE_NAMES, SCRIPT_NAMES, name_of

__all__ = [
    "Reference",
    "Region",
    "silent_key",
    "status_line",
    "to_empty_regions",
    "to_prediction",
    "to_reference",
    "unsure_words",
]

MIN_REGION_S = 0.01  # shorter regions cannot be grabbed in the editor
_TIMES_SHOWN = 3
LEAST_SURE_WORD = 0.5  # a word below it is counted as unsure
LEAST_SURE_LANGUAGE = 0.8  # of a detected language; below it the annotator is asked to check


@dataclass(frozen=True)
class _Options:
    minimum_confidence: float
    agent_channel: int | None


def to_prediction(
    transcript: Transcript,
    controls: Controls,
    *,
    draft_label: str,
    duration_s: float,
    quality_label: str | None = None,
    script: str | None = None,
    minimum_confidence: float = 0.0,
    agent_channel: int | None = None,
) -> dict[str, Any]:
    """The JSON object for Label Studio: model_version, score, result.

    Text with a confidence below `minimum_confidence` gets the config's `check` label; without such a label the text is
    left out and its region stays. For silence only the choices are drafted.
    Raises PermanentError: `config-unusable`, `nothing-to-draft` (silence and no choices to pre-set: push nothing),
    `renders-empty` (a transcript with text that the editor would not show), `prediction-invalid` (a bug of ours).
    """
    if not controls.usable:
        why = " ".join(controls.problems) or "It has no audio or no text area."
        raise PermanentError("config-unusable", f"The label config cannot show a transcript. {why}", _FIX_CONFIG)
    text = _regions if controls.by_regions else _whole_text
    drafted = text(transcript, controls, duration_s, _Options(minimum_confidence, agent_channel))
    result = [*drafted, *_preset(transcript, controls, quality_label, script)]
    silent = not any(clean(s.text) for s in transcript.segments)
    unsure = not silent and _unit(transcript.confidence) < minimum_confidence
    if not drafted and not silent and not unsure:
        raise PermanentError("renders-empty", "The transcript has text but the editor would show none.", _FIX_CONFIG)
    if not result:
        raise PermanentError(
            "nothing-to-draft", "There is no text to draft and no choice to pre-set.", "Nothing: leave the task empty."
        )
    prediction = {"model_version": draft_label, "score": _unit(transcript.confidence), "result": result}
    if faults := check(prediction, controls):
        raise PermanentError(
            "prediction-invalid",
            f"The rendered prediction does not fit the label config: {faults[0]}.",
            "Report this with the project's labelling interface.",
        )
    return prediction


_SILENT = ("no-speech", "no speech", "silence", "silent")  # the reject reasons for silence
_FIX_CONFIG = "Correct the project's labelling interface, or use `python -m ml_backend project create --config calls`."


def _whole_text(
    transcript: Transcript, controls: Controls, duration_s: float, options: _Options
) -> list[dict[str, Any]]:
    """One text area for the whole file."""
    assert controls.text is not None  # noqa: S101 - usable
    text = " ".join(filter(None, (clean(s.text) for s in _in_order(transcript))))
    if not text or _unit(transcript.confidence) < options.minimum_confidence:
        return []
    item = _item("text", controls.text.name, controls.audio, "textarea", {"text": [text]})
    return [{**item, "score": _unit(transcript.confidence)}]


def _regions(transcript: Transcript, controls: Controls, duration_s: float, options: _Options) -> list[dict[str, Any]]:
    """Items with one id per segment: the label that makes the region, a mark if it is doubtful, its text."""
    text, labels, check_label = controls.text, controls.labels, controls.check
    assert text is not None  # noqa: S101 - by_regions
    assert labels is not None  # noqa: S101
    items: list[dict[str, Any]] = []
    for number, segment in enumerate(s for s in _in_order(transcript) if _is_shown(s)):
        marked = check_label if _is_unsure(segment, options.minimum_confidence) else None
        names = {labels.name: [_label(segment, labels, options.agent_channel)]}
        if marked and marked.name == labels.name and not labels.multiple:
            names[labels.name] = [marked.option]
        elif marked:
            names.setdefault(marked.name, []).append(marked.option)
        start_s, end_s = _span(segment, duration_s)
        place = {"start": start_s, "end": end_s, "channel": segment.channel}
        extra = {"original_length": duration_s, "score": _unit(segment.confidence)}
        region_id = f"segment-{number:04d}"
        for name, given in names.items():
            items.append({**_item(region_id, name, controls.audio, "labels", {**place, "labels": given}), **extra})
        if clean(segment.text) and (marked or _unit(segment.confidence) >= options.minimum_confidence):
            value = {**place, "text": [clean(segment.text)]}
            items.append({**_item(region_id, text.name, controls.audio, "textarea", value), **extra})
    return items


def _label(segment: Segment, labels: Labels, agent_channel: int | None) -> str:
    """The speaker's label if the agent's channel is known and the config has one, else the label for speech."""
    if agent_channel is None:
        return labels.speech
    return (labels.agent if segment.channel == agent_channel else labels.customer) or labels.speech


def _preset(
    transcript: Transcript, controls: Controls, quality_label: str | None, script: str | None
) -> list[dict[str, Any]]:
    """Pre-set the choices that we know, if the config has the option."""
    language = transcript.language or ""
    spoken = bool(transcript.segments)
    wanted = {
        "quality": (quality_label,) if quality_label else (),
        "language": LANGUAGE_NAMES.get(language, (language,)) if language and spoken else (),
        "script": SCRIPT_NAMES.get(script, (script,)) if script and spoken else (),
        "reject": () if any(map(_is_shown, transcript.segments)) else _SILENT,
    }
    items = []
    for role, words in wanted.items():
        choices = controls.choices.get(role)
        option = choices.option(*words) if choices and words and not choices.per_region else None
        if choices and option:
            items.append(_item(role, choices.name, controls.audio, "choices", {"choices": [option]}))
    return items


def _item(item_id: str, from_name: str, to_name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"id": item_id, "from_name": from_name, "to_name": to_name, "type": kind, "value": value}


def _in_order(transcript: Transcript) -> list[Segment]:
    return sorted(transcript.segments, key=lambda s: (s.start_s, s.channel))


def _is_shown(segment: Segment) -> bool:
    """Whether it has text, or is speech that a person has to transcribe."""
    return bool(clean(segment.text)) or NO_TEXT in segment.flags


def _is_unsure(segment: Segment, minimum_confidence: float) -> bool:
    return bool(segment.flags) or _unit(segment.confidence) < minimum_confidence


def _span(segment: Segment, duration_s: float) -> tuple[float, float]:
    """The segment's times in seconds, to the millisecond, inside the audio and with start before end."""
    duration_s = max(duration_s, MIN_REGION_S)
    wanted_start_s = segment.start_s if math.isfinite(segment.start_s) else 0.0
    wanted_end_s = segment.end_s if math.isfinite(segment.end_s) else duration_s
    start_s = round(float(min(max(wanted_start_s, 0.0), duration_s - MIN_REGION_S)), 3)
    end_s = round(float(max(min(wanted_end_s, duration_s), start_s + MIN_REGION_S)), 3)
    return start_s, end_s


def _unit(value: float) -> float:
    """A score that Label Studio accepts: finite, 0..1, four decimals."""
    return round(min(max(value, 0.0), 1.0), 4) if math.isfinite(value) else 0.0


def to_empty_regions(
    speech: Sequence[Sequence[Any]], controls: Controls, *, draft_label: str, duration_s: float
) -> dict[str, Any] | None:
    """Empty regions where there is speech, for a task without a draft; None if there is nothing to show.

    `speech` are (start_s, end_s, channel) as measured on the audio. No model decides what a blind task shows, so that
    the test set does not favour that model.
    """
    if not controls.by_regions or controls.labels is None:
        return None
    result = []
    for number, (start_s, end_s, channel) in enumerate(speech):
        end_s = round(min(float(end_s), duration_s), 3)
        if end_s - start_s < MIN_REGION_S:
            continue
        place = {"start": round(float(start_s), 3), "end": end_s, "channel": int(channel)}
        value = {**place, "labels": [controls.labels.speech]}
        item = _item(f"speech-{number:04d}", controls.labels.name, controls.audio, "labels", value)
        result.append({**item, "original_length": duration_s})
    prediction = {"model_version": draft_label, "score": 0.0, "result": result}
    return None if check(prediction, controls) else prediction


def unsure_words(transcript: Transcript) -> int:
    """The number of words that a person should check."""
    return sum(w.probability < LEAST_SURE_WORD for s in transcript.segments if _is_shown(s) for w in s.words)


def status_line(
    transcript: Transcript | None,
    *,
    refused: str | None = None,
    cut_at_s: float | None = None,
    damaged: bool = False,
    minimum_confidence: float = 0.0,
    detected: bool = False,
    silent_key: str | None = None,
) -> str:
    """The line above the audio with what the annotator must do; empty if nothing is unusual.

    `transcript` is None while it is being made; `refused` is the reason why the audio cannot be used. `detected`: the
    language was detected, not set. `silent_key` removes the pre-set reject reason (`to_prediction`).
    """
    if refused:
        return refused.strip().rstrip(".")
    parts = []
    if cut_at_s is not None:
        parts.append(f"audio cut at {cut_at_s:.0f} s")
    if damaged:
        parts.append("parts of the audio are damaged")
    if transcript is None:
        parts.append("draft coming")
    elif not any(map(_is_shown, transcript.segments)):
        parts.append(f"silent: submit if so, press {silent_key} if somebody speaks" if silent_key else _SILENT_LINE)
    else:
        if detected and is_guess(transcript.language, transcript.language_probability):
            parts.append(f"check the language: {name_of(transcript.language or '')} is a guess")
        unsure = [s for s in _in_order(transcript) if _is_shown(s) and _is_unsure(s, minimum_confidence)]
        if unsure:
            parts.append(_unsure_line(unsure))
    return ", ".join(parts)


def is_guess(language: str | None, probability: float | None) -> bool:
    """Whether a person has to check the language that detection gave, with the probability it gave for it."""
    return bool(language) and (probability or 0.0) < LEAST_SURE_LANGUAGE


_SILENT_LINE = "silent: submit without text if so"


def silent_key(controls: Controls) -> str | None:
    """The hotkey of the reject reason that is pre-set for a silent call, if the config has one."""
    choices = controls.choices.get("reject")
    option = choices.option(*_SILENT) if choices and not choices.per_region else None
    return (choices.key(option) or None) if choices and option else None


def _unsure_line(segments: list[Segment]) -> str:
    times = [f"{int(s.start_s) // 60}:{int(s.start_s) % 60:02d}" for s in segments]
    rest = len(times) - _TIMES_SHOWN
    named = f"{len(times)} unsure region{'s' if len(times) > 1 else ''}: listen at "
    return named + ", ".join(times[:_TIMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
