"""Figures of speech that can be checked on sounds whose answer is known."""

import numpy as np
import pytest

from training.scoring import speech_measures

RATE = speech_measures.SCALE.rate_hz


def voice(hertz, seconds=1.0, seed=0):
    """A buzz of harmonics with the loudness of syllables."""
    t = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * hertz * n * t) / n for n in range(1, 20) if hertz * n < 7000)
    return (0.1 * wave * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t + seed))).astype(np.float32)


def noise(seconds=1.0, seed=1):
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


@pytest.mark.parametrize("hertz", [80, 103, 150, 239, 330])
def test_the_pitch_of_a_voice_is_found_within_a_tenth_of_a_semitone(hertz):
    found = speech_measures.pitch_hz(voice(hertz))
    assert abs(speech_measures.semitones(found, hertz)) < 0.1


def test_noise_silence_and_a_click_have_no_pitch():
    assert speech_measures.pitch_hz(noise()) is None
    assert speech_measures.pitch_hz(np.zeros(16000, np.float32)) is None
    assert speech_measures.pitch_hz(np.ones(10, np.float32)) is None


def test_an_octave_is_twelve_semitones():
    assert speech_measures.semitones(240, 120) == pytest.approx(12)
    assert speech_measures.semitones(None, 120) is None


def test_a_recording_has_no_distance_to_itself_and_some_to_others():
    one, other = (speech_measures.cepstra(wave) for wave in (voice(120), noise()))
    assert speech_measures.distance(one, one) < 0.01
    assert speech_measures.distance(one, other) > 1


def test_a_slower_copy_is_nearer_than_another_sound_and_loudness_does_not_count():
    one = speech_measures.cepstra(voice(120))
    slower, other = speech_measures.cepstra(voice(120, seconds=1.3)), speech_measures.cepstra(noise())
    louder = speech_measures.cepstra(3 * voice(120))
    assert speech_measures.distance(one, slower) < 0.4 * speech_measures.distance(one, other)
    assert speech_measures.distance(one, louder) < 0.05


def test_the_distance_is_that_of_the_plain_recursion():
    rng = np.random.default_rng(5)
    one, other = rng.normal(size=(7, 13)).astype(np.float32), rng.normal(size=(9, 13)).astype(np.float32)
    costs = np.linalg.norm(one[:, None] - other[None], axis=2)
    best = np.full((8, 10), np.inf)
    best[0, 0] = 0
    for i in range(1, 8):
        for j in range(1, 10):
            cost = costs[i - 1, j - 1]
            best[i, j] = min(best[i - 1, j - 1] + 2 * cost, best[i - 1, j] + cost, best[i, j - 1] + cost)
    assert speech_measures.distance(one, other) == pytest.approx(best[7, 9] / 16, rel=1e-4)


def test_levels_silence_clipping_and_noise_are_told_apart():
    spoken = voice(150)
    padded = np.concatenate([np.zeros(RATE, np.float32), spoken, np.zeros(2 * RATE, np.float32)])
    figures = speech_measures.measured(padded)
    assert figures.silent_share == pytest.approx(0.75, abs=0.03)
    assert figures.active_s == pytest.approx(1.0, abs=0.05)
    assert figures.level_dbfs == pytest.approx(speech_measures.measured(spoken).level_dbfs, abs=0.5)
    assert speech_measures.measured(np.clip(40 * spoken, -1, 1)).clipped_share > 0.5
    assert figures.clipped_share == 0
    assert speech_measures.measured(noise()).flatness > 0.7 > 0.5 > figures.flatness


def test_nothing_at_all_has_figures_too():
    for samples in (np.zeros(0, np.float32), np.zeros(50, np.float32), np.zeros(16000, np.float32)):
        figures = speech_measures.measured(samples)
        assert figures.silent_share == 1.0
        assert figures.pitch_hz is None
