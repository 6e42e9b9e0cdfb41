"""Decoded Recording -> Transcript: times in the recording, confidences, flags, channels merged by time."""

from __future__ import annotations

import math

from ml_backend.asr import guards, timing
from ml_backend.asr.pool import Recording, WindowWork
from ml_backend.asr.transcript import NO_TEXT, Segment, Transcript, Word
from ml_backend.asr.windows import RATE_HZ
from ml_backend.models import manifest

_LEAST_S_PER_WORD = 0.05


def transcript_of(recording: Recording, *, model_version: str) -> Transcript:
    """A recording without speech has no segments, whatever the model wrote."""
    segments = [segment for work in recording.work for segment in _segments(work)]
    segments.sort(key=lambda s: (s.start_s, s.channel))
    weight = sum(s.end_s - s.start_s for s in segments)
    confidence = sum(s.confidence * (s.end_s - s.start_s) for s in segments) / weight if weight else 0.0
    return Transcript(
        segments=tuple(segments),
        language=recording.language if recording.work else recording.request.profile.language,
        language_probability=float(recording.language_probability if recording.work else 0.0),
        duration_s=round(recording.request.samples.shape[-1] / RATE_HZ, 3),
        confidence=round(confidence, 4),
        model_version=model_version,
        flags=tuple(
            sorted(
                {flag for work in recording.work for flag in _verdict(work).flags}
                | {flag for segment in segments for flag in segment.flags}
            )
        ),
    )


def _verdict(work: WindowWork) -> guards.GuardResult:
    decoded = work.decoded
    if decoded is None:
        return guards.GuardResult(empty=True)
    return guards.judge(
        guards.Evidence(
            text=decoded.text,
            avg_logprob=decoded.avg_logprob,
            no_speech_probability=decoded.no_speech_probability,
            speech_probability=work.window.speech_probability,
            duration_s=work.window.duration_s,
            level_dbfs=work.level_dbfs,
        )
    )


def _segments(work: WindowWork) -> list[Segment]:
    """One segment per phrase with words, and one per stretch of certain speech without words."""
    verdict, decoded, window = _verdict(work), work.decoded, work.window
    if verdict.empty or decoded is None:
        return _marks(work, [], verdict.flags)
    if not decoded.words:
        value = _confidence(work, slice(0, 0), verdict.flags)
        return [
            Segment(
                round(window.start_s, 2),
                round(window.end_s, 2),
                decoded.text,
                window.channel,
                round(value, 4),
                (),
                verdict.flags,
            )
        ]
    phrases = timing.by_phrase(decoded.words, window)
    made = _marks(work, phrases, verdict.flags)
    place = 0
    for spoken in phrases:
        phrase = spoken.phrase
        words = tuple(
            Word(
                round(window.in_recording_s(word.start_s, phrase.piece), 2),
                round(window.in_recording_s(word.end_s, phrase.piece), 2),
                word.text.strip(),
                round(word.probability, 4),
            )
            for word in spoken.words
        )
        taken = slice(place, place + len(words))
        place += len(words)
        value = _confidence(work, taken, verdict.flags)
        text = "".join(word.text for word in spoken.words).strip()
        start_s, end_s = words[0].start_s, words[-1].end_s
        if end_s - start_s < _LEAST_S_PER_WORD * len(words):  # alignment failed: use the times of the stretch
            start_s = window.in_recording_s(phrase.start_s, phrase.piece)
            end_s = window.in_recording_s(phrase.end_s, phrase.piece)
        made.append(
            Segment(round(start_s, 2), round(end_s, 2), text, window.channel, round(value, 4), words, verdict.flags)
        )
    return made


def _marks(work: WindowWork, phrases: list[timing.TimedPhraseWords], flags: tuple[str, ...]) -> list[Segment]:
    """Segments for speech without a text: the text was dropped, ended early or skipped it."""
    window = work.window
    return [
        Segment(
            round(window.in_recording_s(start_s, phrase.piece), 2),
            round(window.in_recording_s(end_s, phrase.piece), 2),
            "",
            window.channel,
            flags=tuple(sorted({*flags, NO_TEXT})),
        )
        for phrase, start_s, end_s in timing.untranscribed(phrases, window)
        if not any(begin_s <= start_s and end_s <= stop_s for begin_s, stop_s in work.transcribed_apart)
    ]


def _confidence(work: WindowWork, words: slice, flags: tuple[str, ...]) -> float:
    """The confidence of some words of a window, by the formula of its model version."""
    decoded = work.decoded
    assert decoded is not None  # noqa: S101 - it has a text
    if work.confidence == manifest.WINDOW:
        probabilities = [round(word.probability, 4) for word in decoded.words[words]]
        return guards.window_confidence(decoded.avg_logprob, probabilities, flags)
    tokens = [probability for word in decoded.word_tokens[words] for probability in word]
    return guards.confidence(tokens or [math.exp(min(0.0, decoded.avg_logprob))], flags)
