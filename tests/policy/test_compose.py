"""docker-compose.yml against the settings, the command line and the Dockerfile: no engine is needed to find a slip."""

import os
import re
import socket
import subprocess
import sys
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
import yaml

from ml_backend import cli, db, settings, tables
from ml_backend.jobs import job_kinds, processes, schedules
from tests.policy.source import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
OURS = {name: each for name, each in SERVICES.items() if "build" in each}
LABEL_STUDIO = SERVICES["label-studio"]["environment"]
KNOWN = {name for name, _, _ in settings.describe()}
SECRET = "f00dfeedf00dfeedf00dfeed"
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::([?-])((?:[^{}]|\$\{[^{}]*\})*))?\}")


def resolved(value, given):
    """What Compose makes of `${NAME}`, `${NAME:-default}` and `${NAME:?message}`."""

    def fill(found):
        name, operator, rest = found.groups()
        if given.get(name):
            return given[name]
        if operator == "?":
            raise KeyError(f"{name}: {rest}")
        return resolved(rest, given) if operator == "-" else ""

    return VARIABLE.sub(fill, value)


def environment(service, given):
    """A container's environment: names without a value are taken over from `.env` where they are there."""
    pairs = SERVICES[service]["environment"].items()
    found = {name: given.get(name) if value is None else resolved(str(value), given) for name, value in pairs}
    return {name: value for name, value in found.items() if value is not None}


def required():
    return {name for name, operator, _ in VARIABLE.findall(TEXT) if operator == "?"}


def test_the_services_the_design_asks_for_are_there():
    assert set(OURS) == {"web", "relay", "sync-worker", "transcribe-worker", "training-worker", "upgrade"}
    assert set(SERVICES) - set(OURS) == {"postgres", "redis", "s3", "label-studio"}
    assert SERVICES["training-worker"]["profiles"] == ["training"]


def test_work_that_comes_due_by_itself_is_done_without_the_training_profile():
    always = {each["command"][1] for each in OURS.values() if each["command"][0] == "worker" and "profiles" not in each}
    assert {schedule.kind.queue for schedule in schedules.SCHEDULES} <= always == {"sync", "transcribe"}


@pytest.mark.parametrize("service", OURS)
def test_every_setting_reaches_our_containers_and_nothing_else_does(service):
    assert set(OURS[service]["environment"]) == KNOWN


@pytest.mark.parametrize("service", OURS)
def test_the_environment_makes_valid_settings(service, monkeypatch):
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    given = dict.fromkeys(required(), SECRET)
    for name, value in environment(service, given).items():
        monkeypatch.setenv(name, value)
    made = settings.Settings(_env_file=None)
    assert made.database.startswith("postgresql://")
    assert made.objects == "s3://"
    assert made.bind == "0.0.0.0"


@pytest.mark.parametrize("name", sorted(required()))
def test_compose_stops_when_a_needed_value_is_missing(name):
    given = {each: SECRET for each in required() if each != name}
    values = [value for service in SERVICES.values() for value in (service.get("environment") or {}).values()]
    with pytest.raises(KeyError, match=name):
        [resolved(str(value), given) for value in values]


def test_no_secret_has_a_default():
    secret = re.compile("SECRET|PASS|TOKEN|_KEY")
    assert not [name for name, operator, default in VARIABLE.findall(TEXT) if secret.search(name) and operator == "-"]


@pytest.mark.parametrize("service", OURS)
def test_every_command_exists(service):
    words = OURS[service]["command"]
    assert words[0] in cli.COMMANDS
    if words[0] == "worker":
        assert words[1] in job_kinds.QUEUES


def test_every_queue_has_a_worker():
    assert {each["command"][1] for each in OURS.values() if each["command"][0] == "worker"} == set(job_kinds.QUEUES)


