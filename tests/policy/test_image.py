"""The Dockerfile without an engine: linted, its sources present, and its steps done in a clean folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.policy.source import ROOT, tracked

LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def stage(name):
    """The instructions of one stage and of those it is built on."""
    found, current, parent = [], "", ""
    for line in LINES:
        start = re.match(r"FROM (\S+) AS (\S+)", line)
        if start:
            current = start[2]
            parent = start[1] if current == name else parent
        elif current == name and line and not line.startswith("#"):
            found.append(line)
    return (stage(parent) if parent and "$" not in parent else []) + found


def copies(name):
    """(sources, target) of what a stage copies out of the repository."""
    for line in stage(name):
        if line.startswith("COPY ") and "--from" not in line:
            *sources, target = line.split()[1:]
            yield sources, target


def build(name, folder):
    """What the image's /app holds, made here by the Dockerfile's own COPY lines from files that git knows."""
    for sources, target in copies(name):
        if not target.startswith("/app"):
            continue
        for source in sources:
            inside = [each for each in tracked() if each == source or each.startswith(source + "/")]
            assert inside, f"COPY {source}: no such file in the repository"
            for each in inside:
                kept = each if (ROOT / source).is_file() else str(Path(each).relative_to(source))
                place = Path(str(folder) + target.removeprefix("/app")) / kept
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / each, place)


@pytest.fixture(scope="module", params=["serving", "training"])
def image(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    build(request.param, folder)
    return request.param, folder


def run(folder, *arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": os.defpath, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **environment},
    )  # fmt: skip


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert hadolint, "hadolint comes with the development packages"
    done = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_that_is_copied_exists_and_is_let_through():
    for name in ("packages", "training-packages", "parler-packages", "serving", "training", "parler"):
        for sources, _ in copies(name):
            for source in sources:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in IGNORED or f"!{Path(source).parent}/*.lock" in IGNORED, f"{source} is ignored"


def test_the_build_context_starts_from_nothing():
    assert next(line for line in IGNORED if line and not line.startswith("#")) == "*"
    assert not [line for line in IGNORED if line.startswith("!") and ("env" in line or "data" in line)]


def test_the_last_stage_is_serving_and_nobody_is_root():
    starts = [line for line in LINES if line.startswith("FROM ")]
    assert starts[-1].endswith(" AS serving")
    for name in ("serving", "training", "parler"):
        users = [line.split()[1] for line in stage(name) if line.startswith("USER ")]
        assert users, name
        assert users[-1].split(":")[0] not in ("0", "root"), name


def test_the_base_is_pinned_to_a_release():
    base = next(line.partition("=")[2] for line in LINES if line.startswith("ARG BASE="))
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)


def test_serving_holds_no_torch():
    names = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements/serving.lock").read_text(), re.MULTILINE)
    assert len(names) > 50
    assert not {"torch", "transformers", "datasets", "moto", "pytest"} & set(names)


def test_the_command_line_starts_in_the_image(image):
    _, folder = image
    done = run(folder, "-m", "ml_backend", "--help")
    assert done.returncode == 0, done.stderr
    assert "transcribe" in done.stdout


def test_the_images_first_step_makes_the_database(image, tmp_path):
    _, folder = image
    done = run(folder, "-m", "ml_backend", "db", "upgrade", DATA_DIR=str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    again = run(folder, "-m", "ml_backend", "db", "version", DATA_DIR=str(tmp_path / "data"))
    assert again.returncode == 0, again.stdout + again.stderr


def test_every_job_of_the_image_can_be_imported(image):
    """Jobs of the training queue need torch; the others, whichever package they are in, only what serving has."""
    name, folder = image
    code = (
        "import importlib; from ml_backend.jobs import job_kinds; "
        f"paths = [k.path for k in job_kinds.KINDS.values() if {name == 'training'} or k.queue != 'training']; "
        "[getattr(importlib.import_module(p.rpartition('.')[0]), p.rpartition('.')[2]) for p in paths]; "
        "import ml_backend.api, model, ml_backend.commands.web, ml_backend.commands.worker, ml_backend.commands.relay"
    )
    done = run(folder, "-c", code)
    assert done.returncode == 0, done.stderr


def test_the_image_carries_the_bundled_model_and_the_labelling_configs(image):
    _, folder = image
    assert list((folder / "ml_backend/labelling").glob("*.xml"))
    assert (folder / "ml_backend/bundled/model/model.bin").is_file()


def test_the_health_check_asks_the_web_process():
    line = next(line for line in LINES if line.startswith("HEALTHCHECK"))
    assert "/health" in line
    code = re.search(r'"-c", "(.*)"\]', line)[1]
    compile(code, "healthcheck", "exec")
    refused = subprocess.run([sys.executable, "-c", code], env={"PORT": "9"}, capture_output=True, check=False)
    assert refused.returncode != 0, "a closed port counts as healthy"
