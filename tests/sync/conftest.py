"""A real Label Studio for the whole session, and for each test a service of its own beside it."""

from __future__ import annotations

import dataclasses
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from werkzeug.serving import make_server

from ml_backend import db, runner
from ml_backend.api.app import create_app, load_plugin
from ml_backend.context import Context, open_context
from ml_backend.settings import Settings
from sync.label_studio import LabelStudioClient, client_of
from tests.servers import label_studio


@pytest.fixture(scope="session")
def label_studio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[label_studio.LabelStudioServer]:
    """Label Studio 1.23.2 with local files; all tests of a session share it, each with projects of its own."""
    if label_studio.program() is None:
        pytest.fail("Label Studio is not installed here: `make environments` installs it.")
    with label_studio.running(tmp_path_factory.mktemp("label-studio")) as server:
        yield server


@dataclass
class Service:
    """Our side: context, web process, and the jobs run here in the test's own process."""

    context: Context
    client: LabelStudioClient
    url: str

    def run_jobs(self, wait_s: float = 10.0) -> runner.Summary:
        """Everything that is due, and what becomes due soon; a job that ended badly fails the test."""
        summary = runner.run_due(self.context, wait_s=wait_s)
        assert not summary.failed, summary.failed
        return summary


@pytest.fixture
def settings(label_studio_server: label_studio.LabelStudioServer) -> Settings:
    """Settings of a service whose directory store Label Studio can serve."""
    folder = label_studio_server.files_root / secrets.token_hex(4)
    return Settings(
        _env_file=None,
        data_dir=folder,
        label_studio_url=label_studio_server.url,
        label_studio_api_key=SecretStr(label_studio_server.token),
        label_studio_local_files_root=str(label_studio_server.files_root),
        label_studio_webhook_secret=SecretStr(secrets.token_hex(16)),
        basic_auth_user="label-studio",
        basic_auth_pass=SecretStr(secrets.token_hex(16)),
        public_url=f"http://127.0.0.1:{label_studio.free_port()}",
        predict_wait_s=0.2,
        min_free_disk_mb=0,
    )


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """The web process on the port PUBLIC_URL names, over an empty database and store."""
    db.upgrade(settings.database)
    context = open_context(settings)
    app = create_app(settings, load_plugin("model:SpeechModel"), context=context)
    port = int(settings.public_url.rpartition(":")[2])
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Service(context, client_of(context), settings.public_url)
    server.shutdown()
    thread.join(5)
    context.db.dispose()


def changed(context: Context, **values: Any) -> Context:
    """The same context under other settings."""
    return dataclasses.replace(context, settings=context.settings.model_copy(update=values), kept={})
