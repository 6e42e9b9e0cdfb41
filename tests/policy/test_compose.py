"""The compose files against the settings, the command line and the Dockerfile: no engine is needed to find a slip."""

import os
import re
import shutil
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
import yaml

from ml_backend import db, settings, tables
from ml_backend.commands import command_line
from ml_backend.jobs import job_kinds, processes, schedules
from tests.policy.source import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
OURS = {name: each for name, each in SERVICES.items() if "build" in each}
LABEL_STUDIO = SERVICES["label-studio"]["environment"]
FILES = sorted(path.name for path in ROOT.glob("docker-compose*.yml"))
EVERY = {
    (file, name): each
    for file in FILES
    for name, each in yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["services"].items()
}
KNOWN = {name for name, _, _ in settings.describe()}
SECRET_FILES = {f"{name}_FILE" for name in settings.secret_names()}
SECRET = "f00dfeedf00dfeedf00dfeed"
NEEDED = COMPOSE["x-needed"]
VARIABLE = re.compile(r"\$\$|\$\{([A-Z_]+)(?::([-?+]))?")


def resolved(value, given):
    """What Compose makes of `$$`, `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `${NAME:+replacement}`."""
    made, at = "", 0
    while found := VARIABLE.search(value, at):
        made += value[at : found.start()]
        if found[0] == "$$":
            made, at = made + "$", found.end()
            continue
        end, depth = found.end(), 1
        while depth:
            depth += {"{": 1, "}": -1}.get(value[end], 0)
            end += 1
        name, operator, rest = found[1], found[2], value[found.end() : end - 1]
        there = given.get(name) or ""
        if operator == "?" and not there:
            raise KeyError(f"{name}: {rest}")
        if operator == "+":
            made += resolved(rest, given) if there else ""
        else:
            made += there or (resolved(rest, given) if operator == "-" else "")
        at = end
    return made + value[at:]


def environment(service, given):
    """A container's environment: names without a value are taken over from `.env` where they are there."""
    pairs = SERVICES[service]["environment"].items()
    found = {name: given.get(name) if value is None else resolved(str(value), given) for name, value in pairs}
    return {name: value for name, value in found.items() if value is not None}


def started(given):
    """Raise KeyError where Compose would stop before it starts anything."""
    for value in [
        *NEEDED,
        *(value for each in SERVICES.values() for value in (each.get("environment") or {}).values()),
    ]:
        resolved(str(value), given)


def required():
    """What `.env` must hold, as values."""
    found = {}
    while True:
        try:
            started(dict.fromkeys(found, SECRET))
            return set(found)
        except KeyError as error:
            found[re.search(r"set ([A-Z_]+) in", str(error))[1]] = True


def given():
    """A `.env` with a value for each of them, and nothing else."""
    return dict.fromkeys(required(), SECRET) | {"API_TOKENS": f"operator:admin:{SECRET}"}


WATCHERS = {"prometheus", "alertmanager", "grafana"}


def test_the_services_the_design_asks_for_are_there():
    assert set(OURS) == {"web", "live", "relay", "sync-worker", "transcribe-worker", "training-worker", "upgrade"}
    assert set(SERVICES) - set(OURS) - WATCHERS == {"postgres", "redis", "s3", "label-studio"}
    assert all(SERVICES[name]["profiles"] == ["monitoring"] for name in WATCHERS)
    assert SERVICES["training-worker"]["profiles"] == ["training"]


def test_work_that_comes_due_by_itself_is_done_without_the_training_profile():
    always = {each["command"][1] for each in OURS.values() if each["command"][0] == "worker" and "profiles" not in each}
    assert {schedule.kind.queue for schedule in schedules.SCHEDULES} <= always == {"sync", "transcribe"}


@pytest.mark.parametrize("service", OURS)
def test_every_setting_reaches_our_containers_and_nothing_else_does(service):
    assert set(OURS[service]["environment"]) == KNOWN | SECRET_FILES


