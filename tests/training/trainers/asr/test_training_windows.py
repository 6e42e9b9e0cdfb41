"""A pick is the same window wherever it is made; its phrases are timed where they are heard."""

import numpy as np
import pytest

from training.runs.batches import Pick
from training.runs.workspace import Row, Workspace
from training.trainers.asr.augmentation import Strength
from training.trainers.asr.frame_cache import DIRECT, TELEPHONE, RowFeatures, frames_of, open_rows
from training.trainers.asr.training_windows import Windows

CALM = Strength(tempo=0, vocal_tract=0, tilt=0, level=(0, 0), noise_share=0, masks=0)


def tone(seconds: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * 16000)) / 16000)).astype(np.float32)


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    made = Workspace(tmp_path)
    made.write_rows((Row(f"r{n}", f"words {n}", "en", 0, 0, speaker="a"), tone(s)) for n, s in enumerate((1, 2, 9)))
    return made


def windows(workspace: Workspace, *, strength: Strength = CALM, **changed) -> Windows:
    row_features = open_rows(workspace, mels=80, seed=1, cached=True)
    return Windows(row_features, 8.0, strength, [], **changed)


def test_the_same_pick_is_the_same_window_and_another_seed_another(workspace):
    harsh = windows(workspace, strength=Strength(noise_share=0))
    pick = Pick((0, 1), 3.4, 77)
    assert (harsh.of(pick).mel == harsh.of(pick).mel).all()
    other = harsh.of(Pick((0, 1), 3.4, 78))
    assert other.mel.shape != harsh.of(pick).mel.shape or not (other.mel == harsh.of(pick).mel).all()


def test_phrases_are_timed_where_they_are_heard(workspace):
    for seed in range(8):
        example = windows(workspace).of(Pick((0, 1), 3.4, seed))
        assert [phrase.text for phrase in example.phrases] == ["words 0", "words 1"]
        for phrase in example.phrases:
            first, last = round(phrase.start_s * 100), round(phrase.end_s * 100)
            inside = example.mel[first + 3 : last - 3].max(axis=1).min()
            assert inside > example.mel.min() + 0.5, "a tone sounds between the two times"
            if first > 12:
                assert example.mel[first - 4].max() < inside, "and not before"


def test_a_phrase_as_long_as_the_window_is_not_cut_short_by_silence_around_it(workspace):
    example = windows(workspace).of(Pick((2,), 9.0, 3))
    assert len(example.mel) <= 800
    assert example.phrases[0].start_s == 0
    assert example.phrases[0].end_s <= 8.0


def test_the_share_of_timestamped_windows_is_kept(workspace):
    found = [windows(workspace, timestamped_share=0.5).of(Pick((0,), 1.0, seed)).timestamped for seed in range(200)]
    assert 70 < sum(found) < 130


def test_cached_frames_are_those_computed_anew_and_are_computed_once(workspace):
    cached = open_rows(workspace, mels=80, seed=1, cached=True)
    fresh = open_rows(workspace, mels=80, seed=1, cached=False)
    assert np.allclose(cached.mel(1), fresh.mel(1), atol=2e-3)
    written = (workspace.folder / "features.f16").stat().st_mtime_ns
    open_rows(workspace, mels=80, seed=1, cached=True)
    assert (workspace.folder / "features.f16").stat().st_mtime_ns == written


def test_a_telephone_line_takes_the_high_bands_away_and_keeps_the_length(workspace):
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    row_features = RowFeatures([Row("n", "x", "en", 0, 16000)], (noise * 32767).astype(np.int16), 80)
    direct, line = row_features.mel(0, DIRECT), row_features.mel(0, TELEPHONE)
    assert direct.shape == line.shape == (frames_of(row_features.rows[0]), 80)
    assert line[:, 75:].mean() < direct[:, 75:].mean() - 0.3


def test_a_model_with_more_bands_gets_more_bands(workspace):
    row_features = open_rows(workspace, mels=128, seed=1, cached=True)
    example = Windows(row_features, 8.0, Strength(noise_share=0), []).of(Pick((0,), 1.0, 1))
    assert example.mel.shape[1] == 128
