"""A bucket's notification asks for a look at the folder it names, and is believed in nothing else."""

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

TOKEN, READ = "an-operator-token-of-length", "a-reading-token-of-length"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    given = Settings(
        _env_file=None, data_dir=tmp_path, database_url="", object_store="",
        api_tokens=f"store:operate:{TOKEN},eyes:read:{READ}",
    )  # fmt: skip
    db.upgrade(given.database)
    context = open_context(given)
    made = create_app(given, load_plugin(given.plugin), context=context)
    made.config["CONTEXT"] = context
    yield made
    context.db.dispose()


def tell(app: Any, *places: tuple[str, str], token: str = TOKEN) -> Any:
    named = [{"bucket": {"name": bucket}, "object": {"key": key}} for bucket, key in places]
    records = [{"eventName": "s3:ObjectCreated:Put", "s3": each} for each in named]
    headers = {"Authorization": f"Bearer {token}"}
    return app.test_client().post("/webhooks/objects", json={"EventName": "x", "Records": records}, headers=headers)


def asked(app: Any) -> list[tuple[str, str, int]]:
    """The looks that were asked for."""
    with app.config["CONTEXT"].db.reading() as connection:
        found = connection.execute(sa.select(tables.jobs.c.arguments)).scalars().all()
    return [(one["bucket"], one["prefix"], one["full"]) for one in found]


def test_each_folder_is_looked_through_once(app: Any) -> None:
    places = [("training-data", f"tts/hi/{number}%20a.wav") for number in range(5)]
    assert tell(app, *places, ("call-recordings", "recordings/2026/11/22/c-1.wav")).json == {"scans": 2}
    tell(app, *places)

    assert sorted(asked(app)) == [
        ("call-recordings", "recordings/2026/11/22/", 0),
        ("training-data", "tts/hi/", 0),
    ]


def test_other_buckets_are_ignored_and_odd_folders_get_a_quick_look(app: Any) -> None:
    odd = [("call-recordings", key) for key in ("top.wav", "x" * 500 + "/a.wav", "a%00b/c.wav", "0000000000/c.wav")]
    assert tell(app, ("kaan-audio", "derived/x/audio.wav"), ("elsewhere", "a/b.wav"), *odd).json == {"scans": 1}

    assert asked(app) == [("call-recordings", "", 0)]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"Records": 5}', b'{"Records": [1, {"s3": []}, {"s3": {"bucket": 1, "object": {"key": 2}}}]}'],
)
def test_a_body_that_names_nothing_asks_for_nothing(app: Any, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    answered = app.test_client().post("/webhooks/objects", data=body, headers=headers)

    assert (answered.status_code, answered.json) == (200, {"scans": 0})
    assert asked(app) == []


def test_who_may_only_read_may_not_ask(app: Any) -> None:
    assert tell(app, ("training-data", "tts/hi/a.wav"), token=READ).status_code == 403
    assert tell(app, ("training-data", "tts/hi/a.wav"), token="wrong-wrong-wrong-wrong").status_code == 401
    assert asked(app) == []
