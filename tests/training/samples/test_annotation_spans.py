"""An annotation's regions and texts become pieces."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from training.samples import language_policy
from training.samples.annotation_spans import pieces_of
from training.samples.sample_pieces import Audio, DraftWord, SamplePiece


def region(start_s: float, end_s: float, text: str, channel: int = 0) -> dict[str, Any]:
    return {"start_s": start_s, "end_s": end_s, "channel": channel, "text": text, "labels": []}


def pieces(*regions: dict[str, Any], text: str = "", audio: Audio | None = None) -> list[SamplePiece]:
    return pieces_of(text, regions, audio or Audio(60.0), "hi")


def test_two_voices_over_each_other_on_one_channel_are_left_out_and_on_two_legs_are_not() -> None:
    together = (region(0, 4, "मेरी बात"), region(1, 3, "नहीं सुनिए"), region(3.8, 6, "ठीक है"))
    assert [piece.reason for piece in pieces(*together)] == ["overlap", "overlap", ""]
    apart = (region(0, 4, "मेरी बात"), region(1, 3, "नहीं सुनिए", channel=1))
    assert [piece.reason for piece in pieces(*apart, audio=Audio(60.0, channels=2))] == ["", ""]


def test_a_region_without_words_takes_nothing_from_the_one_it_lies_over() -> None:
    assert [piece.reason for piece in pieces(region(0, 4, "मेरी बात"), region(1, 3, ""))] == ["", "no-text"]


def test_regions_drawn_on_both_legs_as_one_go_to_the_leg_that_speaks() -> None:
    audio = Audio(60.0, 2, (DraftWord(0.2, 1.0, "नमस्ते", 0), DraftWord(3.1, 4.9, "हाँ", 1), DraftWord(4.5, 4.6, "जी", 0)))
    found = pieces(region(0, 2, "नमस्ते"), region(3, 5, "हाँ जी"), region(7, 9, "अच्छा"), audio=audio)
    assert [piece.channel for piece in found] == [0, 1, 0]
    drawn_apart = pieces(region(0, 2, "नमस्ते", 1), region(3, 5, "हाँ जी", 0), audio=audio)
    assert [piece.channel for piece in drawn_apart] == [1, 0]


def test_a_region_over_thirty_seconds_is_cut_inside_itself_or_left_out() -> None:
    words = tuple(DraftWord(10 + at, 10.5 + at, f"शब्द{at}क") for at in range(0, 40, 2))
    long = region(9.0, 52.0, " ".join(word.text for word in words))
    found = pieces(region(0, 5, "पहले"), long, audio=Audio(60.0, 1, words))
    assert len(found) > 2
    assert all(not piece.reason and piece.length_s <= 30 for piece in found)
    assert all(9 <= piece.start_s < piece.end_s <= 52 for piece in found[1:])
    assert [piece.reason for piece in pieces(long)] == ["too-long"]


def test_a_short_text_over_one_voice_needs_no_cutting_and_a_long_or_two_legged_one_does() -> None:
    assert pieces(text=" सब ठीक है\n", audio=Audio(12.0)) == [SamplePiece(0.0, 12.0, 0, "सब ठीक है")]
    assert [piece.reason for piece in pieces(text="सब ठीक है", audio=Audio(31.0))] == ["no-anchor"]
    assert [piece.reason for piece in pieces(text="सब ठीक है", audio=Audio(12.0, channels=2))] == ["no-anchor"]
    assert [piece.reason for piece in pieces(text=" \n", audio=Audio(12.0))] == ["no-text"]


def test_regions_that_end_after_the_audio_end_with_it_and_unknown_legs_are_the_first() -> None:
    assert pieces(region(50, 70, "अंत", channel=5)) == [SamplePiece(50.0, 60.0, 0, "अंत")]


def test_texts_are_in_the_composed_form_with_single_spaces_and_keep_every_mark() -> None:
    typed = "\ufeffक\u093cिस्त  \u0915\u0941\u0930\u094d\u0938\u0940\nदुसर\u094d\u200dया résumé\n"
    (whole,) = pieces_of(unicodedata.normalize("NFD", typed), [], Audio(10.0), "hi")
    region = {"start_s": 0.0, "end_s": 2.0, "channel": 0, "text": typed}
    (part,) = pieces_of(typed, [region], Audio(10.0), "hi")
    assert whole.text == part.text == unicodedata.normalize("NFC", "क\u093cिस्त कुर्सी दुसर\u094d\u200dया résumé")
    assert pieces_of("\ufeff\n", [], Audio(10.0), "hi")[0].reason == "no-text"


@pytest.mark.parametrize("mark", ["[unclear]", "[ UNCLEAR ]", "[unclear कुछ", "(inaudible 3 s)", "［unclear］", "[???]"])
def test_a_mark_for_what_was_not_understood_is_found_closed_or_not(mark: str) -> None:
    assert language_policy.unclear(f"मेरा {mark} है")
    assert language_policy.unclear(f"मेरा{mark}{'लंबा ' * 20}")
    assert not language_policy.unclear("मेरा नंबर (घर का) unclear [है]")


@pytest.mark.parametrize(("script", "off"), [("Deva", True), ("देवनागरी", True), ("Romanised", False), ("any", False)])
def test_a_policy_is_known_by_every_name_of_its_script(script: str, off: bool) -> None:
    assert language_policy.off_script("mujhe order", "hi", {"hi": script}) is off
    assert not language_policy.off_script("mujhe order", "mr", {"hi": script})
