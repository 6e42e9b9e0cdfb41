"""Spectra and back: what the trainer measures is what the engine turns into sound."""

import numpy as np
import pytest

from ml_backend.tts import griffin_lim, length_regulator, mel
from ml_backend.tts.mel import MelScale

SCALE = MelScale()


def tones(*hertz, seconds=0.6):
    t = np.arange(round(seconds * SCALE.rate_hz)) / SCALE.rate_hz
    return sum(0.2 * np.sin(2 * np.pi * each * t) for each in hertz).astype(np.float32)


def test_a_spectrum_can_be_turned_back_into_its_samples():
    wave = tones(220, 1500)
    back = mel.samples_of(mel.spectrum(wave, SCALE), SCALE)
    assert np.abs(back - wave[: len(back)]).max() < 1e-5


@pytest.mark.parametrize("hertz", [150, 440, 1000, 3000, 6000])
def test_a_tone_is_loudest_in_the_band_around_it(hertz):
    loudest = mel.log_mel(tones(hertz), SCALE)[10].argmax()
    takes = mel.bank(SCALE)[loudest] > 0
    bins = np.fft.rfftfreq(SCALE.fft, 1 / SCALE.rate_hz)[takes]
    assert bins.min() - 16 <= hertz <= bins.max() + 16


def test_every_band_takes_something_and_no_band_takes_more_than_another():
    assert np.allclose(mel.bank(SCALE).sum(axis=1), 1.0)


def test_the_vocoder_gives_sound_with_the_same_frames_every_time():
    frames = mel.log_mel(0.3 * tones(*range(120, 7000, 120)), SCALE)
    one, other = (griffin_lim.samples_of(frames, SCALE, iterations=12) for _ in range(2))
    assert np.array_equal(one, other)
    again = mel.log_mel(one, SCALE)[: len(frames)]
    loud = frames[3:-3] > frames.max() - 4  # the ends are half silence
    assert np.abs(again - frames)[3:-3][loud].mean() < 0.3


def test_no_frames_give_no_samples():
    assert griffin_lim.samples_of(np.zeros((0, 80), np.float32), SCALE).size == 0


def test_too_loud_is_turned_down_as_a_whole_and_what_fits_is_left_alone():
    wave = np.array([0.5, -2.0, 1.0], np.float32)
    assert np.allclose(griffin_lim.limited(wave), wave * 0.49)
    assert griffin_lim.limited(wave * 0.1) is not None
    assert np.array_equal(griffin_lim.limited(wave * np.float32(0.1)), wave * np.float32(0.1))


def test_whole_frames_keep_the_length_of_the_sentence():
    expected = np.full(40, 0.4, np.float32)
    assert length_regulator.whole_frames(expected).sum() == 16
    assert length_regulator.whole_frames(expected, tempo=2.0).sum() == 8


def test_a_broken_length_does_not_ask_for_hours_of_speech():
    assert length_regulator.whole_frames(np.array([1e30, np.inf], np.float32)).sum() <= 800


def test_a_frame_knows_its_place_in_its_letter():
    places = length_regulator.places(np.array([2, 0, 1]))
    assert places[:, 0].tolist() == [-0.5, 0.5, 0.0]
    assert length_regulator.places(np.array([0, 0])).shape == (0, 2)
