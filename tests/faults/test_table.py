"""The table of faults is complete, what it names exists, and no fail point stands in the product without a test."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
from collections.abc import Iterator
from importlib.util import find_spec
from inspect import Parameter
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
    gone = [where for where, owner, name, _ in _replacements() if not _has(owner, name)]
    assert gone == []


def test_every_name_that_a_removal_uses_is_there():
    """Else a test fails because its removal does, whether or not the guard was needed."""
    gone = [
        f"{file}: {function.name} uses {ast.unparse(node)}"
        for file, function in _removals()
        for known in [_Known(function)]
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
        for owner in [known.value_of(node.value)]
        if (inspect.ismodule(owner) or inspect.isclass(owner)) and not _has(owner, node.attr)
    ]
    texts = {
        node.value
        for _, function in _removals()
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "_decoder"
        for node in ast.walk(call)
        if isinstance(node, ast.Constant)
    }
    gone += [
        f"{name}.{attribute} in the decoder's program"
        for text in sorted(texts)
        for name, attribute in re.findall(r"\b([a-z_]+)\.([A-Za-z_]\w*)", text)
        if find_spec(f"ml_backend.audio.{name}") and not hasattr(guards.module(f"ml_backend.audio.{name}"), attribute)
    ]
    assert gone == []


def test_every_removal_can_be_called_as_what_it_replaces():
    """Else a test fails because the call does, whether or not the guard was needed."""
    broken = [
        where
        for where, owner, name, replacement in _replacements()
        if isinstance(replacement, ast.Lambda | ast.FunctionDef) and inspect.isfunction(getattr(owner, name, None))
        if not _takes_the_same(replacement.args, inspect.signature(getattr(owner, name)))
    ]
    assert broken == []


def _has(owner: Any, name: str) -> bool:
    return hasattr(owner, name) or (inspect.ismodule(owner) and hasattr(builtins, name))


def _takes_the_same(mine: ast.arguments, theirs: inspect.Signature) -> bool:
    kinds = [parameter.kind for parameter in theirs.parameters.values()]
    named = {each.arg for each in (*mine.posonlyargs, *mine.args, *mine.kwonlyargs)}
    by_place = [kind for kind in kinds if kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    by_name = {each.name for each in theirs.parameters.values() if each.kind is Parameter.KEYWORD_ONLY}
    needed = len(mine.posonlyargs) + len(mine.args) - len(mine.defaults)
    return (
        (bool(mine.vararg or mine.kwarg) or len(mine.posonlyargs) + len(mine.args) >= len(by_place))
        and (mine.kwarg is not None or by_name <= named)
        and (needed <= len(by_place) or Parameter.VAR_POSITIONAL in kinds)
    )


class _Known:
    """The modules and classes that names of a removal stand for."""

    def __init__(self, function: ast.FunctionDef) -> None:
        self.names: dict[str, Any] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name | ast.Tuple):
                targets, values = ([getattr(each, "elts", [each])] for each in (node.targets[0], node.value))
                pairs = zip(*targets, *values, strict=False)
                self.names |= {ast.unparse(name): self.value_of(value) for name, value in pairs}

    def value_of(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Attribute):
            return getattr(self.value_of(node.value), node.attr, None)
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        named = isinstance(node, ast.Call) and ast.unparse(node.func) == "module"
        path = node.args[0] if named else None  # type: ignore[attr-defined]
        return importlib.import_module(path.value) if isinstance(path, ast.Constant) else None


def _removals() -> Iterator[tuple[str, ast.FunctionDef]]:
    for file in sorted(Path(guards.__file__).parent.glob("guards*.py")):
        for function in ast.parse(file.read_text()).body:
            if isinstance(function, ast.FunctionDef) and function.decorator_list:
                yield file.name, function


def _replacements() -> Iterator[tuple[str, Any, str, ast.AST | None]]:
    """(where, module or class, name, what stands there afterwards) of everything that removals set."""
    for file, function in _removals():
        known = _Known(function)
        local = {node.name: node for node in ast.walk(function) if isinstance(node, ast.FunctionDef)}
        for node in ast.walk(function):
            found = []
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "_set":
                path, name = (ast.literal_eval(each) for each in node.args[:2])
                found = [(importlib.import_module(path), name, node.args[2])]
            elif isinstance(node, ast.Assign):
                targets = [target for target in node.targets if isinstance(target, ast.Attribute)]
                found = [(known.value_of(target.value), target.attr, node.value) for target in targets]
            for owner, name, value in found:
                if owner is not None:
                    replacement = local.get(value.id) if isinstance(value, ast.Name) else value
                    yield f"{file}: {function.name} sets {name}", owner, name, replacement