@pytest.mark.parametrize("service", OURS)
def test_the_environment_makes_valid_settings(service, monkeypatch):
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment(service, given()).items():
        monkeypatch.setenv(name, value)
    made = settings.Settings(_env_file=None)
    assert made.database.startswith("postgresql://")
    assert made.objects == "s3://"
    assert made.bind == "0.0.0.0"


@pytest.mark.parametrize("name", sorted(required()))
def test_compose_stops_when_a_needed_value_is_missing(name):
    with pytest.raises(KeyError, match=name):
        started({each: value for each, value in given().items() if each != name})


def test_for_a_server_that_is_replaced_nothing_but_its_address_is_asked_for():
    ours = given()
    for address, names in (
        ("DATABASE_URL", ["POSTGRES_PASSWORD"]),
        ("REDIS_URL_FILE", ["REDIS_PASSWORD"]),
        ("LABEL_STUDIO_URL", [name for name in ours if name.startswith("LABEL_STUDIO_") and "WEBHOOK" not in name]),
    ):
        without = {name: value for name, value in ours.items() if name not in names} | {address: "elsewhere"}
        assert len(without) < len(ours) + 1
        [resolved(each, without) for each in NEEDED]


def test_no_server_comes_up_with_the_password_of_its_image_or_none():
    """An image that gets an empty password takes a default (MinIO), or none (Redis)."""
    assert required() >= {"API_TOKENS", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"}
    assert required() >= {
        "LABEL_STUDIO_SECRET_KEY",
        "LABEL_STUDIO_FIRST_PASSWORD",
        "BASIC_AUTH_USER",
        "BASIC_AUTH_PASS",
    }


def test_no_secret_has_a_default():
    secret = re.compile("SECRET|PASS|TOKEN|_KEY")
    pairs = re.findall(r"\$\{([A-Z_]+):-([^}]*)", TEXT.replace("$$", ""))
    assert not [name for name, default in pairs if secret.search(name) and default and not default.startswith("${")]


@pytest.fixture
def moved(tmp_path, monkeypatch):
    """What `init` and then `deploy/secrets.sh` leave: (values of `.env`, the folder)."""
    for name in [*KNOWN, *SECRET_FILES]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert command_line.main(["init"]) == 0
    before = dict(re.findall(r"^([A-Z_]+)=(.+)$", Path(".env").read_text(encoding="utf-8"), re.MULTILINE))
    subprocess.run(["sh", str(ROOT / "deploy/secrets.sh"), str(tmp_path)], check=True, capture_output=True)
    after = dict(re.findall(r"^([A-Z_]+)=(.+)$", Path(".env").read_text(encoding="utf-8"), re.MULTILINE))
    return before, after, tmp_path


@pytest.mark.parametrize("service", OURS)
def test_a_deployment_whose_secrets_are_all_in_files_starts(service, moved, monkeypatch):
    before, given, folder = moved
    assert not [name for name, value in given.items() if value in before.values() and not name.endswith("USER")]
    started(given)
    for name, value in environment(service, given).items():
        mounted = value.replace("/run/secrets", str(folder / "secrets")) if name in SECRET_FILES else value
        monkeypatch.setenv(name, mounted)
    made = settings.load(_env_file=None)
    assert made.database == f"postgresql://kaan:{before['POSTGRES_PASSWORD']}@postgres:5432/kaan"
    assert made.redis_url == f"redis://:{before['REDIS_PASSWORD']}@redis:6379/0"
    for name in ("minio_secret_key", "basic_auth_pass", "api_tokens", "exotel_webhook_secret"):
        assert getattr(made, name).get_secret_value() == before[name.upper()]


def test_every_file_that_is_named_in_env_is_mounted_where_it_is_named(moved):
    _, given, folder = moved
    secrets = yaml.safe_load((ROOT / "docker-compose.secrets.yml").read_text(encoding="utf-8"))
    assert {Path(each["file"]).name for each in secrets["secrets"].values()} == {
        path.name for path in (folder / "secrets").iterdir()
    }
    assert all(each["file"] == f"secrets/{name}" for name, each in secrets["secrets"].items())
    for service, each in secrets["services"].items():
        assert set(each["secrets"]) <= set(secrets["secrets"])
        for name, value in environment(service, given).items():
            if value.startswith("/run/secrets/") and name != "LABEL_STUDIO_ENV_FILE":
                assert value.removeprefix("/run/secrets/") in each["secrets"], f"{service}: {name}"
    assert (folder / "secrets").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in (folder / "secrets").iterdir())


