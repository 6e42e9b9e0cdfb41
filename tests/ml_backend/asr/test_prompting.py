"""Prompt and hotwords together never take more than the decoder can hold, and what is cut is said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.asr import prompting


def letters(text: str) -> list[int]:
    """A tokenizer of one token a letter: Devanagari costs a Whisper about that."""
    return [ord(letter) for letter in text]


def written(tokens: tuple[int, ...]) -> str:
    return "".join(map(chr, tokens))


@given(
    st.text("abc ", max_size=300),
    st.lists(st.text("abc", min_size=1, max_size=30), max_size=40),
    st.integers(0, 223),
)
def test_whatever_is_asked_for_fits_and_hotwords_are_kept_first(prompt, hotwords, limit):
    found = prompting.fit(letters, prompt, hotwords, limit=limit)
    assert len(found.tokens) <= limit
    kept = len(hotwords) - len(found.left_out)
    assert found.left_out == tuple(hotwords[kept:])
    if kept:
        assert written(found.tokens).startswith(" " + ", ".join(hotwords[:kept]))
    if found.left_out:  # nothing more of them would have fitted
        assert len(" " + ", ".join(hotwords[: kept + 1])) > limit
    assert (found.sentence is None) == (not found.left_out and not found.prompt_left_out)


def test_what_fits_is_told_as_it_was_written():
    found = prompting.fit(letters, " Kaan sells  milk. ", ("Amul", "Gokul"), limit=223)
    assert written(found.tokens) == " Amul, Gokul Kaan sells  milk."
    assert found.sentence is None


def test_of_a_long_prompt_the_end_is_kept_and_cut_between_words():
    found = prompting.fit(letters, "one two three four", ("milk",), limit=16)
    assert written(found.tokens) == " milk three four"
    assert "the first 2 of 4 words of the prompt are left out" in found.sentence


def test_a_prompt_written_without_spaces_is_cut_between_characters():
    assert written(prompting.fit(letters, "電話番号", (), limit=3).tokens) == " 番号"


def test_hotwords_left_out_are_named():
    found = prompting.fit(letters, None, [f"village{number}" for number in range(30)], limit=100)
    assert found.left_out[0] in found.sentence
    assert f"{len(found.left_out)} of 30 hotwords" in found.sentence
