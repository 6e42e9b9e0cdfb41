"""Fixtures of the fault tests: a world of the product's processes, real Redis, a scripted Label Studio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults import label_studio, launch, wholes, world
from tests.servers import exotel, moto, redis


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "guard(*names): without each of these (tests/faults/guards/guards.py) the test must fail"
    )


@pytest.fixture(autouse=True, scope="session")
def _on_this_machine() -> None:
    """No test of faults reaches another machine, whether or not it runs in a network of its own."""
    launch.stay_on_this_machine()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[redis.RedisServer]:
    with redis.running(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def there(tmp_path: Path, redis_server: redis.RedisServer) -> Iterator[world.World]:
    """A service with a directory as store, and Redis."""
    with world.running(tmp_path, REDIS_URL=redis_server.url) as made:
        yield made


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[world.World]:
    """A service with nothing behind it."""
    with world.running(tmp_path, REDIS_URL="redis://127.0.0.1:1/0") as made:
        yield made


@pytest.fixture
def studio() -> Iterator[label_studio.FakeLabelStudio]:
    with label_studio.running() as fake:
        yield fake


@pytest.fixture
def provider() -> Iterator[exotel.Exotel]:
    with exotel.running() as scripted:
        yield scripted


@pytest.fixture
def moto_endpoint() -> Iterator[str]:
    with moto.running() as endpoint:
        httpx.post(f"http://{endpoint}/moto-api/reset")  # its objects are the process's, not the server's
        yield endpoint


@pytest.fixture
def whole(
    tmp_path: Path,
    redis_server: redis.RedisServer,
    provider: exotel.Exotel,
    studio: label_studio.FakeLabelStudio,
    moto_endpoint: str,
) -> Iterator[wholes.Whole]:
    """The service with everything around it, each behind a proxy: Exotel, S3, Redis, Label Studio with a project."""
    with wholes.running(tmp_path, redis_server, provider, studio, moto_endpoint) as made:
        yield made
