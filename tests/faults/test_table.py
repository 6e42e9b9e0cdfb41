"""The table of faults is complete, what it names exists, and no fail point stands in the product without a test."""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults.guards import guards
from tests.faults.tables import table

PRODUCT = ("ml_backend", "sync", "training")


def test_every_fault_is_met_by_a_test_or_said_not_to_be():
    missing = [number for number in table.NUMBERS if not table.here().get(number) and number not in table.TABLE]
    assert missing == sorted(table.UNMET)


def test_every_test_the_table_names_exists():
    for test in table.elsewhere():
        file, _, rest = test.partition("::")
        names = [each.partition("[")[0] for each in rest.split("::")]
        body = ast.parse((table.ROOT / file).read_text()).body
        for name in names:
            found = [node for node in body if getattr(node, "name", "") == name]
            assert found, test
            body = getattr(found[0], "body", [])


def test_every_guard_is_proven_by_a_test_that_names_it():
    assert {guard for _, _, guard in table.guarded()} == set(guards.removals())


def test_every_test_of_a_fault_has_a_guard_or_a_reason_why_nothing_of_ours_can_be_taken_away():
    guarded = {test for _, test, _ in table.guarded()}
    everything = {*table.elsewhere(), *(test for tests in table.here().values() for test in tests)}
    assert sorted(everything - guarded) == sorted(table.NOBODY_GUARDS)
    assert all(sentence.endswith(".") for sentence in table.NOBODY_GUARDS.values())


def test_every_fail_point_of_the_product_is_used_by_a_test():
    placed = re.compile(r'failpoints\.hit\("([^"]+)"\)')
    there = {
        name
        for package in PRODUCT
        for file in (table.ROOT / package).rglob("*.py")
        for name in placed.findall(file.read_text())
    }
    used = "\n".join(file.read_text() for file in (table.ROOT / "tests").rglob("*.py"))
    assert not [name for name in sorted(there) if f'"{name}"' not in used]


def test_every_removal_replaces_something_that_is_there():
    """A guard that moved would stay, and its removal would remove nothing."""
    gone = [
        f"{file.name}: {place}"
        for file in sorted(Path(guards.__file__).parent.glob("guards*.py"))
        for function in ast.parse(file.read_text()).body
        if isinstance(function, ast.FunctionDef)
        for place in _not_there(function)
    ]
    assert gone == []


def _not_there(function: ast.FunctionDef) -> Iterator[str]:
    """What a removal sets, and no module or class has."""
    known: dict[str, Any] = {}

    def value_of(node: ast.expr) -> Any:
        if isinstance(node, ast.Attribute):
            return getattr(value_of(node.value), node.attr, None)
        if isinstance(node, ast.Name):
            return known.get(node.id)
        named = isinstance(node, ast.Call) and ast.unparse(node.func) == "module"
        return importlib.import_module(ast.literal_eval(node.args[0])) if named else None  # type: ignore[attr-defined]

    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name | ast.Tuple):
            targets, values = ([getattr(each, "elts", [each])] for each in (node.targets[0], node.value))
            known |= {ast.unparse(name): value_of(value) for name, value in zip(*targets, *values, strict=False)}
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "_set":
            path, name = (ast.literal_eval(each) for each in node.args[:2])
            if not hasattr(importlib.import_module(path), name):
                yield f"{path}.{name}"
        for target in node.targets if isinstance(node, ast.Assign) else ():
            owner = value_of(target.value) if isinstance(target, ast.Attribute) else None
            if owner is not None and not any(hasattr(each, target.attr) for each in (owner, builtins)):
                yield ast.unparse(target)
