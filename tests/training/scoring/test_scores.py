"""Rates are pooled, weighted by how likely a call was drawn, and told by slice."""

from __future__ import annotations

from typing import Any

import pytest

from ml_backend.asr.transcript import Segment, Transcript
from ml_backend.errors import ConfigurationError
from ml_backend.settings import Settings
from training.evaluation import test_transcription, verdict
from training.evaluation.gate_rules import Rules
from training.scoring import scores
from training.scoring.scores import Utterance


def line(**changed: Any) -> dict[str, Any]:
    return {
        "id": "a", "audio_sha256": "s", "call_id": "c", "speaker_id": "p", "language": "hi", "text": "एक दो तीन चार",
        "start_s": 0.0, "end_s": 4.0, "channel": 1, "snr_db": 12.0, "selection_probability": None, **changed,
    }  # fmt: skip


def heard(answer: str, spoken: str = "hi", **changed: Any) -> Utterance:
    segments = (Segment(0.0, 1.0, answer),) if answer else ()
    return test_transcription.utterance(line(**changed), Transcript(segments, spoken, 1.0, 4.0, 1.0, "v"))


def test_a_rate_is_pooled_over_words_and_counts_are_what_was_heard():
    found = scores.scores([heard("एक दो तीन चार"), heard("एक दो", id="b", call_id="d")])
    assert found["rates"]["indic@1"]["word_edits"] == 2
    assert found["rates"]["indic@1"]["wer"][0] == pytest.approx(2 / 8)
    assert found["edits"] == {"replaced": 0, "left_out": 2, "put_in": 0}
    assert (found["calls"], found["callers"], found["words"]) == (2, 1, 8)


def test_a_call_drawn_with_a_small_chance_stands_for_many():
    rare = heard("", id="b", call_id="d", selection_probability=0.1)
    often = heard("एक दो तीन चार", selection_probability=1.0)
    found = scores.scores([rare, often])["rates"]["indic@1"]
    assert found["wer"][0] == pytest.approx(10 / 11)
    assert found["word_edits"] == 4


def test_slices_say_language_leg_noise_length_and_whose_reference():
    one = test_transcription.utterance(line(), Transcript((), None, 0.0, 4.0, 0.0, "v"), annotators="reviewers")
    assert one.slices == {
        "language": "hi", "channel": "channel 1", "snr": "10-20 dB", "duration": "3-10 s", "annotators": "reviewers",
    }  # fmt: skip
    assert scores.scores([one])["slices"]["snr"]["10-20 dB"]["words"] == 4


def test_the_language_counts_only_where_something_was_heard_and_an_empty_answer_is_counted():
    found = scores.scores([heard("एक"), heard("एक", "mr", id="b"), heard("", id="c")])
    assert found["language_identification"] == {"count": 1, "of": 2, "share": 0.5}
    assert found["empty"]["count"] == 1


def test_an_answer_full_of_words_nobody_said_is_a_runaway():
    assert scores.runaway(heard("एक दो तीन चार " * 4))
    assert not scores.runaway(heard("एक दो तीन चार पाँच छह"))


def test_utterances_read_back_as_they_were_and_without_text_they_keep_their_counts():
    every = [heard("एक दो"), heard("", id="b")]
    assert list(scores.read(scores.write(every))) == every
    assert every[0].without_text().tallies == every[0].tallies
    assert every[0].without_text().reference == ""


def test_a_slice_vetoes_only_beyond_its_margin():
    """Hindi gets better by a fifth; every Marathi call gets worse by one word in two hundred: surely, and a little."""
    pairs = []
    for number in range(60):
        language, wrong = ("mr", (1, 2)) if number % 2 else ("hi", (40, 0))
        call = {"id": str(number), "call_id": str(number), "text": " ".join(["क"] * 200)}
        texts = [" ".join(["ख"] * count + ["क"] * (200 - count)) for count in wrong]
        pairs.append(tuple(heard(text, **call | {"language": language}) for text in texts))
    found = verdict.judge(pairs)
    marathi = next(one for one in found.slices if one.name == "mr")
    assert marathi.difference.low == pytest.approx(0.005)
    assert found.outcome == "better"
    for stated in ("0.004", "0.5, language=0.004", "0.5, language=0.5, language:mr=0.004"):
        strict = verdict.judge(pairs, rules=Rules.of(Settings(_env_file=None, promotion_margins=stated)))
        assert strict.outcome == "vetoed"
        assert "language mr" in strict.objections[0].sentence
    assert verdict.judge(pairs, rules=Rules(slice_margin=0.004, margins={"language:mr": 0.01})).outcome == "better"


def test_a_candidate_is_asked_what_the_settings_say():
    stated = {"promotion_min_calls": 100, "promotion_min_words": 5000, "promotion_speed_ratio": 20.0}
    stated |= {"promotion_slice_calls": 40, "promotion_slice_words": 900}
    rules = Rules.of(Settings(_env_file=None, **stated))
    assert (rules.min_calls, rules.min_words, rules.speed_ratio) == (100, 5000, 20.0)
    assert (rules.slice_calls, rules.slice_words, rules.slice_margin) == (40, 900, 0.01)
    assert Rules.of(Settings(_env_file=None)) == Rules()


@pytest.mark.parametrize("stated", ["much", "language:mr", "colour=0.1", "=0.1", "language:mr=-1", "0.01; snr=0.1"])
def test_margins_that_are_none_are_a_mistake_in_the_settings(stated):
    with pytest.raises(ConfigurationError, match="PROMOTION_MARGINS"):
        Rules.of(Settings(_env_file=None, promotion_margins=stated))
