"""The generated tables hold everything the running program has."""

import re
from xml.etree import ElementTree

import pytest

from ml_backend import db, settings, tables
from ml_backend.api.app import create_app, load_plugin
from ml_backend.context import open_context
from ml_backend.jobs import leases
from ml_backend.labelling import labelconfig
from ml_backend.metrics import Metrics
from scripts import reference_pages
from tests.policy.source import ROOT
from tests.policy.test_error_shape import literal, raised


def page(name):
    return reference_pages.fill((ROOT / f"docs/reference/{name}.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    given = settings.Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("reference"))
    db.upgrade(given.database)
    return given


def test_every_mark_is_filled_and_every_table_is_used():
    marks = [mark for path in (ROOT / "docs").rglob("*.md") for mark in reference_pages.MARK.findall(path.read_text())]
    assert sorted(marks) == sorted(reference_pages.GENERATED)
    for name, make in reference_pages.GENERATED.items():
        assert make().count("\n") > 4, name


def test_every_error_code_in_the_source_is_in_the_reference():
    codes = {literal(given["code"]) for _, given, _ in raised() if "code" in given} - {None}
    shown = set(re.findall(r"^\| `([a-z0-9…-]+)` \|", page("error-codes"), re.MULTILINE))
    assert {each for each in codes if "x" not in each.split("-")} <= shown
    assert len(shown) > 100


def test_an_error_shows_its_next_step():
    assert re.search(r"\| `port-busy` \| [^|]+ \| [^|]*another port[^|]* \|", page("error-codes"))


def test_every_route_is_in_the_reference(database):
    app = create_app(database, load_plugin(database.plugin))
    text = page("http-api")
    assert not [rule.rule for rule in app.url_map.iter_rules() if f"`{rule.rule}`" not in text]


def test_every_metric_that_is_served_is_in_the_reference(database):
    served = Metrics(open_context(database)).text().decode()
    names = set(re.findall(r"^# TYPE (kaan_\w+?)(?<!_created) ", served, re.MULTILINE))
    assert names
    assert not [name for name in names if f"`{name}`" not in page("metrics")]


def test_every_state_of_a_job_is_in_the_reference():
    row = re.search(r"^\| `jobs` \| (.+) \|$", page("states"), re.MULTILINE)[1]
    assert all(state in row for state in (*leases.OPEN, "done", "failed", "quarantined", "cancelled"))


def test_a_table_with_states_is_in_the_reference():
    shown = set(re.findall(r"^\| `(\w+)` \|", page("states"), re.MULTILINE))
    plain = {"model_versions", "experiments", "checkpoints", "datasets"}  # one state, or states that nobody meets
    assert {name for name, table in tables.metadata.tables.items() if "state" in table.c} - plain <= shown


@pytest.mark.parametrize("name", labelconfig.NAMES)
def test_every_value_of_a_labelling_config_is_in_the_reference(name):
    text = page("labelling-configs")
    for tag in ElementTree.fromstring(labelconfig.read(name)).iter():  # noqa: S314 - our own file
        if tag.tag in ("Choice", "Label"):
            assert f"`{tag.get('value')}`" in text


def test_the_manifest_table_names_every_column_of_a_dataset():
    from training.datasets import parquet

    text = page("dataset-format").partition("## Forms")[0]
    assert not [line for _, line, *_ in parquet._COLUMNS if f"`{line}`" not in text]
