"""Speech becomes windows the way the model version was trained, and no speech is lost or heard twice."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.asr.windows import RATE_HZ, Stretch, Window, find_speech, halves, second_look, windows_of
from ml_backend.models.manifest import WindowPolicy
from tests import sounds

STOCK = WindowPolicy.stock()
SHORT = WindowPolicy(max_s=8.0, pad_to_s=None, margin_s=0.4, max_padding_s=1.0, split_pause_s=0.25)


@st.composite
def stretches(draw: st.DrawFn) -> list[Stretch]:
    made, place = [], 0
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 80_000), st.integers(2_000, 100_000)), max_size=30)):
        start = place + gap
        made.append(Stretch(start, start + length, 0.9, start + 500, start + length - 500))
        place = start + length
    return made


@given(stretches(), st.sampled_from([STOCK, SHORT, WindowPolicy(max_s=20, pad_to_s=30, split_pause_s=1.0)]))
def test_every_stretch_is_in_exactly_one_window_and_windows_keep_to_the_policy(found, policy):
    windows = windows_of(found, channel=1, policy=policy)
    covered = [(p.start, p.end) for w in windows for p in w.pieces]
    assert covered == sorted(covered)
    for stretch in found:
        assert sum(start <= stretch.start and stretch.end <= end for start, end in covered) == 1
    for window in windows:
        assert window.channel == 1
        assert window.duration_s <= max(policy.max_s, max((s.end - s.start) / RATE_HZ for s in found))
        if policy.pad_to_s is None:
            assert len(window.pieces) == 1


@given(stretches())
def test_times_in_a_window_lead_back_to_where_they_came_from(found):
    for window in windows_of(found, channel=0, policy=STOCK):
        phrases = window.phrases()
        assert all(one.end_s == pytest.approx(other.start_s) for one, other in pairwise(phrases))
        for phrase in phrases:
            piece = window.pieces[phrase.piece]
            assert phrase.start_s <= phrase.first_s <= phrase.last_s <= phrase.end_s
            for edge in (piece.first, *piece.breaks, piece.last):
                in_window_s = phrases[0].start_s + (edge - piece.start) / RATE_HZ
                in_window_s += sum(p.end - p.start for p in window.pieces[: phrase.piece]) / RATE_HZ
                assert window.in_recording_s(in_window_s, phrase.piece) == pytest.approx(edge / RATE_HZ)


def test_a_part_of_a_phrase_keeps_the_padding_where_it_reaches_the_edge():
    one = Window(0, (Stretch(0, 16_000, 0.9), Stretch(100_000, 180_000, 0.9, 104_800, 175_200)))
    second = one.phrases()[1]
    whole = one.part(second, second.first_s, second.last_s)
    assert (whole.start, whole.first, whole.last, whole.end) == (100_000, 104_800, 175_200, 180_000)
    tail = one.part(second, second.first_s + 2, second.last_s)
    assert (tail.start, tail.end) == (136_800, 180_000)


def test_a_model_that_pads_to_30_s_gets_long_pauses_taken_out():
    found = [Stretch(s * 160_000, s * 160_000 + 32_000, 0.9, s * 160_000, s * 160_000 + 32_000) for s in range(6)]
    packed = windows_of(found, channel=0, policy=STOCK)
    assert [len(window.pieces) for window in packed] == [6]
    assert packed[0].duration_s == 12.0


def test_a_model_that_does_not_pad_gets_one_window_per_phrase():
    found = [Stretch(s * 160_000, s * 160_000 + 32_000, 0.9, s * 160_000, s * 160_000 + 32_000) for s in range(6)]
    assert len(windows_of(found, channel=0, policy=SHORT)) == 6


def test_the_halves_of_a_window_are_the_window():
    one = Window(0, (Stretch(0, 100, 0.9, 10, 90),))
    two = Window(0, (Stretch(0, 100, 0.9, 10, 90), Stretch(500, 700, 0.8, 510, 690)))
    assert [(w.pieces[0].start, w.pieces[0].end) for w in halves(one)] == [(0, 50), (50, 100)]
    assert [w.pieces for w in halves(two)] == [(two.pieces[0],), (two.pieces[1],)]


def test_speech_is_found_where_it_is():
    spoken = sounds.speech("I would like to order two litres of milk")
    leg = np.concatenate([sounds.silence(3), spoken, sounds.silence(4), spoken, sounds.silence(2)])
    found = find_speech(leg, SHORT)
    assert len(found) == 2
    for stretch, begins_s in zip(found, (3.0, 7.0 + spoken.size / RATE_HZ), strict=True):
        assert stretch.start / RATE_HZ == pytest.approx(begins_s, abs=0.5)
        assert stretch.end / RATE_HZ == pytest.approx(begins_s + spoken.size / RATE_HZ, abs=0.8)


def test_speech_without_a_pause_is_cut_to_what_the_model_takes():
    spoken = sounds.speech("one two three four five six seven eight nine ten " * 3)
    found = find_speech(spoken, WindowPolicy(max_s=4.0, split_pause_s=10.0))
    assert len(found) > 2
    assert all(stretch.end - stretch.start <= 4.0 * RATE_HZ for stretch in found)
    assert all(a.end <= b.start for a, b in pairwise(found))


SOUNDS_WITHOUT_SPEECH = {
    "silence": lambda: sounds.silence(10),
    "tone": lambda: sounds.tone(10),
    "noise": lambda: sounds.noise(10),
    "loud noise": lambda: sounds.noise(10, level=0.3),
    "ringing": lambda: sounds.tone(10, hz=400) * (np.arange(160_000) % 48_000 < 16_000),
    "nothing": lambda: sounds.silence(0),
    "a blink": lambda: sounds.silence(0.01),
    **{f"music {seed}": partial(sounds.music, 15, seed=seed) for seed in range(6)},
}


@pytest.mark.parametrize("name", sorted(SOUNDS_WITHOUT_SPEECH))
def test_no_window_is_made_of_silence_noise_tones_or_hold_music(name):
    leg = SOUNDS_WITHOUT_SPEECH[name]().astype(np.float32)
    assert windows_of(find_speech(leg, STOCK), channel=0, policy=STOCK) == []


def test_nothing_short_is_cut_off_before_the_first_word_of_a_recording():
    leg = np.zeros(10 * RATE_HZ, np.float32)
    probabilities = np.zeros(leg.size // 512, np.float32)
    probabilities[16:60] = 0.9
    assert find_speech(leg, STOCK, probabilities)[0].start == 0
    later = np.roll(probabilities, 40)
    assert find_speech(leg, STOCK, later)[0].start > RATE_HZ


def test_a_short_leg_gets_a_second_look_of_its_own_length_and_a_long_one_none():
    random = np.random.default_rng(1)
    for samples in (512, 10_000, 5 * RATE_HZ):
        found = second_look(random.normal(0, 0.01, samples).astype(np.float32))
        assert found is not None
        assert len(found) == -(-samples // 512)
    assert second_look(np.zeros(5 * RATE_HZ + 1, np.float32)) is None
    assert second_look(np.zeros(100, np.float32)) is None


def test_a_second_look_finds_no_speech_in_short_silence_tones_and_noise():
    random = np.random.default_rng(1)
    seconds = np.arange(2 * RATE_HZ) / RATE_HZ
    for leg in (0 * seconds, 0.2 * np.sin(2 * np.pi * 440 * seconds), random.normal(0, 0.05, seconds.size)):
        found = second_look(leg.astype(np.float32))
        assert find_speech(leg.astype(np.float32), STOCK, found) == []
