"""Fixtures every test may use: settings in an empty folder, a database, a store. Real parts, no mocks."""

import gc
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import transactions
from tests.transactions import _short_transactions  # noqa: F401 - for every test

# A busy machine is no fault of the code: properties are judged by their result, slowness by the benchmarks.
# CI tries the same cases every time: what a person's run finds is mended there, and never stops a change of another.
settings.register_profile("kaan", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("kaan")
transactions.watch()


def pytest_configure(config: pytest.Config) -> None:
    """Whatever this run and the processes it kills leave behind lies in one folder, which goes with the run."""
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # pytest's own stay where they are
    folder = tempfile.mkdtemp(prefix="kaan-tests-")
    Path(folder).chmod(0o711)  # PostgreSQL runs as another user
    earlier = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = tempfile.tempdir = folder

    def restore() -> None:
        tempfile.tempdir = None
        os.environ.pop("TMPDIR")
        if earlier is not None:
            os.environ["TMPDIR"] = earlier
        shutil.rmtree(folder, ignore_errors=True)

    config.add_cleanup(restore)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With parallel workers a file's tests stay together, and so do all that need the one real Label Studio."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            shared = "label_studio_server" in getattr(item, "fixturenames", ())
            item.add_marker(pytest.mark.xdist_group("label-studio" if shared else str(item.path)))


BACKGROUND = ("follow-", "live-", "write-live-", "store-live-")  # names of threads that end with what they work for


_kept: set[threading.Thread] = set()


def _background() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith(BACKGROUND)}


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """A command run in this process sets up its log lines; the next test hears what it would hear alone."""
    root, ours = logging.getLogger(), logging.getLogger("kaan")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture(autouse=True)
def _models() -> None:
    """An earlier test's loaded models are gone, and so are the threads that follow, count and keep in its database.

    They end with their context, which names itself in a circle; what a wider fixture holds stays.
    """
    if _background() - _kept:
        gc.collect()
        _kept.clear()
        _kept.update(_background())
