"""/api/models: versions, scores, verdicts and history, from rows alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.api.app import create_app, load_plugin
from ml_backend.context import open_context
from ml_backend.models import registry
from ml_backend.settings import Settings
from tests.ml_backend.api import documented

READ = "a-reading-token-of-length"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    given = Settings(_env_file=None, data_dir=tmp_path, api_tokens=f"eyes:read:{READ}")
    db.upgrade(given.database)
    context = open_context(given)
    with context.db.transaction() as connection:
        for name in ("one", "two", "three"):
            row = {"version": name, "kind": "asr", "location": "hub:x", "manifest": {"files": {}}, "languages": ["hi"]}
            made = sa.insert(tables.model_versions).values(**row).returning(tables.model_versions.c.id)
            version_id = connection.execute(made).scalar_one()
        rates = {"rates": {"indic@1": {"wer": [0.17, 0.15, 0.19]}}}
        for scores, more in (
            (rates, {}),
            ({"words_said": ["Of 100 words"]}, {"against_version": "one", "verdict": "equal"}),
        ):
            connection.execute(sa.insert(tables.evaluations).values(model_version_id=version_id, scores=scores, **more))
    registry.move_alias(context, registry.find(context, "one"), expected_revision=0, who="a person", why="first")
    yield documented.check(create_app(given, load_plugin(given.plugin), context=context)).test_client()
    context.db.dispose()


def get(client: Any, path: str, token: str = READ) -> Any:
    return client.get(path, headers={"Authorization": f"Bearer {token}"})


def test_versions_come_newest_first_with_score_and_verdict_page_by_page(client: Any) -> None:
    first = get(client, "/api/models?limit=2").json
    assert [(one["version"], one["wer"], one["verdict"]) for one in first["models"]] == [
        ("three", 0.17, "equal"), ("two", None, None),
    ]  # fmt: skip
    rest = get(client, f"/api/models?limit=2&before={first['next']}").json
    assert rest["models"][0]["aliases"] == [{"alias": "champion", "language": "*", "revision": 1}]
    assert get(client, "/api/models?kind=tts").json["models"] == []


def test_one_version_tells_its_evaluations_and_who_made_it_the_champion(client: Any) -> None:
    found = get(client, "/api/models/three").json
    assert [one["against"] for one in found["evaluations"]] == ["one", None]
    assert found["evaluations"][0]["words"] == ["Of 100 words"]
    moved = get(client, "/api/models/one").json["history"][0]
    assert (moved["who"], moved["why"], moved["from"], moved["to"]) == ("a person", "first", None, "one")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/models/four", 404),
        ("/api/models/one?x=1", 400),
        ("/api/models?limit=0", 400),
        ("/api/models?sort=1", 400),
    ],
)
def test_what_is_not_there_or_not_known_is_said(client: Any, path: str, status: int) -> None:
    answer = get(client, path)
    assert answer.status_code == status
    assert answer.json["next_step"]


def test_without_a_token_nothing_is_told(client: Any) -> None:
    assert client.get("/api/models").status_code == 401
