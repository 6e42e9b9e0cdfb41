"""The lock files: complete, hashed, in step with pyproject.toml, the same on every machine."""

import re
import tomllib
from functools import cache

import pytest
from packaging.requirements import Requirement

from tests.policy.source import ROOT
from training.trainers.parler import parler_library

NAMES = ("serving", "training", "development", "label-studio", "parler", "cuda")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {"serving": (), "training": ("training",), "development": ("training", "development")}


@cache
def lock(name):
    return (ROOT / f"requirements/{name}.lock").read_text(encoding="utf-8")


def pins(name):
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", lock(name), re.MULTILINE))


def asked(name):
    lines = [
        *PROJECT["dependencies"],
        *(line for extra in EXTRAS[name] for line in PROJECT["optional-dependencies"][extra]),
    ]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_every_pin_has_a_hash(name):
    blocks = re.split(r"\n(?=[a-z0-9])", lock(name))
    assert not [block.split()[0] for block in blocks if "==" in block and "--hash=sha256:" not in block]


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_names_no_index_and_no_folder(name):
    assert not re.findall(r"https?://|file:|--index|--find-links| @ |\+cpu|\+cu\d", lock(name))


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_satisfies_what_is_asked_for(name):
    have = pins(name)
    for requirement in asked(name):
        if requirement.name == "torch":
            continue
        found = have.get(requirement.name.lower().replace("_", "-"))
        assert found, f"run `make lock`: {requirement.name} is not in {name}.lock"
        assert requirement.specifier.contains(found), f"{requirement} but {found}"


def test_torch_is_in_no_lock_and_everywhere_the_same():
    assert not [name for name in NAMES if "torch" in pins(name)]
    wanted = next(line for line in PROJECT["optional-dependencies"]["training"] if line.startswith("torch=="))
    for other in ("Dockerfile", "scripts/environment.py"):
        assert wanted in (ROOT / other).read_text(encoding="utf-8"), f"{other} installs another torch"


def test_one_version_in_every_set():
    everything = pins("development")
    for name in ("serving", "training"):
        assert {key: everything.get(key) for key in pins(name)} == pins(name)


def test_label_studio_is_locked_at_the_release_that_is_asked_for():
    assert (
        f"label-studio=={pins('label-studio')['label-studio']}" in (ROOT / "requirements/label-studio.in").read_text()
    )


def test_the_trainer_of_parler_demands_the_versions_that_are_locked():
    assert {name: pins("parler")[name] for name in parler_library.VERSIONS} == parler_library.VERSIONS


def test_the_codec_packages_that_do_not_import_are_in_no_lock():
    assert not [name for name in NAMES if {"descript-audio-codec-unofficial", "torchaudio"} & set(pins(name))]
