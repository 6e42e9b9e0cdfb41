"""`pytest -p tests.faults.plugin --without GUARD`: run tests with a guard taken away. They are expected to fail."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

GIVE_UP_S = 25.0  # what does not happen within this without its guard would not within a minute


def pytest_addoption(parser: Any) -> None:
    parser.addoption(
        "--without", action="append", default=[], help="a guard of tests/faults/guards/guards.py to remove"
    )


def pytest_configure(config: Any) -> None:
    from tests.faults import launch, world
    from tests.faults.guards import guards
    from tests.ml_backend import serve

    names = config.getoption("--without")
    for name in names:
        guards.remove(name)
    if names:
        serve.until.__kwdefaults__["timeout_s"] = world.until.__kwdefaults__["within_s"] = GIVE_UP_S
        # for the processes that tests launch
        folder = tempfile.mkdtemp(prefix="kaan-points-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ[launch.VARIABLE] = launch.Plan(folder, without=tuple(names), quick=False).text()
