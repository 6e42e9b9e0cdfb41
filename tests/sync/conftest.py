"""A real Label Studio for the whole session, and for each test a service of its own beside it."""

from __future__ import annotations

import dataclasses
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from werkzeug.serving import make_server

from ml_backend import db, tables
from ml_backend.api.app import create_app, load_plugin
from ml_backend.context import Context, open_context
from ml_backend.jobs import enqueueing, job_kinds, runner
from ml_backend.jobs.leases import Settled
from ml_backend.labelling import labelconfig
from ml_backend.serving import default_model
from ml_backend.settings import Settings
from sync.label_studio.label_studio_client import LabelStudioClient, client_of
from sync.projects import attachment
from sync.recordings.sources import RecordingSource, add_recording
from sync.tasks.task_creation import request_task
from tests.servers import label_studio, moto
from tests.stack import browser

CALLS = Path(__file__).resolve().parents[2] / "ml_backend" / "bundled" / "calls"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that needs Label Studio pays for its first start."""
    for item in items:
        if "label_studio_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def label_studio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[label_studio.LabelStudioServer]:
    """Label Studio 1.23.2 with local files; all tests of a session share it, each with projects of its own."""
    if label_studio.program() is None:
        pytest.fail("Label Studio is not installed here: `make environments` installs it.")
    kept = os.environ.get("KAAN_TEST_LABEL_STUDIO")  # a folder that keeps its database between sessions
    with label_studio.running(Path(kept) if kept else tmp_path_factory.mktemp("label-studio")) as server:
        yield server


@dataclass
class Service:
    """Our side: context, web process, and the jobs run here in the test's own process."""

    context: Context
    client: LabelStudioClient
    url: str

    def project(self, config: str = "original", **options: Any) -> sa.Row[Any]:
        """A new project of ours, as our row."""
        xml = labelconfig.read(config) if config in labelconfig.NAMES else config
        row_id = attachment.create(self.context, config=xml, title=f"test {secrets.token_hex(4)}", **options)
        return self.context.db.row(tables.projects, row_id)

    def bring(self, project: sa.Row[Any], *calls: str, bucket: str = "call-recordings", **options: Any) -> list[int]:
        """Bundled calls (or files) as recordings with wanted tasks in a project; gives the tasks' ids."""
        self.context.store.ensure_bucket(bucket)
        made = []
        for call in calls:
            path = CALLS / call if "/" not in call else Path(call)
            key = f"recordings/2026/11/02/{path.name}"
            self.context.store.put_file(bucket, key, path)
            with self.context.db.transaction() as connection:
                recording_id, _ = add_recording(connection, RecordingSource("object", f"s3://{bucket}/{key}"))
                recording = connection.execute(
                    sa.select(tables.recordings).where(tables.recordings.c.id == recording_id)
                ).one()
                made.append(request_task(connection, project, recording, **options)[0])
                enqueueing.enqueue(
                    connection, job_kinds.INGEST_RECORDING, key=str(recording_id), recording_id=recording_id
                )
        return made

    def rows(self, table: sa.Table, **wanted: Any) -> list[Any]:
        """Rows of a table, in order."""
        statement = sa.select(table).order_by(table.c.id)
        return list(self.context.db.rows(statement.filter_by(**wanted)))

    def there(self, project: sa.Row[Any]) -> list[dict[str, Any]]:
        """Label Studio's tasks of a project, each with its predictions."""
        tasks = list(self.client.tasks(project.ls_project_id))
        return [{**task, "predictions": self.client.predictions(task["id"])} for task in tasks]

    def run_jobs(self, *, quiet_s: float = 2.5) -> list[Settled]:
        """Everything that is due, and what becomes due soon; a job that ended badly fails the test."""
        outcomes: list[Settled] = []
        while True:
            summary = runner.run_due(self.context, wait_s=quiet_s)
            assert not summary.failed, summary.failed
            if not summary.outcomes:
                return outcomes
            outcomes += summary.outcomes


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
    """The web process on the port PUBLIC_URL names, over an empty database and a directory as store."""
    with serving(settings) as served:
        yield served


@pytest.fixture
def s3_service(settings: Settings) -> Iterator[Service]:
    """The same with an S3 store."""
    with moto.running() as endpoint:
        values = {"object_store": "s3://", "minio_endpoint": endpoint, "minio_secure": False}
        keys = {"minio_access_key": SecretStr("testing"), "minio_secret_key": SecretStr("testing")}
        with serving(settings.model_copy(update={**values, **keys})) as served:
            yield served


@contextmanager
def serving(settings: Settings) -> Iterator[Service]:
    db.upgrade(settings.database)
    context = open_context(settings)
    default_model.ensure(context)
    app = create_app(settings, load_plugin("model:SpeechModel"), context=context)
    port = int(settings.public_url.rpartition(":")[2])
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Service(context, client_of(context), settings.public_url)
    server.shutdown()
    thread.join(5)
    context.kept.clear()
    context.db.dispose()


def changed(context: Context, **values: Any) -> Context:
    """The same context under other settings."""
    return dataclasses.replace(context, settings=context.settings.model_copy(update=values), kept={})


@pytest.fixture(scope="module")
def person(label_studio_server: label_studio.LabelStudioServer) -> Iterator[browser.Annotator]:
    """Somebody who is signed in to Label Studio in a real browser."""
    if browser.chromium() is None:
        (pytest.fail if os.environ.get("CI", "").lower() in ("1", "true") else pytest.skip)(
            "There is no Chromium here."
        )
    with browser.annotator(label_studio_server.url, label_studio.EMAIL, label_studio_server.password) as signed_in:
        yield signed_in
