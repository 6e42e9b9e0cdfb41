"""The one running stack the tests of this folder share, and what happens where a real part is missing."""

from __future__ import annotations

import os

import pytest

from ml_backend.errors import ConfigurationError
from tests.stack import browser, running


def pytest_collection_modifyitems(items):
    """One stack for all: with parallel workers these tests stay together."""
    for item in items:
        if "tests/stack/" in item.nodeid:
            item.add_marker(pytest.mark.xdist_group("stack"))
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(900))


def missing(what: str) -> None:
    """A part that is not on this machine: a skip at home, a failure in CI, where everything has been installed."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"{what}, and in CI every real part has to be there")
    pytest.skip(what)


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """The demo with its bundled calls, all of them transcribed and in Label Studio."""
    from ml_backend.commands.demo import label_studio, redis_server

    try:
        redis_server.server()
        label_studio.environment_folder()
    except ConfigurationError as error:
        missing(error.sentence)
    if not running.CALLS.exists():
        missing("The bundled calls are not there")
    with running.demo(tmp_path_factory.mktemp("stack") / "data") as stack:
        yield stack


@pytest.fixture(scope="session")
def chromium():
    """The browser, where there is one."""
    if browser.chromium() is None:
        missing("There is no Chromium here")
    return browser.chromium()