def test_moving_secrets_again_keeps_them_and_moves_what_was_added(moved):
    _, given, folder = moved
    held = {path.name: path.read_text() for path in (folder / "secrets").iterdir()}
    with (folder / ".env").open("a") as env:
        env.write("LABEL_STUDIO_API_KEY=0123456789abcdef\n")
    assert command_line.main(["init"]) == 0
    subprocess.run(["sh", str(ROOT / "deploy/secrets.sh"), str(folder)], check=True, capture_output=True)
    now = {path.name: path.read_text() for path in (folder / "secrets").iterdir()}
    assert now == held | {"label_studio_api_key": "0123456789abcdef"}
    after = dict(re.findall(r"^([A-Z_]+)=(.+)$", (folder / ".env").read_text(encoding="utf-8"), re.MULTILINE))
    assert after == given | {"LABEL_STUDIO_API_KEY_FILE": "/run/secrets/label_studio_api_key"}


def test_label_studio_gets_its_secrets_from_the_file_that_it_sources(moved):
    before, given, folder = moved
    assert resolved(LABEL_STUDIO["ENV_INJECT_SOURCES"], given) == "/run/secrets/label_studio_env"
    names = ("SECRET_KEY", "LABEL_STUDIO_PASSWORD", "POSTGRE_PASSWORD")
    script = f". {folder}/secrets/label_studio_env && printf '%s\\n' " + " ".join(f'"${name}"' for name in names)
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    meant = ("LABEL_STUDIO_SECRET_KEY", "LABEL_STUDIO_FIRST_PASSWORD", "LABEL_STUDIO_DATABASE_PASSWORD")
    assert said == [before[name] for name in meant]


