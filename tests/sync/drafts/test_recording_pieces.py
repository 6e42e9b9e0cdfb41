"""Pieces of a long call: what each plays and says."""

from __future__ import annotations

from types import SimpleNamespace

from ml_backend.asr.transcript import Segment, Transcript, Word
from sync.drafts.recording_pieces import RecordingPiece, external_key, length_s, part, piece_of, pieces_of

SPANS = [[0.0, 300.0, "derived/a/piece-000.wav"], [300.0, 520.5, "derived/a/piece-001.wav"]]
CUT = SimpleNamespace(spans=SPANS, derived_key="derived/a/audio.wav", duration_s=520.5)
WHOLE = SimpleNamespace(spans=None, derived_key="derived/a/audio.wav", duration_s=40.0)
PROJECT = SimpleNamespace(instance_url="http://ls", ls_project_id=3)


def segment(start_s: float, end_s: float, text: str, confidence: float = 0.5) -> Segment:
    return Segment(start_s, end_s, text, confidence=confidence, words=(Word(start_s, end_s, text, 0.9),))


def transcript(*segments: Segment) -> Transcript:
    return Transcript(segments, "hi", 0.9, 520.5, 0.5, "m1")


def test_a_recording_that_was_not_cut_is_one_piece() -> None:
    assert pieces_of(WHOLE) == [RecordingPiece(0.0, None, "derived/a/audio.wav")]
    assert length_s(WHOLE, RecordingPiece()) == 40.0


def test_a_task_plays_the_piece_it_is_over_and_a_whole_one_the_whole() -> None:
    second = SimpleNamespace(start_s=300.0, end_s=520.5)
    assert piece_of(CUT, second).key == "derived/a/piece-001.wav"
    assert piece_of(CUT, SimpleNamespace(start_s=0.0, end_s=None)).key == "derived/a/audio.wav"


def test_the_pieces_of_a_transcript_hold_every_word_once_and_tell_time_from_their_own_start() -> None:
    heard = transcript(segment(1, 3, "one"), segment(298, 301, "two"), segment(310, 312.5, "three"))
    first, second = (part(heard, piece) for piece in pieces_of(CUT))
    assert first.text == "one two"
    assert second.text == "three"
    assert (second.segments[0].start_s, second.segments[0].end_s) == (10.0, 12.5)
    assert second.segments[0].words[0].start_s == 10.0
    assert first.segments[1].end_s == 300.0 == first.duration_s
    assert second.duration_s == 220.5


def test_a_piece_has_a_confidence_of_its_own() -> None:
    heard = transcript(segment(1, 3, "sure", 0.9), segment(310, 312, "unsure", 0.2))
    assert [round(part(heard, piece).confidence, 3) for piece in pieces_of(CUT)] == [0.9, 0.2]


def test_a_whole_recording_keeps_its_transcript_as_it_is() -> None:
    heard = transcript(segment(1, 3, "one"))
    assert part(heard, RecordingPiece(0.0, None)) is heard


def test_every_piece_has_a_key_of_its_own_and_the_whole_keeps_the_one_it_always_had() -> None:
    keys = {external_key(PROJECT, "exotel:a:b.mp3", piece) for piece in (None, *pieces_of(CUT))}
    assert len(keys) == 3
    assert external_key(PROJECT, "x", RecordingPiece()) == external_key(PROJECT, "x")
