"""The calls of `make learn` are what their index says, and no part of them gives another part away."""

import json

import pytest
import soundfile

from training.demo_model import corpus, demo_script, learning_calls
from training.demo_model.voices import DEMONSTRATION
from training.runs.bases import LEARNING_FOLDER

ROWS = json.loads((LEARNING_FOLDER / "calls.json").read_text(encoding="utf-8"))


def test_every_recording_is_there_at_8_khz_and_as_long_as_stated():
    assert {path.name for path in LEARNING_FOLDER.iterdir()} == {*(row["file"] for row in ROWS), "calls.json"}
    for row in ROWS:
        about = soundfile.info(LEARNING_FOLDER / row["file"])
        assert (about.samplerate, about.channels) == (8000, 1)
        assert about.frames / about.samplerate == pytest.approx(row["duration_s"], abs=0.1)


def test_the_text_of_a_call_is_its_phrases_in_order_and_within_the_recording():
    for row in ROWS:
        assert row["text"] == " ".join(phrase["text"] for phrase in row["phrases"])
        times = [at for phrase in row["phrases"] for at in (phrase["start_s"], phrase["end_s"])]
        assert times == sorted(times)
        assert times[-1] <= row["duration_s"]


def test_no_sentence_is_said_twice_and_nobody_calls_twice():
    sentences = [corpus.sentence_key(phrase["text"]) for row in ROWS for phrase in row["phrases"]]
    assert len(sentences) == len(set(sentences))
    assert len({row["voice"] for row in ROWS}) == len(ROWS)
    assert not set(sentences) & corpus.demo_keys()
    assert not {row["voice"].partition("+")[2] for row in ROWS} & set(DEMONSTRATION)


def test_the_index_is_the_script():
    script = learning_calls.script(learning_calls.SEED)
    assert [[phrase["text"] for phrase in row["phrases"]] for row in ROWS] == [list(one.sentences) for one in script]
    assert [(row["voice"], row["language"], row["new"]) for row in ROWS] == [
        (one.voice.name, one.language, one.new) for one in script
    ]
    assert sum(row["new"] for row in ROWS) == learning_calls.CALLS["new"]


def test_they_are_told_apart_from_the_demonstration_calls():
    shown = {call.file for call in demo_script.CALLS}
    assert not shown & {row["file"] for row in ROWS}
    assert len({row["call_sid"] for row in ROWS}) == len(ROWS)


def test_all_together_are_small():
    assert sum(path.stat().st_size for path in LEARNING_FOLDER.iterdir()) < 6_000_000
