"""A short text says its language by its letters and little words."""

import pytest

from training.text.language_of_text import language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("मेरा ऑर्डर कहाँ है", "hi"), ("माझी ऑर्डर कुठे आहे", "mr"), ("refund पाहिजे", "mr"), ("हां जी", "hi"),
        ("मला refund हवा आहे", "mr"), ("डिलिव्हरी मिळाली नाही", "mr"), ("mera order cancel karo", "hi"),
        ("kal cancel kar do", "hi"), ("COD available hai kya", "hi"), ("haan", "hi"), ("majhi order kuthe aahe", "mr"),
        ("cancel my order please", "en"), ("where is the refund", "en"), ("no", "en"), ("give it to me or him", "en"),
        ("பணம் வேண்டும்", "ta"), ("টাকা চাই", "bn"), ("привет", None), ("12 👍", None), ("", None),
    ],
)  # fmt: skip
def test_the_language_of_an_utterance(text: str, language: str | None) -> None:
    assert language_of(text) == language


def test_words_that_say_nothing_are_in_the_first_language_spoken_that_has_the_script() -> None:
    assert language_of("ऑर्डर", ("en", "mr", "hi")) == "mr"
    assert language_of("ऑर्डर", ("en",)) == "hi"
