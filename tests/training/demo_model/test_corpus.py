"""Nothing the demonstration or the held-out measurements use was ever trained on. From code, so it costs no audio."""

import re
from functools import cache

import pytest

from training.demo_model import corpus, demo_script, voices
from training.demo_model.recipe import FULL


@cache
def trained() -> frozenset[str]:
    return frozenset(s.key for s in corpus.training_sentences(FULL.seed, FULL.sentences))


def lines() -> list[tuple[str, str]]:
    return [(call.file, line.text) for call in demo_script.CALLS for line in call.lines]


def test_no_demonstration_sentence_is_in_the_training_text():
    assert len(lines()) > 40
    assert not [(file, text) for file, text in lines() if corpus.sentence_key(text) in trained()]


def test_no_training_sentence_contains_or_is_contained_in_a_demonstration_call_as_a_whole():
    whole = [
        corpus.sentence_key(" ".join(line.text for line in call.lines)) for call in demo_script.CALLS if call.lines
    ]
    assert not [key for key in trained() for call in whole if key and call == key]


def test_the_ban_is_what_keeps_demonstration_sentences_out(monkeypatch):
    target = next(s for s in corpus.training_sentences(1, 400) if "{" not in s.text)
    monkeypatch.setattr(corpus, "demo_keys", lambda: frozenset({target.key}))
    assert target.key not in {s.key for s in corpus.training_sentences(1, 400)}


def test_no_held_out_sentence_is_in_the_training_text():
    held_out = corpus.held_out_sentences(7, 300)
    assert len({s.key for s in held_out}) == 300
    assert not [s.text for s in held_out if s.key in trained()]


def test_every_word_of_the_demonstration_is_a_word_the_model_has_met():
    known = {word for key in trained() for word in key.split()}
    assert not {w for _, text in lines() for w in corpus.sentence_key(text).split()} - known


def test_no_voice_is_in_two_groups():
    groups = [voices.TRAINING, voices.HELD_OUT, voices.DEMONSTRATION, voices.RESERVED_FOR_FINE_TUNING]
    assert sum(map(len, groups)) == len({v for group in groups for v in group})


def test_no_voice_family_is_in_two_groups():
    groups = [voices.TRAINING, voices.HELD_OUT, voices.DEMONSTRATION]
    families = [{re.sub(r"\d+$", "", v) for v in group if len(v) > 2} for group in groups]
    assert not families[0] & families[1]
    assert not families[0] & families[2]
    assert not families[1] & families[2]


def test_the_demonstration_uses_only_its_own_voices():
    used = {name.partition("+")[2] for call in demo_script.CALLS for name in call.voices}
    assert used <= set(voices.DEMONSTRATION)
    assert not used & set(voices.TRAINING)


def test_the_same_seed_gives_the_same_text():
    assert corpus.training_sentences(3, 900) == corpus.training_sentences(3, 900)
    assert corpus.training_sentences(3, 900) != corpus.training_sentences(4, 900)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Where is my order?", "where is  my order"), ("हाँ जी।", "हाँ जी"), ("साड़ी", "सा\u095cी")],
)
def test_case_punctuation_and_spelling_of_letters_do_not_make_another_sentence(one, other):
    assert corpus.sentence_key(one) == corpus.sentence_key(other)


def test_the_calls_cover_what_the_demonstration_promises():
    calls = demo_script.CALLS
    assert len(calls) >= 14
    assert {call.language for call in calls} == {"hi", "en", "mr"}
    assert any(call.code_mixed for call in calls)
    assert any(call.channels == 2 for call in calls)
    assert any(not call.lines for call in calls)
    assert sum(call.noise_snr_db < 15 for call in calls) >= 3
    assert len({call.file for call in calls}) == len(calls)
