"""/api/datasets: versions, their counts, and what was left out, from rows alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.api.app import create_app, load_plugin
from ml_backend.context import open_context
from ml_backend.settings import Settings
from tests.ml_backend.api import documented

READ = "a-reading-token-of-length"
COUNTS = {"rows": 4, "hours": 0.5, "splits": {"test": {"rows": 1}}, "excluded": {"consent": 2}}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    given = Settings(_env_file=None, data_dir=tmp_path, api_tokens=f"eyes:read:{READ}")
    db.upgrade(given.database)
    context = open_context(given)
    with context.db.transaction() as connection:
        for version in (1, 2, 3):
            row = {"name": "calls", "version": version, "manifest_sha256": f"{version}" * 64, "counts": COUNTS}
            connection.execute(sa.insert(tables.datasets).values(**row, filters={"languages": "hi"}))
    yield documented.check(create_app(given, load_plugin(given.plugin), context=context)).test_client()
    context.db.dispose()


def get(client: Any, path: str, token: str = READ) -> Any:
    return client.get(path, headers={"Authorization": f"Bearer {token}"})


def test_versions_come_newest_first_and_page_by_page(client: Any) -> None:
    first = get(client, "/api/datasets?limit=2").json
    assert [each["version"] for each in first["datasets"]] == [3, 2]
    rest = get(client, f"/api/datasets?limit=2&before={first['next']}&name=calls").json
    assert [each["version"] for each in rest["datasets"]] == [1]
    assert rest["next"] is None
    assert get(client, "/api/datasets?name=other").json["datasets"] == []


def test_one_version_says_what_is_in_it_and_what_was_left_out(client: Any) -> None:
    found = get(client, "/api/datasets/2").json
    assert (found["rows"], found["counts"]["excluded"], found["filters"]) == (4, {"consent": 2}, {"languages": "hi"})


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/datasets/9", 404), ("/api/datasets/x", 400), ("/api/datasets?limit=0", 400), ("/api/datasets?sort=1", 400)],
)
def test_what_is_not_there_or_not_known_is_said(client: Any, path: str, status: int) -> None:
    answer = get(client, path)
    assert answer.status_code == status
    assert answer.json["next_step"]


def test_nobody_reads_it_without_a_token(client: Any) -> None:
    assert client.get("/api/datasets").status_code == 401
    assert get(client, "/api/datasets/1", "some-other-token-of-length").status_code in (401, 403)
