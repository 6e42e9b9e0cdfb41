"""The source -> codes with their sentences: what only the code knows, read from its syntax trees."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("ml_backend", "sync", "training")
KEBAB = re.compile(r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")


@dataclass(frozen=True)
class Said:
    """A code with its sentence and next step, as written in the source; `x` stands for what is filled in."""

    code: str
    sentence: str
    next_step: str
    branch: str  # the class of error; empty for a reason that a row keeps


@cache
def product() -> tuple[tuple[str, ast.Module], ...]:
    """(name, syntax tree) of every file that runs in production."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return tuple((str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


def literal(node: ast.AST | None, names: Mapping[str, str] = MappingProxyType({})) -> str:
    """The text of a constant, of a name in `names` or of an f-string, holes as an ellipsis; empty for anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return literal(node.left, names) + literal(node.right, names)
    if isinstance(node, ast.IfExp):
        return literal(node.body, names)
    return ""


@cache
def said() -> tuple[Said, ...]:
    """Every code that stands beside a sentence: errors by their class, everything else as a reason."""
    from ml_backend import errors

    kinds = {name: each for name, each in vars(errors).items() if inspect.isclass(each)}
    found = []
    for path, tree in product():
        if path == "ml_backend/errors.py":
            continue
        names = _constants(tree)
        for node in ast.walk(tree):
            branch = name if (name := called(node)) in kinds else ""
            if isinstance(node, ast.Call) and branch:
                given = dict(zip(("code", "sentence", "next_step"), node.args, strict=False))
                given |= {each.arg: each.value for each in node.keywords if each.arg}
            elif isinstance(node, ast.Call | ast.Tuple):
                given = _beside(node.args if isinstance(node, ast.Call) else node.elts, names)
            else:
                continue
            word = literal(given.get("code"), names)
            sentence, step = literal(given.get("sentence"), names), literal(given.get("next_step"), names)
            if KEBAB.match(word.replace("…", "x")) and (branch or ("-" in word and is_sentence(sentence))):
                found.append(Said(word, sentence, step, branch))
    return tuple(found)


def called(node: ast.AST) -> str:
    """The name of what a call calls; empty for anything else."""
    function = getattr(node, "func", None)
    return str(getattr(function, "attr", getattr(function, "id", "")))


def _constants(tree: ast.Module) -> dict[str, str]:
    """Names of a module that stand for a text."""
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found[target.id] = literal(node.value)
                elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = zip(target.elts, node.value.elts, strict=False)
                    found |= {each.id: literal(value) for each, value in pairs if isinstance(each, ast.Name)}
    return found


def _beside(nodes: list[ast.expr], names: Mapping[str, str]) -> dict[str, ast.expr]:
    """The first two neighbours of which the second is a sentence."""
    for first, second in itertools.pairwise(nodes):
        if is_sentence(literal(second, names)):
            return {"code": first, "sentence": second}
    return {}


def is_sentence(text: str) -> bool:
    return bool(re.match(r"^[A-Z…].* .*[.…]$", text, re.DOTALL))