@pytest.mark.parametrize("file", FILES)
def test_a_compose_file_keeps_to_the_schema_of_compose(file):
    program = shutil.which("check-jsonschema", path=str(Path(sys.executable).parent))
    assert program, "check-jsonschema comes with the development packages"
    done = subprocess.run(
        [program, "--builtin-schema", "vendor.compose-spec", str(ROOT / file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("file", "name"), [key for key, each in EVERY.items() if "restart" in each])
def test_every_service_has_limits_and_its_log_is_rotated(file, name):
    """A full disk or a full memory must not come from one container."""
    each = EVERY[file, name]
    assert each["pids_limit"] <= 1024
    assert re.fullmatch(r"\d+[mg]", resolved(str(each["mem_limit"]), {}))
    assert each["logging"]["driver"] == "json-file"
    assert {"max-size", "max-file"} <= set(each["logging"]["options"])


def test_each_service_of_the_first_file_is_checked_for_limits():
    assert {name for (file, name), each in EVERY.items() if file == "docker-compose.yml"} == {
        name for (file, name), each in EVERY.items() if "restart" in each and file == "docker-compose.yml"
    }


def test_the_gpu_file_changes_the_two_workers_that_compute_and_names_arguments_of_the_dockerfile():
    changed = {name: each for (file, name), each in EVERY.items() if file == "docker-compose.gpu.yml"}
    assert set(changed) == {"transcribe-worker", "training-worker"}
    arguments = set(re.findall(r"^ARG ([A-Z_]+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE))
    for name, each in changed.items():
        assert each["gpus"] == "all"
        assert set(each["build"]["args"]) <= arguments, name
        assert each["image"] != SERVICES[name]["image"]  # else the image of the processor would be taken for it
        assert resolved(each["environment"]["ASR_DEVICE"], {}) == "cuda"
        for part in each["environment"]["LD_LIBRARY_PATH"].split(":"):
            library = Path(part).parts[-2].replace("_", "-")
            assert f"nvidia-{library}-cu12==" in (ROOT / "requirements/cuda.lock").read_text(), part


def test_the_proxy_reaches_both_servers_and_logs_no_address():
    text = (ROOT / "deploy/Caddyfile").read_text(encoding="utf-8")
    ports = {f"{name}:{port}" for name, port in (("web", 9090), ("live", 9091), ("label-studio", 8080))}
    assert set(re.findall(r"reverse_proxy (?:/\S+ )?(\S+)", text)) == ports
    assert "exclude http.log.error" in text
    assert not re.search(r"^\s+log( \{)?$", text, re.MULTILINE)
    wanted = set(EVERY["docker-compose.proxy.yml", "proxy"]["environment"])
    assert set(re.findall(r"\{\$([A-Z_]+)\}", text)) == wanted


@pytest.mark.parametrize("service", OURS)
def test_every_command_exists(service):
    words = OURS[service]["command"]
    assert words[0] in command_line.COMMANDS
    if words[0] == "worker":
        assert words[1] in job_kinds.QUEUES


def test_every_queue_has_a_worker():
    assert {each["command"][1] for each in OURS.values() if each["command"][0] == "worker"} == set(job_kinds.QUEUES)


@pytest.mark.parametrize("service", OURS)
def test_our_containers_are_built_from_a_stage_of_the_dockerfile(service):
    stages = re.findall(r"^FROM \S+ AS (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert OURS[service]["build"]["target"] in stages


@pytest.mark.parametrize(("file", "name"), [key for key, each in EVERY.items() if "image" in each])
def test_every_image_is_pinned_and_can_be_pulled(file, name):
    image = EVERY[file, name]["image"]
    if "build" in EVERY[file, name]:
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


@pytest.fixture
def redis_command(tmp_path):
    """The server's and the health check's commands of the file, run here; gives (output of each, settings of Redis)."""

    def run(**environment):
        place = tmp_path / "bin"
        place.mkdir(exist_ok=True)
        (place / "docker-entrypoint.sh").write_text('#!/bin/sh\necho "$*"\ncat\n')
        (place / "redis-cli").write_text('#!/bin/sh\necho "PONG $REDISCLI_AUTH" >&2\necho PONG\n')
        found = []
        for program in place.iterdir():
            program.chmod(0o755)
        for command in (SERVICES["redis"]["command"], SERVICES["redis"]["healthcheck"]["test"][1:]):
            done = subprocess.run(
                [resolved(word, {}) for word in command],
                env={"PATH": f"{place}:{os.defpath}", **environment}, capture_output=True, text=True, check=True,
            )  # fmt: skip
            found.append(done.stdout + done.stderr)
        return found

    return run


def test_redis_neither_evicts_nor_forgets(redis_command):
    server, _ = redis_command(REDIS_PASSWORD=SECRET)
    assert server.startswith("redis-server ")
    assert "--maxmemory-policy noeviction" in server
    assert "--appendonly yes" in server


def test_redis_has_a_password_and_a_network_that_only_our_containers_are_on(redis_command, tmp_path):
    (tmp_path / "password").write_text(SECRET)
    for given in ({"REDIS_PASSWORD": SECRET}, {"REDIS_PASSWORD_FILE": str(tmp_path / "password")}):
        server, client = redis_command(**given)
        assert server.splitlines()[-1] == f"requirepass {SECRET}"
        assert SECRET not in server.splitlines()[0]  # everybody on the machine can read command lines
        assert client.strip() == f"PONG {SECRET}"
    assert SERVICES["redis"]["networks"] == ["queue"]
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
    host = urlsplit(environment("web", given())["PUBLIC_URL"]).hostname
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
    assert "LABEL_STUDIO_SECRET_KEY" in required()
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
