"""Decoded windows of one recording -> Transcript: times in the recording, confidences, flags, legs merged by time."""

from __future__ import annotations

from itertools import groupby

from ml_backend.recognition import guards
from ml_backend.recognition.pool import Recording, Work
from ml_backend.recognition.windows import RATE_HZ
from ml_backend.transcript import Segment, Transcript, Word

_LEAST_S_PER_WORD = 0.05


def transcript_of(recording: Recording, *, model_version: str) -> Transcript:
    """A recording without speech has no segments, whatever the model said."""
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
        flags=tuple(sorted({flag for work in recording.work for flag in _verdict(work).flags})),
    )


def _verdict(work: Work) -> guards.Verdict:
    decoded = work.decoded
    if decoded is None:
        return guards.Verdict(empty=True)
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


def _segments(work: Work) -> list[Segment]:
    """One segment per phrase in the window that got words."""
    verdict, decoded, window = _verdict(work), work.decoded, work.window
    if verdict.empty or decoded is None:
        return []
    if not decoded.words:
        value = guards.confidence(decoded.avg_logprob, [], verdict.flags)
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
    made = []

    def place(word: Word) -> tuple[int, int]:
        middle_s = (word.start_s + word.end_s) / 2
        piece = window.piece_at(middle_s)
        return piece, window.phrase_at(middle_s, piece)

    for (piece, phrase), found in groupby(decoded.words, key=place):
        some = list(found)
        low_s, high_s = window.span_s(piece, phrase)  # alignment lets words reach into the pause: cut that off
        words = tuple(
            Word(
                round(min(max(window.in_recording_s(word.start_s, piece), low_s), high_s), 2),
                round(min(max(window.in_recording_s(word.end_s, piece), low_s), high_s), 2),
                word.text.strip(),
                round(word.probability, 4),
            )
            for word in some
        )
        value = guards.confidence(decoded.avg_logprob, [word.probability for word in words], verdict.flags)
        text = "".join(word.text for word in some).strip()
        start_s, end_s = words[0].start_s, words[-1].end_s
        if end_s - start_s < _LEAST_S_PER_WORD * len(words):  # alignment found no places: the stretch itself is better
            start_s, end_s = low_s, high_s
        made.append(
            Segment(round(start_s, 2), round(end_s, 2), text, window.channel, round(value, 4), words, verdict.flags)
        )
    return made
