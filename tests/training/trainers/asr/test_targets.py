"""What the decoder reads and must answer is Whisper's own layout."""

import numpy as np
import pytest

from training.demo_model import tokenizer
from training.trainers.asr.targets import IGNORED, Example, Targets, TimedPhrase

MEL = np.zeros((100, 80), dtype=np.float32)
PHRASES = (TimedPhrase("Hello there.", 0.1, 0.9), TimedPhrase("नमस्ते।", 1.2, 2.0))


@pytest.fixture(scope="module")
def pieces():
    return tokenizer.build(["Hello there.", "नमस्ते।", "मेरा order कहाँ है?"])


@pytest.fixture(scope="module")
def targets(pieces):
    return Targets(pieces)


def named(pieces, ids):
    return ["-" if n == IGNORED else pieces.convert_ids_to_tokens(n) for n in ids]


def test_special_tokens_stand_in_whispers_order(pieces):
    ids = pieces.get_vocab()
    assert ids["<|nospeech|>"] - ids["<|startoftranscript|>"] - 5 == 99
    assert ids["<|0.00|>"] == ids["<|notimestamps|>"] + 1
    assert ids["<|30.00|>"] == ids["<|0.00|>"] + 1500
    assert "" in ids


def test_without_timestamps_the_language_is_asked_and_the_task_is_given(pieces, targets):
    asked, answers = targets.of(Example(MEL, "hi", PHRASES[1:]))
    assert named(pieces, asked)[:4] == ["<|startoftranscript|>", "<|hi|>", "<|transcribe|>", "<|notimestamps|>"]
    assert named(pieces, answers)[:3] == ["<|hi|>", "-", "-"]
    assert pieces.decode(answers[3:-1]).strip() == "नमस्ते।"
    assert answers[-1] == targets.end
    assert len(asked) == len(answers)


def test_with_timestamps_every_phrase_stands_between_its_times(pieces, targets):
    _, answers = targets.of(Example(MEL, "en", PHRASES, timestamped=True))
    times = [token for token in named(pieces, answers) if token[2:3].isdigit()]
    assert times == ["<|0.10|>", "<|0.90|>", "<|1.20|>", "<|2.00|>"]


def test_each_answer_is_the_next_thing_the_decoder_reads(targets):
    for example in (Example(MEL, "en", PHRASES), Example(MEL, "en", PHRASES, timestamped=True)):
        asked, answers = targets.of(example)
        assert all(answer in (IGNORED, read) for answer, read in zip(answers, asked[1:], strict=False))


def test_where_nobody_speaks_the_answer_is_nospeech(pieces, targets):
    asked, answers = targets.of(Example(MEL, "en"))
    assert named(pieces, asked) == ["<|startoftranscript|>", "<|nospeech|>"]
    assert named(pieces, answers) == ["<|nospeech|>", "<|endoftext|>"]


def test_earlier_text_is_read_but_never_asked_for(pieces, targets):
    asked, answers = targets.of(Example(MEL, "en", PHRASES[:1], previous_text="मेरा order कहाँ है?"))
    start = named(pieces, asked).index("<|startoftranscript|>")
    assert named(pieces, asked)[0] == "<|startofprev|>"
    assert answers[:start] == [IGNORED] * start
    assert len(asked) == len(answers)


def test_the_language_is_given_but_not_taught_where_there_is_only_one():
    targets = Targets(tokenizer.build(["hello there"]), teaches_language=False)
    _, answers = targets.of(Example(np.zeros((10, 80)), "en", (TimedPhrase("hello", 0, 1),)))
    assert answers[:3] == [IGNORED] * 3
