"""Transcript -> the answers of OpenAI's transcription route: json, text, verbose_json, srt, vtt, and events."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import Any

import orjson

from ml_backend import languages
from ml_backend.asr.transcript import Segment, Transcript

CONTENT_TYPES = {
    "json": "application/json", "verbose_json": "application/json", "text": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8", "vtt": "text/vtt; charset=utf-8",
}  # fmt: skip
EVENTS = "text/event-stream; charset=utf-8"


def written(transcript: Transcript, form: str, *, granularities: list[str]) -> bytes:
    """The body of an answer in one of `CONTENT_TYPES`."""
    if form == "json":
        return orjson.dumps({"text": transcript.text, "usage": _usage(transcript)})
    if form == "verbose_json":
        return orjson.dumps(verbose(transcript, granularities=granularities))
    if form == "text":
        return f"{transcript.text}\n".encode()
    return _subtitles(transcript, "," if form == "srt" else ".", head="" if form == "srt" else "WEBVTT\n\n").encode()


def verbose(transcript: Transcript, *, granularities: list[str]) -> dict[str, Any]:
    """`verbose_json`. What this engine does not have is 0 or empty: `tokens`, `seek`, `temperature`.

    `no_speech_prob` is 0: pauses never reach the model. `avg_logprob` is of words; `compression_ratio` is Whisper's:
    the UTF-8 bytes of the text per byte of its zlib form.
    """
    found: dict[str, Any] = {
        "task": "transcribe",
        "language": languages.name_of(transcript.language or "").lower(),
        "duration": round(transcript.duration_s, 3),
        "text": transcript.text,
        "usage": _usage(transcript),
    }
    spoken = _spoken(transcript)
    if "word" in granularities:
        found["words"] = [
            {"word": word.text.strip(), "start": word.start_s, "end": word.end_s}
            for segment in spoken
            for word in segment.words
        ]
    if "segment" in granularities:
        found["segments"] = [_segment(number, segment) for number, segment in enumerate(spoken)]
    return found


def events(transcript: Transcript) -> Iterator[bytes]:
    """Server-sent events: `transcript.text.delta` for each segment, then `transcript.text.done`."""
    for number, segment in enumerate(_spoken(transcript)):
        text = segment.text.strip()
        yield _event({"type": "transcript.text.delta", "delta": f" {text}" if number else text})
    yield _event({"type": "transcript.text.done", "text": transcript.text, "usage": _usage(transcript)})


def _event(said: dict[str, Any]) -> bytes:
    return f"event: {said['type']}\ndata: ".encode() + orjson.dumps(said) + b"\n\n"


def _usage(transcript: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(transcript.duration_s)}


def _spoken(transcript: Transcript) -> list[Segment]:
    ordered = sorted(transcript.segments, key=lambda segment: (segment.start_s, segment.channel))
    return [segment for segment in ordered if segment.text.strip()]


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    raw = segment.text.strip().encode()
    sure = [max(word.probability, 1e-10) for word in segment.words] or [max(segment.confidence, 1e-10)]
    return {
        "id": number, "seek": 0, "start": segment.start_s, "end": segment.end_s, "text": segment.text.strip(),
        "tokens": [], "temperature": 0.0, "avg_logprob": round(sum(map(math.log, sure)) / len(sure), 4),
        "compression_ratio": round(len(raw) / len(zlib.compress(raw)), 4), "no_speech_prob": 0.0,
        "channel": segment.channel, "confidence": segment.confidence,
    }  # fmt: skip


def _subtitles(transcript: Transcript, point: str, *, head: str) -> str:
    blocks = []
    for number, segment in enumerate(_spoken(transcript), 1):
        lines = [f"{_clock(segment.start_s, point)} --> {_clock(segment.end_s, point)}", segment.text.strip()]
        blocks.append("\n".join(lines if head else [str(number), *lines]))
    return head + "\n\n".join(blocks) + ("\n" if blocks else "")


def _clock(seconds: float, point: str) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02d}:{whole // 60_000 % 60:02d}:{whole // 1000 % 60:02d}{point}{whole % 1000:03d}"
