"""One metric as a plain value: its name, what it means, its labels, and its samples.

Only `ml_backend.metrics` knows Prometheus's library; rooms that know the tables make these. Every sample is there from
the first scrape on: a series that begins with the first failure is a failure that no alert sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Gauge:
    """A number that goes up and down."""

    name: str
    help: str
    labels: Sequence[str] = ()
    samples: dict[tuple[str, ...], float] = field(default_factory=dict)

    def set(self, number: float, *values: str) -> None:
        """The number of these label values."""
        self.samples[values] = float(number)

    def fill(self, found: Mapping[str, float], names: Sequence[str]) -> None:
        """One sample for each name, zero where nothing was found; then whatever else was found."""
        for name in (*names, *sorted(set(found) - set(names))):
            self.set(found.get(name, 0.0), name)


class Total(Gauge):
    """A number that only grows. Its name is given without `_total`, which Prometheus's library adds."""
