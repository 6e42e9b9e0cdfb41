"""Scores of spoken sentences: counts and rates that follow from the texts, intervals that are paired."""

import numpy as np
import pytest

from training.scoring import speech_scores
from training.scoring.speech_scores import Judged, ReferenceRecording

TEXT = "please send me two red blankets"


def wave(seed=0, hertz=150.0, seconds=0.5):
    t = np.arange(round(seconds * 16000)) / 16000
    buzz = sum(np.sin(2 * np.pi * hertz * n * t + seed) / n for n in range(1, 12))
    return (0.05 * buzz).astype(np.float32)


def said(transcript, text=TEXT, *, language="en", of_reference=None, id="s-1", detected=None, seconds=0.5):
    reference = ReferenceRecording(wave(seconds=0.5), text if of_reference is None else of_reference)
    asked = Judged(id, text, language, "asha", wave(seconds=seconds), transcript, detected_language=detected)
    return speech_scores.scored(asked, reference)


def test_what_is_recognised_as_written_costs_nothing_whatever_case_and_marks():
    one = said("Please, send me TWO red blankets.")
    assert (one.edits, one.left_out, one.repeated, one.wrong_script) == (0, 0, 0, False)
    assert one.semitones == pytest.approx(0, abs=0.01)
    assert one.distance == pytest.approx(0, abs=0.01)
    assert one.duration_ratio == pytest.approx(1)


def test_the_recognisers_own_errors_on_the_recording_are_not_the_voices():
    rows = [
        said("please send me red blankets", of_reference="please send me red blankets", id=f"s-{n}") for n in range(4)
    ]
    assert speech_scores.character_errors(rows).value > 0.05
    assert speech_scores.against_reference(rows).to_json() == [0.0, 0.0, 0.0]


def test_words_left_out_and_words_said_twice_are_counted():
    assert said("please send two blankets").left_out == 2
    assert said("please send me two two red red blankets").repeated == 2
    assert said("no no it is fine", "no no it is fine").repeated == 0


def test_another_script_or_language_is_named():
    assert said("प्लीज सेंड मी टू रेड ब्लैंकेट्स").wrong_script
    assert not said("मुझे order चाहिए", "मुझे order चाहिए", language="hi").wrong_script
    assert said(TEXT, detected="hi").wrong_language
    assert not said(TEXT).wrong_language


def test_numbers_may_be_recognised_in_digits():
    assert said("please send me 2 red blankets").edits == 0


def test_a_summary_has_every_slice_with_its_counts_and_survives_its_file():
    rows = [said(TEXT, id="a"), said("please", id="b"), said("नमस्ते जी", "नमस्ते जी", language="hi", id="c")]
    found = speech_scores.summary(rows)
    assert found["sentences"] == 3
    assert {name: each["sentences"] for name, each in found["slices"]["language"].items()} == {"en": 2, "hi": 1}
    assert found["slices"]["language"]["hi"]["cer"][0] == 0
    assert speech_scores.read_lines(speech_scores.write_lines(rows)) == rows


def test_no_sentences_have_no_rate():
    found = speech_scores.summary([])
    assert found["cer"] is None
    assert found["distance"] is None
    assert found["left_out"]["share"] is None


def test_versions_are_compared_on_the_sentences_that_both_said():
    before = [said("please", id="a"), said(TEXT, id="b")]
    now = [said(TEXT, id="a"), said("x", id="other")]
    assert speech_scores.against_version(before, now).value == pytest.approx(-25 / 31, abs=0.02)
    assert speech_scores.against_version(before, [said("x", id="other")]) is None


def test_a_sentence_without_a_recording_has_no_comparison():
    alone = speech_scores.scored(Judged("a", TEXT, "en", "asha", wave(), TEXT), None)
    assert (alone.distance, alone.semitones, alone.reference_edits) == (None, None, None)
    assert speech_scores.against_reference([alone]) is None
    assert speech_scores.distance_change([alone], [alone]) is None


@pytest.mark.parametrize(
    ("text", "language", "mixed"),
    [
        ("मेरा ऑर्डर कब आएगा", "hi", False), ("मेरा order कब आएगा", "hi", True), ("mera order kab aayega", "hi", True),
        ("where is my order", "en", False), ("where is my ऑर्डर", "en", True), ("12 ₹", "hi", False),
        ("मेरा order", "hi-en", True), ("என் ஆர்டர்", "ta", False), ("anything", "xx", False),
    ],
)  # fmt: skip
def test_a_text_mixes_languages_where_it_has_letters_of_another_script(text, language, mixed):
    assert speech_scores.mixes_languages(text, language) is mixed


def test_of_two_transcripts_the_one_with_fewer_errors_counts_for_voice_and_recording_alike():
    text = "मेरा order कब आएगा"
    asked = Judged("s", text, "hi", "asha", wave(), "मेरा ऑर्डर कब आएगा", second_transcript=text)
    one = speech_scores.scored(asked, ReferenceRecording(wave(), text, second_transcript=""))
    assert (one.edits, one.second_edits, one.reference_edits) == (0, 0, 0)
    assert one.first_edits > 0
    assert speech_scores.summary([one])["second"] == {"sentences": 1, "lower": 1, "same": 0}
    [kept] = speech_scores.read_lines(speech_scores.write_lines([one]))
    assert kept == one


def test_a_language_is_wrong_only_where_the_recording_has_the_right_one():
    asked = Judged("s", TEXT, "en", "asha", wave(), TEXT, detected_language="hi")
    own = [speech_scores.scored(asked, ReferenceRecording(wave(), TEXT, language)) for language in ("en", "hi", None)]
    assert [one.wrong_language for one in own] == [True, False, True]
