"""The pages for operators and how-to pages say what the code and the measurements say."""

import ast
import json
import re
import sys

import pytest
import yaml

from scripts import source_texts
from sync.commands import doctor
from tests.ml_backend.storage import test_s3_rights
from tests.policy.source import ROOT
from tests.servers import moto

DOCS = ROOT / "docs"


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_run_book_has_a_paragraph_for_every_code_that_an_operator_can_end():
    """Errors of settings and of the outside world, and those that can pass."""
    codes = {each.code for each in source_texts.said() if each.branch in ("ConfigurationError", "RetryableError")}
    assert len(codes) > 80
    named = set(re.findall(r"`([a-z][a-z0-9-]+)`", page("operate/runbook.md")))
    assert sorted(codes - named) == []


def test_the_run_book_names_no_code_that_does_not_exist():
    nodes = (node for _, tree in source_texts.product() for node in ast.walk(tree) if isinstance(node, ast.Constant))
    known = {node.value for node in nodes if isinstance(node.value, str)}
    text = page("operate/runbook.md").split("## Processes and jobs")[1]
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", text))
    assert sorted(named - known) == []


def test_every_paragraph_of_the_run_book_can_be_pointed_to():
    heads = re.findall(r"^### .*$", page("operate/runbook.md"), re.MULTILINE)
    anchors = [re.search(r"\{ #([a-z-]+) \}$", head)[1] for head in heads]
    assert len(set(anchors)) == len(anchors) == len(heads)


def test_every_figure_in_the_capacity_tables_is_the_one_that_was_measured():
    measured = {
        row["name"]: row["value"]
        for file in ("results.json", "real.json")
        for row in json.loads((ROOT / "bench" / file).read_text(encoding="utf-8"))["rows"]
    }
    rows = re.findall(r"^\| (?!measured|---)(.+?) \| ([0-9.]+) \|$", page("operate/capacity.md"), re.MULTILINE)
    assert len(rows) >= 7
    assert {name: float(figure) for name, figure in rows} == {name: float(measured[name]) for name, _ in rows}


def test_the_policy_in_the_page_about_buckets_is_enough_and_allows_no_more(tmp_path):
    text = re.search(r"```json\n(.*?)```", page("how-to/bucket.md"), re.DOTALL)[1]
    for name, ours in (
        ("kaan-audio", test_s3_rights.OWN),
        ("call-recordings", test_s3_rights.CALLS),
        ("voice-audio", test_s3_rights.VOICE),
    ):
        text = text.replace(f":::{name}", f":::{ours}")
    buckets = (test_s3_rights.OWN, test_s3_rights.CALLS, test_s3_rights.VOICE)
    with moto.enforcing(json.loads(text)["Statement"], buckets=buckets, region=test_s3_rights.REGION) as server:
        found = test_s3_rights.examined(test_s3_rights.settings_of(server, tmp_path))
        assert [each for each in found if each.state != doctor.OK] == []
        with pytest.raises(Exception, match="refused access"):
            test_s3_rights.store_of(server).put_bytes(test_s3_rights.VOICE, "x", b"1")


def test_the_plugin_of_the_page_answers(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", page("how-to/plugin.md"), re.DOTALL)[1]
    lines = [line.removeprefix("    ") for line in code.splitlines()]
    (tmp_path / "plugin_of_the_page.py").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    from ml_backend.api.app import load_plugin
    from ml_backend.api.protocol import _entries

    try:
        plugin = load_plugin("plugin_of_the_page:MyModel")(project_id="2", label_config=None)
        assert _entries(plugin.predict([{"id": 1}, {"id": 2}], context={}), 2)[1]["model_version"] == plugin.get(
            "model_version"
        )
    finally:
        sys.modules.pop("plugin_of_the_page", None)


def test_every_compose_file_and_every_script_that_a_page_names_is_there():
    for path in DOCS.rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        named = set(re.findall(r"\b(docker-compose[a-z.]*\.yml|deploy/[A-Za-z.]+)", text))
        assert all((ROOT / each.rstrip(".")).exists() for each in named), path.name


def test_every_service_that_a_page_names_is_in_the_compose_file():
    services = set(yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"])
    for path in DOCS.rglob("*.md"):
        for name in re.findall(
            r"docker compose (?:-p drill )?(?:exec|logs)(?: -T)? ([a-z-]+)", path.read_text(encoding="utf-8")
        ):
            assert name in services, f"{path.name}: {name}"


def test_what_belongs_to_a_step_is_indented_as_far_as_markdown_wants():
    """With less than four spaces a paragraph ends the list, and the next step is number one again."""
    wrong = [
        f"{path.relative_to(DOCS)}: {line.strip()[:60]}"
        for path in DOCS.rglob("*.md")
        for line in re.findall(r"^\n {1,3}\S.*$", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert not wrong
