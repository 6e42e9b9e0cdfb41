"""The pages that draw the state machines and walk through the code say what the code says."""

import ast
import re

import pytest

from ml_backend.calls.states import STATES
from tests.policy.source import ROOT, product, tree

PLACE = re.compile(r"`([\w/]+\.py):(\w+)`")
MOVE = re.compile(r"^\| (\S+(?: \S+)?) \| `([\w -]+)` \| `([\w/]+\.py):(\w+)` \|$", re.MULTILINE)
TABLES = {"Recording": "recordings", "Task": "tasks", "Job": "jobs", "Training run": "runs"}
WRITERS = {"jobs": ("ml_backend/jobs/leases.py", "_write"), "runs": ("training/runs/execution.py", "_note")}


def page(name):
    return (ROOT / "docs" / "explanation" / name).read_text(encoding="utf-8")


def machines():
    """heading -> (states named in its table of moves, its text)."""
    parts = re.split(r"^## ", page("states.md"), flags=re.MULTILINE)[1:]
    return {
        part.partition("\n")[0]: (
            {state for before, after, *_ in MOVE.findall(part) for state in (before.strip("`"), after)}
            - {"*new*", "*any*"},
            part,
        )
        for part in parts
    }


def listed(table):
    """The states that the comment above a table lists."""
    text = (ROOT / "ml_backend" / "tables.py").read_text(encoding="utf-8")
    comment = re.search(rf"((?:^#[^\n]*\n)+){table} = Table\(", text, re.MULTILINE).group(1)
    sentence = re.search(r"state: (.*?)\.(?:\s|$)", comment.replace("\n# ", " "), re.DOTALL).group(1)
    return {each.strip() for each in re.sub(r"\([^)]*\)", "", sentence).split(",")}


def functions(file):
    return {node.name: node for node in ast.walk(tree(file)) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", ["states.md", "walks.md"])
def test_every_function_that_a_page_names_exists(name):
    places = PLACE.findall(page(name))
    assert len(places) > 30
    assert not [f"{file}:{function}" for file, function in places if function not in functions(file)]


@pytest.mark.parametrize(("heading", "table"), TABLES.items())
def test_a_state_machine_has_the_states_of_its_table(heading, table):
    assert machines()[heading][0] == listed(table)


def test_a_call_has_the_states_that_the_code_gives_it():
    assert machines()["Call"][0] == set(STATES)


def test_a_diagram_shows_every_state_of_its_table_of_moves():
    for heading, (states, text) in machines().items():
        diagram = text.split("```")[1]
        assert not [state for state in states if state not in diagram], heading


@pytest.mark.parametrize(("heading", "table"), TABLES.items())
def test_a_function_that_writes_a_state_is_in_the_table_of_moves(heading, table):
    """`db.update(connection, tasks, …, state=…)` and `sa.update(tasks)….values(state=…)` with a literal state."""
    written = {(state, file, function) for file in product() for state, function in _writes(file, table)}
    assert written
    known = {after for _, after, *_ in MOVE.findall(machines()[heading][1])}
    assert not {state for state, *_ in written} - known


def _writes(file, table):
    for function in functions(file).values():
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            named = [ast.unparse(node) for node in (*call.args, *ast.walk(call.func)) if isinstance(node, ast.expr)]
            about = any(name.endswith(table) for name in named) or WRITERS.get(table) == (file, named[len(call.args)])
            for keyword in call.keywords:
                if about and keyword.arg == "state" and isinstance(keyword.value, ast.Constant):
                    yield keyword.value.value, function.name
