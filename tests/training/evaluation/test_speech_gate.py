"""What figures can refuse: each defect by the check that is for it, and a good voice by none."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.scoring.test_speech_scores import said, wave
from training.evaluation import speech_gate
from training.scoring import speech_scores
from training.scoring.speech_scores import Judged, ReferenceRecording

WORDS = ["please", "send", "me", "two", "red", "blankets", "to", "the", "office", "in", "the", "morning"]


def voice(spoil=lambda one: one, count=60):
    rows = [said(" ".join(WORDS), " ".join(WORDS), id=f"s-{n}") for n in range(2)]
    rows = [replace(rows[n % 2], id=f"s-{n}") for n in range(count)]
    return [spoil(one) for one in rows]


def objections(rows, before=(), **options):
    return {one.code for one in speech_gate.judge(rows, before, **options).objections}


def test_a_good_voice_has_no_objections_and_meets_the_goal():
    found = speech_gate.judge(voice())
    assert found.passed
    assert found.goal_met
    assert found.to_json()["figures"]["sentences"] == 60


def test_sixty_sentences_are_the_least():
    assert objections(voice(count=59)) == {"too-few-sentences"}


def test_an_unintelligible_voice_is_refused_however_near_its_spectrum():
    """A voice tuned without adapting the aligner first: distance halved, a quarter of the letters wrong."""
    spoilt = voice(lambda one: replace(one, edits=round(0.25 * one.characters)))
    before = voice(lambda one: replace(one, distance=8.0))
    now = [replace(one, distance=2.5) for one in spoilt]
    assert objections(now, before, new_voice=True) == {"not-understood"}


def test_the_goal_is_reported_and_only_the_bound_refuses():
    spoilt = voice(lambda one: replace(one, edits=round(0.1 * one.characters)))
    found = speech_gate.judge(spoilt)
    assert found.passed
    assert found.goal_met is False


def test_a_voice_of_which_one_sentence_in_ten_is_lost_is_refused_though_its_mean_keeps_the_bound():
    """10 % of the characters, perhaps 18: sixty sentences cannot promise 15, twelve hundred can."""
    rows = voice()
    spoilt = [replace(one, edits=one.characters if n % 10 == 0 else 0) for n, one in enumerate(rows)]
    assert speech_gate.judge(spoilt).figures["cer"][0] < 0.15
    assert objections(spoilt) == {"not-understood"}
    many = [replace(one, id=f"t-{n}") for n, one in enumerate(20 * spoilt)]
    assert objections(many) == set()


def test_shuffled_words_are_refused():
    shuffled = " ".join(np.random.default_rng(2).permutation(WORDS))
    row = said(shuffled, " ".join(WORDS))
    assert "not-understood" in objections([replace(row, id=f"s-{n}") for n in range(60)])


def test_another_language_is_refused_by_its_script_and_by_its_name():
    row = said("कृपया सुबह दफ्तर में दो लाल कंबल भेज दीजिए", " ".join(WORDS), detected="hi")
    assert {"wrong-script", "wrong-language", "not-understood"} <= objections(
        [replace(row, id=f"s-{n}") for n in range(60)]
    )


@pytest.mark.parametrize(
    ("samples", "transcript", "codes"),
    [
        (np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32), "", {"noisy", "not-understood", "left-out"}),
        (np.zeros(8000, np.float32), "", {"too-quiet", "silent", "not-understood", "left-out"}),
        (np.clip(60 * wave(), -1, 1), " ".join(WORDS), {"clipped"}),
        (np.concatenate([np.zeros(16000, np.float32), wave()]), " ".join(WORDS), {"silent"}),
        (wave(hertz=200), " ".join(WORDS), {"wrong-pitch"}),
        (wave(seconds=0.7), " ".join(WORDS), {"wrong-tempo"}),
    ],
)
def test_noise_silence_clipping_pitch_and_tempo_each_have_their_objection(samples, transcript, codes):
    reference = ReferenceRecording(wave(), " ".join(WORDS))
    row = speech_scores.scored(Judged("s", " ".join(WORDS), "en", "asha", samples, transcript), reference)
    assert codes <= objections([replace(row, id=f"s-{n}") for n in range(60)])


def test_words_left_out_and_said_twice_are_refused():
    assert "left-out" in objections(voice(lambda one: replace(one, left_out=3)))
    assert "repeated" in objections(voice(lambda one: replace(one, repeated=1)))


def test_a_new_voice_must_come_much_nearer_and_a_known_one_must_not_go_away():
    before = voice(lambda one: replace(one, distance=5.0 + len(one.id) % 2))
    nearer = [replace(one, distance=3.0) for one in before]
    assert "not-this-voice" in objections(nearer, before, new_voice=True)
    assert "further-from-voice" not in objections(nearer, before)
    assert "further-from-voice" in objections(before, nearer)
