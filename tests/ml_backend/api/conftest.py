"""A web app with a database of its own for every test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_backend import db
from ml_backend.api.app import create_app, load_plugin
from ml_backend.api.webhooks import exotel_webhook
from ml_backend.context import Context
from ml_backend.db import Database
from ml_backend.settings import Settings
from ml_backend.storage import configured_store
from tests.ml_backend.api import documented
from tests.ml_backend.api.serving import OPERATE, PASSWORD, SECRET, TOKEN, USER, Serving


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An up-to-date database file to copy."""
    path = tmp_path_factory.mktemp("schema") / "kaan.db"
    db.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def serve(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Serving]]:
    """Makes a deployment; settings may be changed, the plugin too."""
    monkeypatch.setattr(exotel_webhook, "WAIT_S", 30.0)  # a test machine may stand still for more than a second
    opened: list[Database] = []

    def make(plugin: type[Any] | None = None, **changes: Any) -> Serving:
        """`database_url` says where an up-to-date database is; otherwise it is a new SQLite file."""
        values: dict[str, Any] = {
            "data_dir": tmp_path,
            "label_studio_url": "http://label-studio.example",
            "basic_auth_user": USER,
            "basic_auth_pass": PASSWORD,
            "label_studio_webhook_secret": SECRET,
            "api_tokens": f"ops:read:{TOKEN},shop:operate:{OPERATE}",
            "predict_wait_s": 0.0,
            "database_url": "",
            **changes,
        }
        settings = Settings(_env_file=None, **values)
        if not settings.database_url:
            shutil.copy(empty_database, tmp_path / "kaan.db")
        context = Context(settings, Database(settings.database), configured_store.open_store(settings))
        opened.append(context.db)
        app = create_app(settings, plugin or load_plugin("model:SpeechModel"), context=context)
        return Serving(documented.check(app), context)

    yield make
    for database in opened:
        database.dispose()


@pytest.fixture
def serving(serve: Callable[..., Serving]) -> Serving:
    """The usual deployment: every kind of caller has credentials."""
    return serve()
