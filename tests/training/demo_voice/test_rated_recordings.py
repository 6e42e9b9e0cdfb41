"""The recordings beside which `make learn` has the bundled voice rated: they are what their list says."""

from __future__ import annotations

import soundfile

from training.demo_model import corpus
from training.demo_voice import bundled_voice, rated_recordings
from training.demo_voice.rated_recordings import FOLDER, LIST, SENTENCES
from training.voices import studio


def test_every_recording_is_there_with_its_text_at_the_rate_of_a_voice() -> None:
    rows, bad = studio.read_list((FOLDER / LIST).read_text(encoding="utf-8"))
    assert not bad
    assert [(row.text, row.language, row.voice) for row in rows] == [
        (one.text, one.language, rated_recordings.VOICE) for one in SENTENCES
    ]
    assert {path.name for path in FOLDER.iterdir()} == {LIST, *(row.file for row in rows)}
    for row in rows:
        about = soundfile.info(FOLDER / row.file)
        assert (about.samplerate, about.channels) == (16000, 1)
        assert 1 < about.frames / about.samplerate < 6


def test_the_bundled_voice_has_not_learnt_the_sentences() -> None:
    recipe = bundled_voice.FULL_VOICE
    learnt = {one.key for one in corpus.training_sentences(recipe.seed, recipe.sentences)}
    assert learnt.isdisjoint(one.key for one in SENTENCES)
