"""Seconds in buckets add up, are stored as they are, and give Prometheus's percentiles."""

from __future__ import annotations

import pytest

from ml_backend.latency_buckets import BOUNDS, NAMES, LatencyBuckets


def of(*seconds: float) -> LatencyBuckets:
    found = LatencyBuckets()
    for each in seconds:
        found.add(each)
    return found


def test_a_bound_belongs_to_its_own_bucket_and_what_is_longer_to_the_last() -> None:
    found = of(0.1, 0.1000001, 61.0, 0.0)
    assert {name: count for name, count in zip(NAMES, found.counts, strict=True) if count} == {
        "0.005": 1, "0.1": 1, "0.15": 1, "+Inf": 1,
    }  # fmt: skip


def test_buckets_of_two_processes_add_up_and_come_back_as_they_were_stored() -> None:
    one, other = of(0.02, 0.3, 70), of(0.3)
    one.merge(LatencyBuckets.from_json(other.to_json()))
    assert one.to_json() == {"0.025": 1, "0.3": 2, "+Inf": 1, "sum": 70.62}
    assert LatencyBuckets.from_json(one.to_json()).counts == one.counts
    assert LatencyBuckets.from_json({}).count == LatencyBuckets.from_json(None).count == 0


def test_a_bound_of_an_earlier_release_counts_in_the_bucket_that_holds_it() -> None:
    assert LatencyBuckets.from_json({"0.27": 3, "sum": 0.8}).to_json() == {"0.3": 3, "sum": 0.8}


@pytest.mark.parametrize(
    ("seconds", "share", "expected"),
    [
        # histogram_quantile by hand: rank = share * count, linear within the bucket
        ([0.12] * 4, 0.5, 0.1 + 0.05 * 2 / 4),
        ([0.12] * 4, 1.0, 0.15),
        ([0.001] * 10, 0.5, 0.0025),
        ([0.12] * 50 + [0.35] * 50, 0.5, 0.15),
        ([0.12] * 50 + [0.35] * 50, 0.95, 0.3 + 0.1 * 45 / 50),
        ([100.0], 0.5, BOUNDS[-1]),
    ],
)
def test_percentiles_are_those_of_prometheus(seconds: list[float], share: float, expected: float) -> None:
    assert of(*seconds).quantile(share) == pytest.approx(expected)


def test_there_is_no_percentile_of_nothing() -> None:
    assert of().quantile(0.5) is None
