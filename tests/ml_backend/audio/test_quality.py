"""A worse recording never measures better, and each part moves with the property it names."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from ml_backend.audio import decoding, quality
from tests import sounds


@pytest.fixture(scope="module")
def spoken() -> np.ndarray:
    parts = [sounds.speech("Hello, I would like to order milk and bread."), sounds.silence(1)]
    return np.concatenate(parts * 2) * 0.5


def leg(samples: np.ndarray, *, source_rate_hz: int = 8000) -> dict[str, float]:
    return quality.measure(samples[None], 16000, source_rate_hz=source_rate_hz).parts["leg_0"]


def hiss(like: np.ndarray, snr_db: float) -> np.ndarray:
    power = np.mean(np.square(like[np.abs(like) > 0.01])) / 10 ** (snr_db / 10)
    return like + np.random.default_rng(0).standard_normal(like.size).astype(np.float32) * np.sqrt(
        power, dtype=np.float32
    )


def test_more_noise_means_a_lower_ratio_and_a_lower_score(spoken):
    found = [leg(hiss(spoken, snr_db)) for snr_db in (40, 30, 20, 10, 0)]
    for better, worse in itertools.pairwise(found):
        assert better["snr_db"] > worse["snr_db"]
        assert better["score"] >= worse["score"]
    assert found[2]["snr_db"] == pytest.approx(20, abs=5)


@pytest.mark.parametrize("snr_db", [0, 5, 10, 15, 20, 25, 30, 40])
@pytest.mark.parametrize("pause_s", [0.5, 6.0])
def test_the_ratio_of_a_mix_is_what_was_mixed(snr_db, pause_s):
    """Active speech power over noise power in the telephone band, to within 2.5 dB from 0 to 40 dB."""
    texts = ("Hello, I would like to order milk and bread.", "No, I do not want it. Please call me back tomorrow.")
    clean = np.concatenate([np.concatenate([sounds.speech(text), sounds.silence(pause_s)]) for text in texts]) * 0.5
    powers = np.mean(clean[: clean.size // 320 * 320].reshape(-1, 320) ** 2, axis=1)
    active = powers[powers > powers.max() * 1e-4].mean()
    noise = sounds.telephone(np.random.default_rng(snr_db).standard_normal(clean.size))
    noise *= np.sqrt(active / 10 ** (snr_db / 10) / np.mean(noise**2), dtype=np.float32)
    assert leg(clean + noise)["snr_db"] == pytest.approx(snr_db, abs=2.5)


def test_a_file_read_in_blocks_measures_as_it_does_in_memory(spoken, tmp_path):
    legs = np.stack([spoken, hiss(spoken, 15)])
    legs = np.concatenate([legs] * 3, axis=1)
    path = sounds.write_wav(tmp_path / "two.wav", legs)
    found = quality.measure_wav(path, source_rate_hz=8000)
    assert found.quality == quality.measure(decoding.read_wav(path)[0], 16000, source_rate_hz=8000)
    assert len(found.speech) == len(found.powers) == legs.shape[1] // 320


def test_a_sample_rate_that_the_sound_never_had_is_seen(spoken):
    honest, inflated = leg(spoken, source_rate_hz=8000), leg(spoken, source_rate_hz=48000)
    assert honest["rate_use"] > 0.8
    assert inflated["rate_use"] < 0.2
    assert inflated["score"] < honest["score"]


def test_labels_follow_the_noise(spoken):
    labels = [quality.label_of(leg(hiss(spoken, snr_db))["score"]) for snr_db in (40, 22, 13, -5)]
    assert labels == ["excellent", "good", "fair", "poor"]


def test_clipping_is_seen(spoken):
    clipped = np.clip(spoken * 20, -1, 1)
    assert leg(spoken)["clipping"] == 0
    assert leg(clipped)["clipping"] > 0.02
    assert leg(clipped)["score"] < leg(spoken)["score"]


def test_level_is_in_db_below_full_scale(spoken):
    assert leg(spoken)["level_dbfs"] > leg(spoken / 2)["level_dbfs"] + 4
    assert leg(sounds.tone(5))["level_dbfs"] == pytest.approx(20 * np.log10(0.4) - 3.01, abs=0.2)


def test_a_muffled_line_has_a_narrow_band(spoken):
    spectrum = np.fft.rfft(spoken)
    spectrum[np.fft.rfftfreq(spoken.size, 1 / 16000) > 1200] = 0
    muffled = np.fft.irfft(spectrum, spoken.size).astype(np.float32)
    assert leg(muffled)["bandwidth_hz"] <= 1500 < 3000 <= leg(spoken)["bandwidth_hz"]
    assert leg(muffled)["score"] < leg(spoken)["score"]


def test_bandwidth_is_never_more_than_the_source_can_hold(spoken):
    wide = spoken + sounds.noise(spoken.size / 16000 + 1)[: spoken.size]
    assert leg(wide, source_rate_hz=8000)["bandwidth_hz"] <= 4000
    assert leg(wide, source_rate_hz=16000)["bandwidth_hz"] > 4000


@pytest.mark.parametrize(
    "samples", [np.zeros((1, 0)), np.zeros((1, 10)), np.zeros((2, 160_000)), np.ones((1, 16_000)) * 0.5]
)
def test_without_speech_the_score_is_0_and_nothing_divides_by_it(samples):
    found = quality.measure(samples.astype(np.float32), 16000, source_rate_hz=8000)
    assert (found.score, found.label) == (0.0, "poor")
    json.dumps(found.to_json(), allow_nan=False)


def test_a_call_is_as_good_as_its_worst_leg_that_speaks(spoken):
    good, bad = spoken, hiss(spoken, 3)
    one = quality.measure(good[None], 16000, source_rate_hz=8000)
    both = quality.measure(np.stack([good, bad]), 16000, source_rate_hz=8000)
    with_silent_leg = quality.measure(np.stack([good, np.zeros_like(good)]), 16000, source_rate_hz=8000)
    assert both.score == both.parts["leg_1"]["score"] < one.score
    assert with_silent_leg.score == one.score


def spans_of(legs, folder):
    path = sounds.write_wav(folder / "legs.wav", legs.astype(np.float32))
    return quality.measure_wav(path, source_rate_hz=8000).spans()


def test_speech_is_a_few_stretches_of_each_leg_and_silence_is_none(tmp_path):
    rate, rng = 16000, np.random.default_rng(5)
    legs = rng.normal(0, 1e-4, (2, 10 * rate))
    for channel, begin_s, end_s in ((0, 1.0, 2.0), (0, 2.2, 3.0), (0, 5.0, 5.1), (1, 6.0, 8.0)):
        part = slice(int(begin_s * rate), int(end_s * rate))
        legs[channel, part] += rng.normal(0, 0.1, part.stop - part.start)
    found = spans_of(legs, tmp_path)
    assert [channel for *_, channel in found] == [0, 1], "a short pause joins, a click is no speech"
    assert found[0][:2] == pytest.approx([0.85, 3.15], abs=0.05)
    assert found[1][:2] == pytest.approx([5.85, 8.15], abs=0.05)
    assert spans_of(np.zeros((1, 5 * rate)), tmp_path) == []
