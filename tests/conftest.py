"""Fixtures every test may use: settings in an empty folder, a database, a store. Real parts, no mocks."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A busy machine is no fault of the code: properties are judged by their result, slowness by the benchmarks.
settings.register_profile("kaan", deadline=None)
settings.load_profile("kaan")


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """A command run in this process sets up its log lines; the next test hears what it would hear alone."""
    root, ours = logging.getLogger(), logging.getLogger("kaan")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
