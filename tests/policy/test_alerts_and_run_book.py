"""Alerts, sections of the run-book, and metrics stay in step."""

import json
import re
import subprocess
from datetime import timedelta

import pytest
import yaml

from ml_backend import db, settings, tables
from ml_backend.context import open_context
from ml_backend.jobs import processes
from ml_backend.metrics import Metrics
from scripts import reference_pages
from tests.policy.source import ROOT
from tests.servers.prometheus import MONITORING, binary

RULES = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (MONITORING / "rules").glob("*.yml")}
EVERY = [rule for file in RULES.values() for group in file["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in EVERY if "alert" in rule}
RUNBOOK = (ROOT / "docs/operate/runbook.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (Kaan\w+) \{ #([a-z-]+) \}$", RUNBOOK, re.MULTILINE))
PARTS = ("Users notice", "Look at", "Do", "Over when")
ENDINGS = ("_bucket", "_sum", "_count")
GIVEN = {"kaan_requests_total", "kaan_request_seconds"}  # have no sample before the first request


def named(expression):
    """The metrics of ours that an expression or a text names; those that rules record have a colon."""
    return {
        re.sub(f"({'|'.join(ENDINGS)})$", "", name) if name.endswith(ENDINGS) else name
        for name in re.findall(r"(?<![\w:/])kaan_\w+(?![\w:])", expression)
    }


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """/metrics of a deployment on which nothing has happened yet: {name: lines}."""
    given = settings.Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("alerts"))
    db.upgrade(given.database)
    text = Metrics(open_context(given)).text().decode()
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            found.setdefault(re.match(r"\w+", line)[0], []).append(line)
    return text, found


def declared():
    return set(re.findall(r"^\| `(kaan_\w+)` \|", reference_pages.metrics(), re.MULTILINE))


def test_every_alert_has_its_section_and_every_section_its_alert():
    assert set(SECTIONS) == set(ALERTS)
    assert len(ALERTS) > 20


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_what_happened_and_where_to_read_on(name):
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"].endswith(".")
    assert alert["annotations"]["runbook_url"] == f"docs/operate/runbook.md#{SECTIONS[name]}"


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_says_what_to_notice_what_to_look_at_what_to_do_and_when_it_is_over(name):
    section = re.split(r"^#+ ", RUNBOOK.partition(f"### {name} ")[2], maxsplit=1, flags=re.MULTILINE)[0]
    assert re.findall(r"^\* \*\*([^*]+)\*\*: ", section, re.MULTILINE) == list(PARTS)


def test_every_metric_in_rules_and_run_book_is_one_of_ours():
    texts = [*(rule["expr"] for rule in EVERY), RUNBOOK, (ROOT / "docs/operate/monitoring.md").read_text()]
    wanted = set().union(*map(named, texts))
    assert {"kaan_jobs", "kaan_live_requests_total", "kaan_backup_age_seconds"} <= wanted
    assert sorted(each for each in wanted - declared() if each not in ("kaan_disk_", "kaan_live_spool_")) == []


def test_the_board_is_provisioned_and_names_our_metrics_only():
    folder = MONITORING / "grafana"
    board = json.loads((folder / "boards/kaan.json").read_text(encoding="utf-8"))
    [source] = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    asked = {target["expr"] for panel in panels for target in panel["targets"]}
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
    assert all(panel["title"] and panel["description"].endswith(".") for panel in panels)
    assert set().union(*map(named, asked)) <= declared()
    recorded = set().union(*(set(re.findall(r"kaan:\w+:\w+", each)) for each in asked))
    assert recorded <= {rule["record"] for rule in EVERY if "record" in rule}
    [provider] = yaml.safe_load((folder / "dashboards/kaan.yml").read_text())["providers"]
    assert provider["options"]["path"].endswith("/boards")
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_every_rule_that_is_recorded_is_used_and_every_one_that_is_used_is_recorded():
    made = {rule["record"] for rule in EVERY if "record" in rule}
    asked = set(re.findall(r"kaan:\w+:\w+", "".join(rule["expr"] for rule in EVERY)))
    asked |= set(re.findall(r"kaan:\w+:\w+", (MONITORING / "grafana/boards/kaan.json").read_text()))
    assert asked == made


def test_names_end_with_their_unit_and_counters_with_total(served):
    text, _ = served
    for name, kind in re.findall(r"^# TYPE (kaan_\w+) (\w+)$", text, re.MULTILINE):
        assert (kind == "counter") == name.endswith("_total") or name.endswith("_created"), name
        assert not re.search(r"_(ms|s|mb|kb|minutes|hours|percent)$", name), f"{name}: seconds, bytes and ratios"
        assert kind != "histogram" or name.endswith("_seconds"), name


def test_what_an_alert_watches_is_there_before_anything_happened(served):
    """But what is per project, run or version, which nobody knows yet."""
    _, found = served
    later = {
        "kaan_annotation_difference_left", "kaan_annotations_compared_seconds", "kaan_project_trouble",
        "kaan_training_silent_seconds", "kaan_live_requests_total", "kaan_live_request_duration_seconds",
    }  # fmt: skip
    watched = set().union(*(named(rule["expr"]) for rule in EVERY)) - later
    assert sorted(name for name in watched if name not in found) == []


def test_a_process_that_is_gone_is_gone_from_the_numbers_within_two_minutes(tmp_path):
    given = settings.Settings(_env_file=None, data_dir=tmp_path)
    db.upgrade(given.database)
    context = open_context(given)
    for name, age_s in (("here", 0), ("late", 100), ("gone", 121)):
        processes.seen(context.db, name, "relay", started_at=tables.now())
        seen = {"seen_at": tables.now() - timedelta(seconds=age_s)}
        with context.db.transaction() as connection:
            connection.execute(tables.processes.update().where(tables.processes.c.name == name).values(**seen))
    text = Metrics(context).text().decode()
    assert re.findall(r'kaan_process_seen_seconds\{name="(\w+)"', text) == ["here", "late"]
    assert 'kaan_processes{role="relay"} 1.0' in text


def promtool(*arguments):
    return subprocess.run([binary("promtool"), *arguments], capture_output=True, text=True, check=False)


def test_promtool_accepts_configuration_and_rules(tmp_path):
    folder = tmp_path / "monitoring"
    (folder / "rules").mkdir(parents=True)
    (folder / "secrets").mkdir()
    (folder / "secrets" / "metrics_token").write_text("t")
    (folder / "prometheus.yml").write_text((MONITORING / "prometheus.yml").read_text())
    for name in RULES:
        (folder / "rules" / name).write_text((MONITORING / "rules" / name).read_text())
        done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(folder / "rules" / name))
        assert done.returncode == 0, done.stdout + done.stderr
    done = promtool("check", "config", str(folder / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_do_over_hours_what_they_promise():
    done = promtool("test", "rules", str(ROOT / "tests/deploy/rules.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
