"""An existing deployment: somebody's Label Studio project with tasks and annotations, a folder of old recordings.

Nothing but `.env` is written; the processes are started as an operator starts them, beside the demo, whose Label
Studio they share.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ml_backend.commands.demo import ports
from ml_backend.commands.demo.programs import command
from sync.demo import bundled_calls
from tests.patience import until
from tests.servers import redis
from tests.stack import running
from tests.stack.running import CALLS, ROOT, texts

pytestmark = pytest.mark.stack

CONFIG = """<View>
  <Audio name="sound" value="$recording"/>
  <TextArea name="words" toName="sound" rows="4" editable="true" maxSubmissions="1"/>
</View>"""
ENV = """
# what an operator writes
DATA_DIR={folder}/data
REDIS_URL={redis}
OBJECT_STORE={objects}
AUDIO_BUCKET=kaan-audio-of-the-walk
SCAN_BUCKETS=old-calls
LABEL_STUDIO_URL={label_studio}
LABEL_STUDIO_API_KEY={token}
LABEL_STUDIO_WEBHOOK_SECRET=a-secret-of-the-attach-walk
LABEL_STUDIO_LOCAL_FILES_ROOT={objects}
PUBLIC_URL=http://127.0.0.1:{port}
HOST=127.0.0.1
PORT={port}
BASIC_AUTH_USER=label-studio
BASIC_AUTH_PASS=a-password-of-the-attach-walk
"""


@pytest.fixture
def old_project(stack):
    """Three tasks over recordings in a folder of years ago, one of them annotated long before we came."""
    objects = Path(stack.settings["OBJECT_STORE"])
    calls = [call for call in bundled_calls.read(CALLS) if call.text][:3]
    folder = objects / "old-calls"
    folder.mkdir(exist_ok=True)
    for call in calls:
        (folder / f"{call.call_sid}.wav").write_bytes(call.path.read_bytes())
    api = stack.label_studio
    project_id = api.call("POST", "/api/projects/", json={"title": "Since years", "label_config": CONFIG})["id"]
    storage = {"project": project_id, "path": str(folder), "use_blob_urls": True, "title": "old calls"}
    api.call("POST", "/api/storages/localfiles", json=storage)
    rows = [{"data": {"recording": f"/data/local-files/?d=old-calls/{call.call_sid}.wav"}} for call in calls]
    ids = api.call("POST", f"/api/projects/{project_id}/import", params={"return_task_ids": True}, json=rows)[
        "task_ids"
    ]
    item = {"from_name": "words", "to_name": "sound", "type": "textarea", "value": {"text": ["written long ago"]}}
    api.call("POST", f"/api/tasks/{ids[0]}/annotations/", json={"result": [item]})
    return project_id


@pytest.fixture
def deployment(stack, tmp_path):
    """A folder with `.env`, Redis, and the four processes; gives a function that runs a command there."""
    port = ports.free()
    environment = running.bare_environment()

    def run(*arguments, check=True):
        return running.cli(*arguments, check=check, env=environment, cwd=tmp_path)

    with redis.running(tmp_path / "redis") as server:
        (tmp_path / ".env").write_text(
            ENV.format(
                folder=tmp_path,
                redis=server.url,
                objects=stack.settings["OBJECT_STORE"],
                label_studio=stack.label_studio.url,
                token=stack.label_studio.token,
                port=port,
            )
        )
        run("db", "upgrade")
        processes = []
        with (tmp_path / "output.log").open("w") as log:
            for arguments in (("web",), ("relay",), ("worker", "sync"), ("worker", "transcribe")):
                processes.append(
                    subprocess.Popen(command(*arguments), cwd=tmp_path, env=environment, stdout=log, stderr=log)
                )
            try:
                until(lambda: ports.answers(port, "/health", "UP"), "the web process serves", within_s=60)
                yield run
            finally:
                for process in processes:
                    process.terminate()
                for process in processes:
                    process.wait(30)


def test_an_existing_project_is_adopted_filled_and_let_go_again(stack, old_project, deployment):
    api = stack.label_studio
    before = api.call("GET", f"/api/projects/{old_project}")

    planned = json.loads(deployment("project", "attach", str(old_project), "--dry-run", "--json").stdout)
    assert planned["changes"]
    assert not api.call("GET", "/api/ml/", params={"project": old_project}), "a dry run changes nothing"
    assert not api.call("GET", "/api/webhooks/", params={"project": old_project})

    deployment("project", "attach", str(old_project))
    tasks = until(lambda: _drafted(api, old_project), "the open tasks have drafts", within_s=240, every_s=1)
    assert len(tasks) == 3
    (annotated,) = [task for task in tasks if task["annotations"]]
    assert texts(annotated["annotations"]) == "written long ago"
    opened = api.next_task(old_project)
    assert len(opened["predictions"]) == 1
    assert texts(opened["predictions"])
    after = api.call("GET", f"/api/projects/{old_project}")
    assert after["label_config"] == before["label_config"]
    assert after["title"] == before["title"]

    deployment("project", "detach", str(old_project))
    assert not api.call("GET", "/api/ml/", params={"project": old_project})
    assert not api.call("GET", "/api/webhooks/", params={"project": old_project})
    storages = api.call("GET", "/api/storages/localfiles", params={"project": old_project})
    assert [storage["title"] for storage in storages] == ["old calls"]
    released = api.call("GET", f"/api/projects/{old_project}")
    assert (released["model_version"] or "") == (before["model_version"] or "")
    assert len(api.tasks(old_project)) == 3


def _drafted(api, project_id):
    tasks = api.tasks(project_id)
    still_open = [task for task in tasks if not task["annotations"]]
    return tasks if all(len(task["predictions"]) == 1 for task in still_open) else None


def test_the_command_line_is_the_one_an_operator_types():
    """`python -m ml_backend` with the repository on the path: what the processes above were started with."""
    assert command("web") == [sys.executable, "-m", "ml_backend", "web"]
    assert (ROOT / "ml_backend" / "__main__.py").is_file()
