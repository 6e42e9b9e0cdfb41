"""Telephone numbers are found in every form, and what only looks like one stays."""

from __future__ import annotations

import pytest

from ml_backend.calls import phone_numbers, pseudonyms

KEY = b"a key of the tests"
FORMS = [
    "00000012345", "+9100000 12345", "00000-12345", "00 00 01 23 45", "(00000) 12345", "0000.012.345",
    "%2B9100000%2012345", "rec_00000012345_1.mp3", "https://h/a/call-00000-12345.wav?x=1", "CA-00000012345-7",
]  # fmt: skip
IDS = [
    "02571550669ec9e57a18257e3c8a8c22", "sha256:" + "a1" * 32, "123e4567-e89b-12d3-a456-426614174000",
    "recordings/2026/11/20/anna1.mp3", "kaan-tiny-44e83820", "call 7 of 12",
]  # fmt: skip


@pytest.mark.parametrize("text", FORMS)
def test_a_number_is_found_and_taken_out(text: str) -> None:
    assert phone_numbers.carries_number(text)
    short = phone_numbers.without_numbers(text)
    assert "***" in short
    assert not phone_numbers.carries_number(short)
    assert phone_numbers.hidden(text, KEY).startswith("hidden:")
    assert phone_numbers.hidden(phone_numbers.hidden(text, KEY), b"other") == phone_numbers.hidden(text, KEY)


@pytest.mark.parametrize("text", IDS)
def test_hashes_ids_and_dates_in_keys_stay_as_they_are(text: str) -> None:
    assert not phone_numbers.carries_number(text)
    assert phone_numbers.without_numbers(text) == text
    assert phone_numbers.hidden(text, KEY) == text


@pytest.mark.parametrize("text", FORMS)
def test_a_persons_number_is_recognised_in_a_text_in_whatever_form(text: str) -> None:
    person = pseudonyms.pseudonym("0000012345", KEY)
    assert pseudonyms.names(f"before {text} after", person, KEY)
    assert not pseudonyms.names(f"before {text} after", pseudonyms.pseudonym("0000012346", KEY), KEY)
