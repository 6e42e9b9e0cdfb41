"""What is wrong with a clip is said by one code, before anybody rates it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from training.voices import clip_checks
from training.voices.clip_checks import ClipFacts, objection

GOOD = ClipFacts(
    state="ready",
    text="आपका ऑर्डर कल आएगा",
    language="hi",
    duration_s=2.0,
    rate_hz=22_050,
    channels=1,
    sound={"speech_share": 0.8, "level_dbfs": -22.0, "clipping": 0.0, "snr_db": 40.0},
)


def code(**changes: object) -> str:
    return objection(replace(GOOD, **changes), least_rate_hz=16_000)  # type: ignore[arg-type]


def test_a_good_clip_has_no_objection() -> None:
    assert code() == ""


@pytest.mark.parametrize(
    ("wanted", "changes"),
    [
        ("no-text", {"text": None}),
        ("no-text", {"text": " … "}),
        ("two-texts", {"texts": 2}),
        ("text-long", {"text": "एक दो " * 300}),
        ("markup", {"text": "<speak>आपका ऑर्डर</speak>"}),
        ("markup", {"text": "नमस्ते {{name}} जी"}),
        ("no-language", {"language": None}),
        ("script", {"text": "Your order arrives tomorrow"}),
        ("script", {"text": "உங்கள் ஆர்டர் நாளை"}),
        ("other-language", {"text": "तुमचा ऑर्डर उद्या येणार आहे"}),
        ("other-language", {"text": "आपका ऑर्डर कल आएगा और नहीं है", "language": "mr"}),
        ("other-language", {"text": "mujhe refund chahiye abhi", "language": "en"}),
        ("audio-missing", {"state": "lost"}),
        ("audio-refused", {"state": "refused"}),
        ("audio-cut", {"fault": "audio-cut"}),
        ("not-mono", {"channels": 2}),
        ("silent", {"sound": {"speech_share": 0.0, "level_dbfs": -90.0}}),
        ("silent", {"sound": {"speech_share": 0.9, "level_dbfs": -70.0}}),
        ("too-short", {"duration_s": 0.2}),
        ("too-long", {"duration_s": 31.0}),
        ("clipped", {"sound": {"speech_share": 0.8, "level_dbfs": -3.0, "clipping": 0.02}}),
        ("pace", {"text": "हाँ", "duration_s": 20.0}),
        ("pace", {"text": "आपका ऑर्डर कल आएगा " * 10}),
        ("rate-low", {"rate_hz": 8000}),
    ],
)
def test_each_fault_has_its_code_and_a_sentence(wanted: str, changes: dict[str, object]) -> None:
    assert code(**changes) == wanted
    assert clip_checks.REASONS[wanted].endswith(".")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("आपका refund हो गया", "hi"),
        ("तुमचा order उद्या येणार आहे", "mr"),
        ("Is the printer ready?", "en"),
        ("Please call Aarti on 300", "en"),
        ("आपका order ready है", "hi-en"),
        ("your order ready hai", "hi-en"),
        ("নমস্কার", "bn"),
        ("bonjour", "fr"),
    ],
)
def test_words_that_people_mix_are_no_other_language(text: str, language: str) -> None:
    assert clip_checks.wrong_language(text, language) == ""


def test_a_number_takes_as_long_as_its_words() -> None:
    assert clip_checks.spoken_chars("300 रुपये") > clip_checks.spoken_chars("तीन रुपये")
    assert code(text="₹12,500", language="en", duration_s=4.0) == ""


def test_a_sentence_is_the_same_whatever_its_case_and_punctuation() -> None:
    assert clip_checks.text_key("Hello, world!", "en") == clip_checks.text_key("hello world", "en")
    assert clip_checks.text_key("hello world", "en") != clip_checks.text_key("hello world", "hi")


def test_a_recogniser_judges_only_a_language_it_understands() -> None:
    assert clip_checks.judge_is_able([0.05] * 19 + [0.9])
    assert not clip_checks.judge_is_able([0.05] * 19), "too few clips"
    assert not clip_checks.judge_is_able([0.7] * 40), "it understands nothing"
