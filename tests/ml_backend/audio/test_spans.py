"""A long call is cut where nobody speaks, into pieces none of which is too long, without a gap."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.audio import spans

FRAMES_PER_S = 50


def talk(*parts: tuple[float, bool]) -> tuple[np.ndarray, np.ndarray]:
    """(speech, powers) per frame of stretches (seconds, whether somebody speaks)."""
    speech = np.concatenate([np.full(round(seconds * FRAMES_PER_S), spoken) for seconds, spoken in parts])
    return speech, np.where(speech, 0.01, 1e-6)


def test_the_longest_pause_is_cut_in_its_middle() -> None:
    speech, powers = talk((40, True), (0.6, False), (10, True), (2.4, False), (30, True))
    found = spans.spans(speech, powers, duration_s=83.0, most_s=60)
    assert len(found) == 2
    assert found[0][1] == pytest.approx(51.8, abs=0.17)


def test_without_any_pause_the_quietest_place_is_cut() -> None:
    speech, powers = talk((100, True))
    powers[45 * FRAMES_PER_S : 46 * FRAMES_PER_S] = 0.001
    [first, _] = spans.spans(speech, powers, duration_s=100.0, most_s=60)
    assert first[1] == pytest.approx(45.5, abs=0.6)


def test_a_short_rest_is_shared_with_the_piece_before_it() -> None:
    speech, powers = talk(*[(5, True), (0.5, False)] * 11)
    lengths = [end - start for start, end in spans.spans(speech, powers, duration_s=60.5, most_s=60)]
    assert len(lengths) == 2
    assert min(lengths) > 14


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0.04, 90), st.booleans()), min_size=1, max_size=60),
    st.floats(5, 300),
    st.floats(0, 0.019),
)
def test_pieces_lie_end_to_end_and_none_is_too_long(parts, most_s, more_s) -> None:  # type: ignore[no-untyped-def]
    speech, powers = talk(*parts)
    duration_s = len(speech) / FRAMES_PER_S + more_s
    found = spans.spans(speech, powers, duration_s=duration_s, most_s=most_s)
    assert (found[0][0], found[-1][1]) == (0.0, round(duration_s, 3))
    assert all(a[1] == b[0] for a, b in itertools.pairwise(found))
    assert all(0 < end - start <= most_s + 0.02 for start, end in found)
    assert len(found) == 1 or min(end - start for start, end in found) > most_s / 8
    assert all(round(start * 16000) % 512 == 0 for start, _ in found), "on the grid of the voice-activity model"


@given(st.floats(0.1, 20_000), st.floats(10, 300))
def test_equal_parts_lie_end_to_end_too(duration_s: float, most_s: float) -> None:
    found = spans.evenly(duration_s, most_s=most_s)
    assert (found[0][0], found[-1][1]) == (0.0, round(duration_s, 3))
    assert all(a[1] == b[0] for a, b in itertools.pairwise(found))
    assert all(end - start <= most_s + 0.2 for start, end in found)
