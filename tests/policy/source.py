"""The tree as data: which files there are, what they import, what they raise. Everything here only reads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("ml_backend", "sync", "training")
ENTRIES = ("model.py", "_wsgi.py")


@dataclass(frozen=True)
class Import:
    """`module` is imported (or looked at) by `file`, at `line`."""

    file: str
    line: int
    module: str

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


@cache
def tracked() -> tuple[str, ...]:
    """Every file of the project, relative: what git has or would add. Without git, whatever is not hidden."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    names = listing.stdout.splitlines() if listing.returncode == 0 else []
    if not names:
        found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
        names = [str(path) for path in found if not any(part[0] == "." and part != ".ci" for part in path.parts[:-1])]
    return tuple(sorted(name for name in names if (ROOT / name).is_file()))


def product() -> list[str]:
    """The Python files that run in production."""
    return [
        name
        for name in tracked()
        if name.endswith(".py") and (name in ENTRIES or name.split("/")[0] in PACKAGES)
    ]  # fmt: skip


@cache
def tree(name: str) -> ast.Module:
    """One file's syntax tree."""
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), filename=name)


def module_name(name: str) -> str:
    """`ml_backend/api/__init__.py` -> `ml_backend.api`."""
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def modules() -> list[str]:
    """Dotted names of everything that can be imported, leaving migrations (Alembic runs those) and `__main__` out."""
    names = [module_name(name) for name in product()]
    return [name for name in names if ".migrations." not in name and not name.endswith("__main__")]


def imports(name: str) -> Iterator[Import]:
    """Every import in a file, those inside functions too. Relative ones are made absolute."""
    package = module_name(name) if name.endswith("__init__.py") else module_name(name).rpartition(".")[0]
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(name, node.lineno, f"{module}.{alias.name}")


def third_party(name: str) -> Iterator[Import]:
    """Imports of what is neither the standard library's nor ours."""
    ours = {*PACKAGES, "model", "_wsgi", "tests", "bench", "scripts", "__future__"}
    for found in imports(name):
        if found.top not in ours and found.top not in sys.stdlib_module_names:
            yield found
