"""Codes as Parler learns them, and audio as its codec takes it; in this environment, without parler-tts."""

import itertools

import numpy as np
import pytest
import torch

from ml_backend.errors import InvalidInput
from training.trainers.parler import codec_cache, delayed_codes, parler_options
from training.trainers.parler.parler_options import ParlerOptions

START, END = 99, 98


def test_each_codebook_is_one_step_later_and_ends_after_its_last_frame():
    codes = torch.tensor([[1, 2], [3, 4], [5, 6]], dtype=torch.int16)
    assert delayed_codes.labels(codes, start=START, end=END).T.tolist() == [
        [1, 2, END, END, END],
        [START, 3, 4, END, END],
        [START, START, 5, 6, END],
    ]


def test_a_resumed_run_gets_the_batches_it_would_have_had_and_every_clip_once_an_epoch():
    lengths = [5, 50, 7, 70, 9, 90, 11]
    first, again = (list(itertools.islice(delayed_codes.order(lengths, size=2, seed=3), 8)) for _ in range(2))
    assert first == again
    assert sorted(itertools.chain(*first[:4])) == list(range(7))
    assert first[:4] != first[4:]


@pytest.mark.parametrize(("rate_hz", "wanted_hz"), [(48_000, 44_100), (16_000, 44_100), (24_000, 16_000)])
def test_a_tone_keeps_its_pitch_its_level_and_its_length_at_another_rate(rate_hz, wanted_hz):
    wave = np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz).astype(np.float32)
    found = codec_cache.resampled(wave, rate_hz, wanted_hz)
    assert found.size == wanted_hz
    spectrum = np.abs(np.fft.rfft(found))
    assert spectrum.argmax() == 440
    assert np.sqrt((found**2).mean()) == pytest.approx(np.sqrt(0.5), abs=0.01)


def test_a_description_is_the_closest_of_ones_own_else_one_fixed_sentence():
    given = {"asha": "Asha speaks.", "asha/hi": "Asha speaks Hindi.", "asha/hi/happy": "Asha is glad."}
    assert parler_options.description("asha", "hi", "happy", given=given) == "Asha is glad."
    assert parler_options.description("asha", "hi", "sad", given=given) == "Asha speaks Hindi."
    assert parler_options.description("asha", "mr", given=given) == "Asha speaks."
    own = parler_options.description("asha", "mr", "sad")
    assert own == parler_options.description("asha", "mr", "sad", given=given | {"asha": " "})
    assert own.startswith("Asha speaks Marathi in a sad tone")


def test_impossible_and_misspelt_options_are_refused():
    for wrong in ({"method": "qlora"}, {"steps": 0}, {"longest_s": 0.2}, {"step": 5}, {"rank": 1.5}):
        with pytest.raises(InvalidInput):
            ParlerOptions.from_json(wrong)
    assert ParlerOptions.from_json({"steps": 7}).to_json()["steps"] == 7
