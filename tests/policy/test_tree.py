"""The tree is the table of contents: rooms of few files, names of their own, nothing that must not be published."""

import ast
import re
import subprocess
import tomllib
from collections import Counter
from importlib import metadata
from pathlib import PurePath

import pytest

from tests.policy.source import PACKAGES, ROOT, product, tracked, tree

MOST_FILES = 16  # of one room; `__init__` and `__main__` not counted
MOST_LINES = 500
LONG = {
    "ml_backend/api/answers.py": "what every route of calls, annotations and operators answers, in one document",
    "ml_backend/settings.py": "every setting, in the order of the reference",
    "ml_backend/tables.py": "the data model is read in one piece",
}
LEAST_LINES = 40
SHORT = {
    "ml_backend/api/live/live_admission.py": "the web process loads it, and no numpy with it",
    "_wsgi.py": "the name that gunicorn is given",
    "ml_backend/api/annotation_routes.py": "the routes of one resource",
    "ml_backend/api/voice_routes.py": "the routes of one resource",
    "ml_backend/asr/request.py": "below both the engine and the pool, which would import each other",
    "ml_backend/calls/consent.py": "the one place that says what a purpose allows",
    "ml_backend/commands/demo/leash.py": "runs alone, in a process that imports nothing of ours",
    "ml_backend/commands/db.py": "a command",
    "ml_backend/commands/relay.py": "a command",
    "ml_backend/monitoring/metric_values.py": "between the rooms that know tables and the one door to the library",
    "ml_backend/jobs/failpoints.py": "imported by whatever the fault tests stop",
    "ml_backend/tts/length_regulator.py": "between the two halves of the network, for engine and trainer",
    "ml_backend/storage/configured_store.py": "above both stores, which stay unaware of each other",
    "sync/commands/sync.py": "a command",
    "training/runs/workload.py": "pure, and below the trainers that must load without torch",
    "training/text/distance.py": "the only door to the library that measures edits",
    "training/trainers/asr/features.py": "the only place where a trainer makes features",
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "misc", "core", "lib", "manager"}
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".yml",
    ".yaml",
    ".sh",
    ".xml",
    ".html",
    ".txt",
    ".in",
    ".lock",
    ".json",
    ".example",
    ".mako",
}
NAMES_WITHOUT_SUFFIX = {"Makefile", "Dockerfile", "LICENSE", ".gitignore", ".dockerignore", "run"}


def texts():
    """(name, text) of every file that people wrote; recorded payloads and the licence are what they are."""
    for name in tracked():
        path = PurePath(name)
        if name.startswith(("tests/fixtures/", "bench/results")) or name == "LICENSE":
            continue
        if path.suffix in TEXT or path.name in NAMES_WITHOUT_SUFFIX:
            yield name, (ROOT / name).read_text(encoding="utf-8")


def lengths():
    """(name, lines) of every file of the product but `__init__`, `__main__` and migrations."""
    for name in product():
        if PurePath(name).name not in ("__init__.py", "__main__.py") and "migrations/" not in name:
            yield name, len((ROOT / name).read_text(encoding="utf-8").splitlines())


def test_no_room_is_too_broad_to_be_read_at_a_glance():
    rooms = Counter(str(PurePath(name).parent) for name, _ in lengths())
    assert not {room: files for room, files in rooms.items() if files > MOST_FILES}, "find the second noun in it"


def test_a_file_is_one_noun_neither_a_volume_nor_a_crumb():
    found = dict(lengths())
    assert not {name: lines for name, lines in found.items() if lines > MOST_LINES and name not in LONG}
    assert not {name: lines for name, lines in found.items() if lines < LEAST_LINES and name not in SHORT}
    assert not [name for name in LONG if found.get(name, 0) <= MOST_LINES], "LONG lists files that are short now"
    assert not [name for name in SHORT if found.get(name, LEAST_LINES) >= LEAST_LINES], "SHORT lists files that grew"


def test_no_two_files_and_no_two_classes_have_one_name():
    """Commands are named as people type them, so their names may be those of nouns."""
    files = Counter(PurePath(name).name for name, _ in lengths() if "commands/" not in name)
    assert not [name for name, times in files.items() if times > 1]
    classes = Counter(
        node.name
        for name in product()
        for node in tree(name).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not [name for name, times in classes.items() if times > 1]


def test_names_say_what_is_inside():
    vague = [
        name
        for name in tracked()
        if name.endswith(".py")
        for part in PurePath(name).with_suffix("").parts
        if part in VAGUE
    ]
    assert not vague


def test_every_package_is_listed_for_packaging():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    assert listed == {str(PurePath(name).parent).replace("/", ".") for name in product() if "/" in name}


def test_the_application_cannot_be_published_by_mistake():
    assert "Private :: Do Not Upload" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]


@pytest.mark.parametrize("name", [*PACKAGES, "model", "_wsgi"])
def test_a_top_level_name_has_no_second_owner_on_the_path(name):
    """`sync`, `training` and `model` are generic: an installed package of that name would hide ours."""
    owners = [
        f"{found.metadata['Name']}: {path}"
        for found in metadata.distributions()
        for path in found.files or ()
        if path.parts and PurePath(path.parts[0]).stem == name and path.suffix in (".py", ".so")
        and found.metadata["Name"].lower() != "kaan"
    ]  # fmt: skip
    assert not owners


def test_nothing_names_a_machine_or_a_package_index():
    """Paths of somebody's disk and index addresses work for one person only."""
    places = re.compile(
        r"(?<![\w./])/(root|home|work|tmp)/\w|[A-Z]:\\\\Users"
        r"|pypi\.org|pythonhosted|extra-index-url|find-links(?! )",
    )
    found = [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in texts()
        if not name.startswith("tests/policy/")
        for number, line in enumerate(text.splitlines(), 1)
        if places.search(line) and not (name == "requirements/lock.sh" and "--no-emit" in line)
    ]
    assert not found


def test_no_telephone_number_but_a_fictitious_one():
    """Ten digits that could be somebody's mobile; fixtures use numbers that begin with zeros."""
    number = re.compile(r"(?<![\w.:/=-])(?:\+?91[ -]?|0)?[6-9]\d{4}[ -]?\d{5}(?![\w.-])")
    found = [
        f"{name}: {hit.group()}"
        for name, text in texts()
        if not name.endswith(".lock")
        for hit in number.finditer(text)
    ]  # fmt: skip
    assert not found


def test_no_secret_is_in_the_tree():
    shapes = re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30,}|hf_[A-Za-z0-9]{30,}"
    )
    assert not [name for name, text in texts() if shapes.search(text)]


def test_shell_scripts_parse():
    scripts = [name for name in tracked() if name.endswith(".sh") or name == ".ci/run"]
    assert scripts
    for name in scripts:
        first = (ROOT / name).read_text().splitlines()[0]
        shell = "bash" if "bash" in first else "sh"
        done = subprocess.run([shell, "-n", str(ROOT / name)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_licence_is_there_in_full():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
