"""The commands as an operator types them: settings from the environment, text or JSON out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ml_backend import tables
from tests.sync.conftest import CALLS, Service


def test_a_project_is_created_filled_listed_and_let_go_from_the_command_line(service: Service, kaan: Any) -> None:
    code, printed = kaan("project", "create", "--config", "calls", "--title", f"cli {service.url}", "--json")
    assert code == 0
    project_id = json.loads(printed)["project"]

    service.context.store.ensure_bucket("call-recordings")
    for name in ("silence.wav", "en-delivery-noisy.wav"):
        service.context.store.put_file("call-recordings", f"recordings/2026/{name}", CALLS / name)
    service.context.store.put_bytes("call-recordings", "recordings/2026/notes.txt", b"not audio")
    arguments = ("project", "add", str(project_id), "call-recordings/recordings/2026", "--json")
    assert json.loads(kaan(*arguments)[1]) == {"project": project_id, "added": 2, "known": 0}
    assert json.loads(kaan(*arguments)[1]) == {"project": project_id, "added": 0, "known": 2}
    service.context.store.put_file("call-recordings", "recordings/2025/blind.mp3", CALLS / "en-short-price.mp3")
    kaan("project", "add", str(project_id), "call-recordings/recordings/2025", "--blind-share", "1")
    service.run_jobs()

    [listed] = json.loads(kaan("project", "list", "--json")[1])["projects"]
    assert (listed["tasks"]["open"], listed["tasks"]["drafted"], listed["tasks"]["blind"]) == (3, 2, 1)
    drawn = {(row.selection_reason, row.blind, row.selection_probability) for row in service.rows(tables.tasks)}
    assert drawn == {("by-hand", False, 1.0), ("blind", True, 1.0)}
    code, printed = kaan("status", "--json")
    facts = json.loads(printed)
    assert code == 1, "no worker runs"
    assert any("relay" in sentence for sentence in facts["trouble"])
    assert facts["projects"][0]["project"] == project_id

    code, printed = kaan("project", "detach", str(project_id), "--json")
    assert code == 0
    assert len(json.loads(printed)["undone"]) == 4


def test_a_dry_run_says_that_nothing_was_changed(service: Service, kaan: Any) -> None:
    config = '<View><Audio name="a" value="$a"/><TextArea name="t" toName="a"/></View>'
    project_id = service.client.create_project(title="theirs", label_config=config)
    code, printed = kaan("project", "attach", str(project_id), "--dry-run")

    assert code == 0
    assert "Nothing was changed." in printed
    assert service.client.ml_backends(project_id) == []


def test_a_project_that_is_not_there_is_an_error_with_a_next_step(
    kaan: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = kaan("project", "attach", "999999")
    assert code == 1
