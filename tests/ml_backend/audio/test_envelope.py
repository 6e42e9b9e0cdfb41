"""A waveform of any length is a few hundred letters, and the page draws them without numpy."""

import numpy as np

from ml_backend.audio import envelope, quality

RATE = 16_000


def test_levels_are_kept_to_a_decibel_and_silence_is_no_level():
    powers = [0.0, 1e-9, 1e-6, 1e-4, 1e-2, 1.0, 4.0]
    heights = envelope.heights(envelope.levels(powers))
    wanted = [0.0, 0.0, 0.0, 1 / 3, 2 / 3, 1.0, 1.0]
    assert [round(abs(found - want), 3) <= 1 / 60 for found, want in zip(heights, wanted, strict=True)] == [True] * 7
    assert envelope.heights("?") == [0.0]


def test_a_recording_is_loud_where_it_was_loud_on_each_channel(tmp_path):
    loud, quiet = np.full(RATE * 4, 0.5, np.float32), np.full(RATE * 4, 0.001, np.float32)
    samples = np.stack([np.concatenate([quiet, loud]), np.concatenate([loud, quiet])])
    channels = np.clip(samples * 32768, -32768, 32767).astype(np.int16)
    gathered = [quality._Channel() for _ in channels]
    for channel, each in enumerate(gathered):
        each.add(channels[channel], 320)
    whole = channels[:, :].reshape(2, -1, 320)
    measured = quality._measured(gathered, RATE, RATE, lambda channel, chosen: whole[channel, chosen])

    first, second = (envelope.heights(each) for each in measured.levels)
    assert len(first) == envelope.PARTS
    assert max(first[:118]) < 0.1 < 0.8 < min(first[122:])
    assert max(second[122:]) < 0.1 < 0.8 < min(second[:118])


def test_a_drawing_stays_inside_its_band():
    points = envelope.outline(envelope.levels([1.0, 0.0, 1e-3]), width=300, height=40, top=10)
    pairs = [tuple(map(float, point.split(","))) for point in points.split()]
    assert len(pairs) == 6
    assert all(0 <= x <= 300 and 10 <= y <= 50 for x, y in pairs)
    assert envelope.outline("", width=300, height=40) == ""
