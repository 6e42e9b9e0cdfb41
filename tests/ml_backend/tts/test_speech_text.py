"""What is typed is read the same way when a voice is trained and when it speaks."""

import pytest

from ml_backend.tts import speech_text


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("Hello,  World!", "hello, world!"),
        ("आपका order भेज दिया है।", "आपका order भेज दिया है."),
        ("one\ntwo\ttwo", "one two two"),
        ("«quoted» (aside) – dash", "quoted aside dash"),
        ("क़", "क़"),  # composed and decomposed are one
        ("wait… what??", "wait. what?"),
        ("it’s", "it's"),
        ("<b>bold</b>", "b bold b"),
        ("\u200dज\u200c", "ज"),
        ("🙂", ""),
    ],
)
def test_letters_stay_and_marks_that_change_nothing_go(typed, said):
    assert speech_text.normalised(typed) == said


def test_reading_twice_changes_nothing():
    once = speech_text.normalised("Wait — «what»?? आप।")
    assert speech_text.normalised(once) == once


def test_a_letter_the_voice_does_not_have_is_said_as_the_nearest_it_has():
    assert speech_text.sayable("उष्ण ox", "ुशनक oks् ") == "ुश्न oks"
    assert speech_text.sayable("उ", "abc") == "उ"


def test_a_text_without_a_letter_or_a_digit_says_nothing():
    assert not speech_text.says_something(speech_text.normalised(" ?! , ।"))
    assert speech_text.says_something(speech_text.normalised("7"))


def test_sentences_are_cut_where_a_speaker_would_breathe():
    text = "one two. three, four five six seven. eight?"
    assert list(speech_text.sentences(text, longest=100)) == ["one two.", "three, four five six seven.", "eight?"]
    assert list(speech_text.sentences(text, longest=15)) == [
        "one two.", "three,", "four five six", "seven.", "eight?",
    ]  # fmt: skip


def test_a_word_longer_than_a_sentence_may_be_is_cut_and_nothing_is_lost():
    assert "".join(speech_text.sentences("x" * 450, longest=100)) == "x" * 450
