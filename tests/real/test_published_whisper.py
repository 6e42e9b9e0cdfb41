"""What only a published Whisper and human speech can show; the model of random weights and the bundled one cannot."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from bench.real import parts, recognition, voices
from ml_backend.asr.engine import Transcriber
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import NO_TEXT, DecodingProfile

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def whisper() -> Transcriber:
    try:
        parts.model()
        for name in parts.PACKAGES:
            parts.package(name)
    except parts.Missing as missing:
        if os.environ.get("CI"):
            pytest.fail(f"CI needs the real parts: {missing}")
        pytest.skip(f"The real parts cannot be had here: {missing}")
    return recognition.transcriber()


def met(row: dict[str, Any]) -> None:
    assert row["met"], row


def test_no_sound_without_speech_gets_a_text(whisper: Transcriber) -> None:
    met(recognition.invented(whisper))


def test_recordings_of_people_are_transcribed_no_worse_than_by_faster_whisper(whisper: Transcriber) -> None:
    rate, *_ = recognition.beside_plain(whisper, most=12, batched=2)
    met(rate)


def test_first_words_of_two_leg_calls_begin_where_they_are_said(whisper: Transcriber) -> None:
    made = recognition.calls(3)
    heard = [whisper.transcribe([Request(call.samples, recognition.ENGLISH)])[0] for call in made]
    starts, *_ = recognition.starts_and_confidence(made, heard)
    assert starts["value"] >= 0.95, starts  # of some thirty; `make real` has enough of them for 0.98


def test_prompt_and_hotwords_at_their_limits_are_cut_and_it_is_said(whisper: Transcriber) -> None:
    met(recognition.limits(whisper))


def test_a_wrong_language_costs_at_most_twice_a_right_one(whisper: Transcriber) -> None:
    met(recognition.wrong_language(whisper))


def test_a_sentence_said_six_times_is_written_six_times_or_the_rest_is_marked(whisper: Transcriber) -> None:
    one = voices.read(parts.voice("en") / "please-try-again.wav")
    pause = np.zeros(voices.RATE_HZ // 2, np.float32)
    speech = np.concatenate([part for _ in range(6) for part in (voices.trimmed(one), pause)])[None]
    for beam_size in (5, 1):
        [answer] = whisper.transcribe([Request(speech, DecodingProfile(language="en", beam_size=beam_size))])
        written = answer.text.lower().count("try again")
        marked_s = sum(s.end_s - s.start_s for s in answer.segments if s.flags or NO_TEXT in s.flags)
        assert written >= 6 or marked_s >= (6 - written) * 0.8, answer


@pytest.mark.parametrize("level_dbfs", [-66, -82])
def test_clear_speech_is_transcribed_however_soft_it_is_and_marked(whisper: Transcriber, level_dbfs: int) -> None:
    samples = voices.trimmed(voices.callers()[0].samples)
    now_dbfs = 20 * np.log10(np.sqrt(np.mean(np.square(samples))))
    soft = np.round(samples * 10 ** ((level_dbfs - now_dbfs) / 20) * 32768) / 32768
    [answer] = whisper.transcribe([Request(soft.astype(np.float32)[None], DecodingProfile(language="en"))])
    assert "leisure to consider" in answer.text
    assert "quiet" in answer.flags


@pytest.mark.parametrize(("name", "text"), [("digits/pound", "pound"), ("digits/h-8", "8"), ("digits/4", "4")])
def test_a_recording_of_one_word_that_begins_at_once_is_transcribed(whisper: Transcriber, name: str, text: str) -> None:
    samples = voices.read(parts.voice("en") / f"{name}.wav")
    [answer] = whisper.transcribe([Request(samples[None], recognition.ENGLISH)])
    assert text in answer.text.lower(), answer
