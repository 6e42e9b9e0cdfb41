"""Speech that nobody wrote down is told from silence: it has a segment of its own, without text and marked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml_backend.asr import segments
from ml_backend.asr.engine import Request
from ml_backend.asr.pool import Recording, WindowWork
from ml_backend.asr.transcript import NO_TEXT, DecodingProfile, Segment
from ml_backend.asr.window_decoding import DecodedWindow
from ml_backend.asr.windows import Window
from tests.ml_backend.asr.test_timing import PACKED, words

SAID = words((0.3, 1.4, "hello"), (1.4, 2.6, "there"))


def found(decoded: DecodedWindow, *, window: Window = PACKED, **work: object) -> list[Segment]:
    request = Request(np.zeros((1, 30 * 16_000), np.float32), DecodingProfile(language="en"))
    one = replace(WindowWork(0, window, np.zeros((80, 600), np.float32), -20.0, decoded=decoded), **work)  # type: ignore[arg-type]
    return list(segments.transcript_of(Recording(request, "en", work=[one]), model_version="m").segments)


def decoded(*said: object, text: str = "hello there", avg_logprob: float = -0.2) -> DecodedWindow:
    return DecodedWindow((1, 2, 3), text, avg_logprob, 0.01, tuple(said), tuple((0.9,) for _ in said))  # type: ignore[arg-type]


def test_speech_that_the_text_passes_over_is_a_marked_segment_without_text():
    told, passed_over = found(decoded(*SAID))
    assert (told.text, told.flags) == ("hello there", ())
    assert (passed_over.text, passed_over.flags, passed_over.confidence) == ("", (NO_TEXT,), 0.0)
    assert (passed_over.start_s, passed_over.end_s) == (pytest.approx(20.3), pytest.approx(22.7))


def test_clear_speech_whose_text_was_dropped_is_marked_and_says_why():
    marked = found(decoded(text="thank you " * 12))
    assert [one.text for one in marked] == ["", ""]
    assert all(NO_TEXT in one.flags and "repetition" in one.flags for one in marked)


def test_what_was_decoded_once_more_by_itself_is_not_marked_twice():
    assert [one.text for one in found(decoded(*SAID), transcribed_apart=((3.0, 6.0),))] == ["hello there"]
