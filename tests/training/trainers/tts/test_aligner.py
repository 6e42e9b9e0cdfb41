"""Letters are found where they are spoken."""

import itertools

import numpy as np
import pytest
import torch

from training.trainers.tts import aligner


def probabilities(frames, letters, seed):
    values = np.random.default_rng(seed).normal(size=(frames, letters + 1)).astype(np.float32) * 2
    return values - np.log(np.exp(values).sum(axis=1, keepdims=True))


def best_by_trying(log_probabilities, text):
    """The score of the best CTC path, from all paths."""
    wanted, best = [letter + 1 for letter in text], -np.inf
    for path in itertools.product(range(log_probabilities.shape[1]), repeat=len(log_probabilities)):
        collapsed = [one for one, _ in itertools.groupby(path) if one]
        if collapsed == wanted:
            best = max(best, sum(log_probabilities[at, one] for at, one in enumerate(path)))
    return best


@pytest.mark.parametrize(("frames", "text"), [(6, [0, 1]), (6, [1, 1]), (7, [0, 1, 0]), (4, [1, 1]), (3, [0])])
def test_the_path_is_the_best_of_all_paths(frames, text):
    given = probabilities(frames, 2, seed=frames)
    emitted = np.full((frames, 1, 2 * len(text) + 1), -1e9, dtype=np.float32)
    symbols = np.zeros(2 * len(text) + 1, dtype=int)
    symbols[1::2] = np.array(text) + 1
    emitted[:, 0] = given[:, symbols]
    skips = np.zeros((1, len(symbols)), dtype=bool)
    skips[0, 3::2] = symbols[3::2] != symbols[1:-2:2]
    (path,) = aligner._best_paths(emitted, skips, [given], [np.array(text)])
    assert sum(given[at, symbols[state]] for at, state in enumerate(path)) == pytest.approx(
        best_by_trying(given, text), abs=1e-4
    )


def test_every_letter_has_a_frame_and_together_they_have_all_in_any_batch():
    texts = [np.array(text) for text in ([0, 1, 1, 2], [2], [1, 2, 1])]
    given = [probabilities(frames, 3, seed) for seed, frames in enumerate((12, 5, 30))]
    together = aligner.durations(given, texts)
    alone = [aligner.durations([one], [text])[0] for one, text in zip(given, texts, strict=True)]
    for frames, text, found, single in zip((12, 5, 30), texts, together, alone, strict=True):
        assert found.sum() == frames
        assert len(found) == len(text)
        assert (found >= 1).all()
        assert found.tolist() == single.tolist()


def test_letters_are_where_their_frames_are_and_share_the_silence_between_them():
    given = np.full((10, 3), -9.0, dtype=np.float32)
    given[:, 0] = -0.1  # blank
    given[2, :2], given[7, [0, 2]] = (-9.0, 0.0), (-9.0, 0.0)
    assert aligner.durations([given], [np.array([0, 1])])[0].tolist() == [5, 5]


def test_a_text_that_has_no_room_is_known_before_it_is_tried():
    assert aligner.fits(3, np.array([0, 1, 2]))
    assert not aligner.fits(3, np.array([0, 1, 1]))
    assert not aligner.fits(2, np.array([0, 1, 2]))


def test_a_new_letter_leaves_the_known_ones_as_they_were():
    torch.manual_seed(0)
    before = aligner.Aligner(5).eval()
    after = aligner.extended(before, 7).eval()
    mels = torch.randn(1, 20, 80)
    one, other = before(mels)[0, :, :6], after(mels)[0, :, :6]
    assert torch.allclose(one - one[:, :1], other - other[:, :1], atol=1e-5)
    assert after(mels).shape[2] == 8