@pytest.mark.parametrize("service", OURS)
def test_our_containers_are_built_from_a_stage_of_the_dockerfile(service):
    stages = re.findall(r"^FROM \S+ AS (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert OURS[service]["build"]["target"] in stages


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_and_can_be_pulled(name):
    image = SERVICES[name]["image"]
    if "build" in SERVICES[name]:
        return
    _, _, tag = image.rpartition(":")
    assert re.search(r"\d", tag), f"{image} moves"
    assert not image.startswith("minio/"), "MinIO's images are gone from Docker Hub"


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_shows_its_health(name):
    """Ours in the image or here; the one that ends has none."""
    each = SERVICES[name]
    if name == "upgrade":
        assert each["healthcheck"] == {"disable": True}
        assert each["restart"] == "no"
    elif name == "web":
        assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()
    else:
        assert each["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("service", sorted(set(OURS) - {"upgrade"}))
def test_nothing_of_ours_starts_before_the_database_is_upgraded(service):
    assert OURS[service]["depends_on"]["upgrade"] == {"condition": "service_completed_successfully"}


def test_a_worker_is_healthy_while_it_gives_signs_of_life(tmp_path):
    command = SERVICES["relay"]["healthcheck"]["test"]
    assert command[:3] == ["CMD", "python", "-c"]
    url = f"sqlite:///{tmp_path / 'kaan.db'}"
    db.upgrade(url)
    database = db.Database(url)
    name = f"relay@{socket.gethostname()[:60]}:7:abc"

    def healthy():
        environment = {"PYTHONPATH": str(ROOT), "DATABASE_URL": url, "PATH": os.defpath}
        return (
            subprocess.run([sys.executable, "-c", command[3]], env=environment, cwd=tmp_path, check=False).returncode
            == 0
        )

    assert not healthy()
    processes.seen(database, "relay@another-host:7:abc", "relay", started_at=tables.now())
    assert not healthy()
    processes.seen(database, name, "relay", started_at=tables.now())
    assert healthy()
    with database.transaction() as connection:
        connection.execute(sa.update(tables.processes).values(seen_at=tables.now() - timedelta(minutes=5)))
    assert not healthy()
    database.dispose()


def test_dependencies_and_volumes_exist():
    for name, each in SERVICES.items():
        assert set(each.get("depends_on") or ()) <= set(SERVICES), name
        for volume in each.get("volumes") or ():
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists(), f"{name}: {volume}"


@pytest.mark.parametrize("name", ["postgres", "redis", "s3", "label-studio"])
def test_what_must_survive_is_on_a_volume(name):
    assert any(volume.partition(":")[0] in COMPOSE["volumes"] for volume in SERVICES[name]["volumes"])


def test_redis_neither_evicts_nor_forgets():
    words = SERVICES["redis"]["command"]
    assert words[words.index("--maxmemory-policy") + 1] == "noeviction"
    assert words[words.index("--appendonly") + 1] == "yes"


def test_redis_has_a_password_and_a_network_that_only_our_containers_are_on():
    redis = SERVICES["redis"]
    assert redis["command"][redis["command"].index("--requirepass") + 1].startswith("${REDIS_PASSWORD:?")
    assert redis["networks"] == ["queue"]
    assert COMPOSE["networks"]["queue"]["internal"]
    assert {name for name, each in SERVICES.items() if "queue" in (each.get("networks") or ())} == {"redis", *OURS}


def test_ports_are_published_on_this_machine_only_unless_asked():
    published = [port for each in SERVICES.values() for port in each.get("ports") or ()]
    assert published
    assert all(resolved(port, {}).startswith("127.0.0.1:") for port in published)


def test_our_containers_have_no_rights_they_do_not_need():
    for name, each in OURS.items():
        assert each["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in each["security_opt"], name
        assert not each.get("privileged"), name


def test_label_studio_accepts_the_address_of_our_webhook():
    """Its webhooks are checked as web addresses: a host name without a dot is refused."""
    host = urlsplit(environment("web", dict.fromkeys(required(), SECRET))["PUBLIC_URL"]).hostname
    assert "." in host
    assert host in SERVICES["web"]["networks"]["default"]["aliases"]


def test_label_studio_may_reach_private_addresses_and_no_metadata_service():
    from ipaddress import ip_address, ip_network

    assert LABEL_STUDIO["USE_DEFAULT_BANNED_SUBNETS"] == "false"
    assert "SSRF_PROTECTION_ENABLED" not in LABEL_STUDIO
    banned = [ip_network(each) for each in LABEL_STUDIO["USER_ADDITIONAL_BANNED_SUBNETS"].split(",")]
    private = ["172.18.0.5", "10.1.2.3", "192.168.1.4"]
    others = ["169.254.169.254", "fd00:ec2::254", "127.0.0.1", "::1", "0.0.0.0"]
    allowed = [each for each in private + others if not any(ip_address(each) in network for network in banned)]
    assert allowed == private


def test_label_studio_sends_nothing_home_and_keeps_its_own_database():
    assert LABEL_STUDIO["COLLECT_ANALYTICS"] == "false"
    assert LABEL_STUDIO["LATEST_VERSION_CHECK"] == "false"
    assert LABEL_STUDIO["SENTRY_DSN"] == LABEL_STUDIO["FRONTEND_SENTRY_DSN"] == ""
    assert "?" in LABEL_STUDIO["SECRET_KEY"]
    assert LABEL_STUDIO["POSTGRE_NAME"] != "kaan"


def test_label_studio_is_the_release_that_is_tested():
    pinned = (ROOT / "requirements/label-studio.in").read_text().split("==")[1].strip()
    assert SERVICES["label-studio"]["image"].endswith(f":{pinned}")


@pytest.mark.parametrize(
    ("address", "right"),
    [
        ("http://web:9090", False),
        ("http://web.kaan.internal:9090", True),
        ("http://localhost:9090", True),
        ("http://127.0.0.1:9090", True),
        ("http://[fd00::2]:9090", True),
    ],
)
def test_an_address_label_studio_would_refuse_is_a_mistake_at_start(address, right, monkeypatch):
    monkeypatch.setenv("PUBLIC_URL", address)
    if right:
        assert settings.Settings(_env_file=None).public_url == address
    else:
        with pytest.raises(ValueError, match="a dot"):
            settings.Settings(_env_file=None)
