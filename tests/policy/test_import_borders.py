"""Import rules (design §2): `_wsgi` -> `model` -> kernel; `sync` and `training` -> kernel, never each other."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.policy.source import ENTRIES, ROOT, imports, module_name, product, tracked, tree

MAY_IMPORT = {
    "ml_backend": {"ml_backend"},
    "sync": {"ml_backend", "sync"},
    "training": {"ml_backend", "training"},
    "model": {"ml_backend"},
    "_wsgi": {"ml_backend", "model"},
}


def test_the_contracts_of_import_linter_are_kept():
    """In a process of its own: import-linter switches off every logger that exists in the one it runs in."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_part_imports_only_what_is_below_it():
    """Looser than import-linter in nothing, and it knows the two single files."""
    wrong = [
        f"{found.file}:{found.line} imports {found.module}"
        for name in product()
        for found in imports(name)
        if found.top in MAY_IMPORT and found.top not in MAY_IMPORT[module_name(name).partition(".")[0]]
    ]
    assert not wrong


def test_nobody_imports_the_web_entry():
    importers = [
        name
        for name in tracked()
        if name.endswith(".py") and name != "_wsgi.py"
        for found in imports(name)
        if found.top == "_wsgi"
    ]
    assert not importers


def test_product_code_never_imports_tests_or_benchmarks():
    wrong = [found for name in product() for found in imports(name) if found.top in ("tests", "bench", "scripts")]
    assert not wrong


@pytest.mark.parametrize("name", [name for name in product() if name.endswith("__init__.py")])
def test_an_init_file_is_only_a_docstring(name):
    assert ast.get_docstring(tree(name)), f"{name} says what the package is"
    assert len(tree(name).body) == 1, f"{name} holds code: import the module you mean"


def test_both_entries_exist():
    assert not [name for name in ENTRIES if not (ROOT / name).is_file()]
