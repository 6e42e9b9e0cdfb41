"""Degraded copies of recordings by people: plainly worse, made once, rated like every clip and never learnt from."""

from __future__ import annotations

import numpy as np
import pytest

from tests import sounds
from tests.training.voices.conftest import Voices
from training.voices import anchors, clip_collection, studio, voice_lines


@pytest.fixture
def people(voices: Voices) -> Voices:
    """Three recordings by a person, checked."""
    folder = voices.folder / "studio"
    folder.mkdir()
    said = ("hello this is a call", "i want to order milk", "hello where is my order")
    for number, words in enumerate(said):
        sounds.write_wav(folder / f"{number}.wav", sounds.speech(words))
    lines = "".join(f"{number}.wav,{words},en,Asha,calm\n" for number, words in enumerate(said))
    (folder / "list.csv").write_text("file,text,language,voice,emotion\n" + lines, encoding="utf-8")
    studio.import_folder(voices.context, folder)
    voices.run_jobs()
    clip_collection.collect(voices.context)
    return voices


def test_copies_are_made_once_and_become_accepted_clips_that_nobody_learns_from(people: Voices) -> None:
    assert anchors.make(people.context, 2) == 2
    people.run_jobs()
    clip_collection.collect(people.context)
    copies = people.clips(role="degraded")
    assert [(copy.state, copy.voice, copy.language) for copy in copies] == [("accepted", "Asha", "en")] * 2
    assert {copy.text_key for copy in copies} < {clip.text_key for clip in people.clips(role="reference")}
    assert anchors.make(people.context, 2) == 0
    assert anchors.make(people.context, 9) == 1, "as many as there are recordings"
    assert {line["key"].partition("/")[0] for line in voice_lines.lines(people.clips())} == {"voices"}


def test_a_copy_keeps_its_length_and_loses_its_sound_the_same_way_each_time() -> None:
    samples = sounds.speech("hello this is a call")
    worse = anchors.degrade(samples, sounds.RATE_HZ)
    assert worse.size == samples.size
    assert np.array_equal(worse, anchors.degrade(samples, sounds.RATE_HZ))
    assert len(np.unique(worse)) <= anchors.LEVELS + 1
    assert float(np.abs(worse).max()) <= 0.5
    loud = np.corrcoef(np.abs(samples), np.abs(worse))[0, 1]
    assert 0.2 < loud < 0.95, "the speech is still there, and it is not the recording"


def test_silence_can_be_degraded_too() -> None:
    assert np.isfinite(anchors.degrade(np.zeros(1600, np.float32), 16_000)).all()
