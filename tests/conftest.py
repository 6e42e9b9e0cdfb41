"""Fixtures every test may use: settings in an empty folder, a database, a store. Real parts, no mocks."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A busy machine is no fault of the code: properties are judged by their result, slowness by the benchmarks.
settings.register_profile("kaan", deadline=None)
settings.load_profile("kaan")


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """A command run in this process may quiet the logs for itself; the next test hears them again."""
    logger = logging.getLogger("kaan")
    level = logger.level
    yield
    logger.setLevel(level)
