"""A whole text and word times become pieces between anchors."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.training.samples.conftest import words_of
from training.samples.sample_pieces import DraftWord, SamplePiece
from training.samples.text_cutting import cut

TEXT = " ".join(f"w{number}" for number in range(48))
HEARD = [DraftWord(*word) for word in words_of(TEXT, pause_s=4.0)]  # 8 groups of 6 words, 3 s each, 4 s apart


def pieces(text: str, hypothesis: list[DraftWord] | None = None) -> list[SamplePiece]:
    return cut(text, HEARD if hypothesis is None else hypothesis, start_s=0.0, end_s=60.0, language="en")


def test_what_was_heard_as_written_is_cut_at_pauses_and_nothing_is_lost() -> None:
    found = pieces(TEXT)
    assert " ".join(piece.text for piece in found) == TEXT
    assert all(not piece.reason and piece.length_s <= 30 for piece in found)
    assert all(one.end_s <= other.start_s for one, other in pairwise(found))
    assert len(found) == 2


def test_corrections_inside_a_piece_stay_in_it() -> None:
    found = pieces(TEXT.replace("w8 w9", "eight and nine"))
    assert [piece.reason for piece in found] == ["", ""]
    assert "w7 eight and nine w10" in found[0].text


def test_a_piece_whose_last_or_first_word_was_changed_has_no_anchor_there() -> None:
    found = pieces(TEXT.replace("w0 ", "zero ").replace(" w47", " end"))
    assert found[0].reason == found[-1].reason == "no-anchor"
    assert found[0].text.startswith("zero")
    assert found[-1].text.endswith("end")
    assert any(not piece.reason for piece in found[1:-1])
    assert " ".join(piece.text for piece in found) == TEXT.replace("w0 ", "zero ").replace(" w47", " end")


def test_a_word_the_draft_missed_at_a_pause_keeps_the_cut_away_from_there() -> None:
    changed = TEXT.replace("w23 w24", "w23 missed w24")
    found = pieces(changed)
    assert all(not piece.reason for piece in found)
    assert any("w23 missed w24" in piece.text for piece in found)


def test_a_text_about_something_else_has_no_anchors_at_all() -> None:
    assert [piece.reason for piece in pieces("nothing of this was heard")] == ["no-anchor"]
    assert [piece.reason for piece in pieces("some text", [])] == ["no-anchor"]
    assert pieces("  ", []) == []


def test_words_in_the_other_script_are_anchors_too() -> None:
    hypothesis = [DraftWord(*word) for word in words_of("mujhe ek kilo cheeni chahiye")]
    found = cut("मुझे एक किलो चीनी चाहिए", hypothesis, start_s=0, end_s=60, language="hi")
    assert [(piece.text, piece.reason) for piece in found] == [("मुझे एक किलो चीनी चाहिए", "")]


def test_punctuation_by_itself_stays_with_the_word_before_it() -> None:
    hypothesis = [DraftWord(*word) for word in words_of("हाँ जी")]
    assert cut("— हाँ , जी ।", hypothesis, start_s=0, end_s=60, language="hi")[0].text == "— हाँ , जी ।"


def test_speech_without_a_pause_that_is_too_long_says_so() -> None:
    hypothesis = [DraftWord(*word) for word in words_of(TEXT, each_s=1.0, pause_s=0.0)]
    found = cut(
        TEXT, [DraftWord(w.start_s, w.start_s + 1.0, w.text) for w in hypothesis], start_s=0, end_s=60, language="en"
    )
    assert [piece.reason for piece in found] == ["too-long"]


@given(
    st.lists(st.sampled_from([f"w{n}" for n in range(8)]), max_size=40),
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(0, 3), st.sampled_from([f"w{n}" for n in range(8)]), st.integers(0, 1)),
        max_size=40,
    ),
)
def test_whatever_was_heard_each_word_of_the_text_is_in_one_piece_and_pieces_lie_in_the_audio(
    text: list[str], hypothesis: list[tuple[float, float, str, int]]
) -> None:
    found = cut(
        " ".join(text),
        [DraftWord(a, a + d, w, c) for a, d, w, c in hypothesis],
        start_s=0.0,
        end_s=110.0,
        language="en",
    )
    assert " ".join(piece.text for piece in found).split() == text
    assert all(0 <= piece.start_s <= piece.end_s <= 110 for piece in found)
    assert all(piece.length_s <= 30 for piece in found if not piece.reason)
