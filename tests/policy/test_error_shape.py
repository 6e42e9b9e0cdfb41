"""Every error a person can meet has a code that stays, a plain sentence and a next step."""

import ast
import re
from collections import defaultdict

from ml_backend import errors
from tests.policy.source import product, tree

KINDS = {
    name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.KaanError)
}
CODE = re.compile(r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")


def raised():
    """(where, arguments) of every error of ours that the source makes."""
    for name in product():
        for node in ast.walk(tree(name)):
            if not isinstance(node, ast.Call) or name == "ml_backend/errors.py":
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in KINDS:
                given = dict(zip(("code", "sentence", "next_step"), node.args, strict=False))
                given |= {each.arg: each.value for each in node.keywords if each.arg}
                starred = any(isinstance(each, ast.Starred) for each in node.args)
                yield f"{name}:{node.lineno}", given, starred


def literal(node):
    """The text of a constant or of an f-string with its holes shown as `x`; None for anything computed."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
    return None


def test_every_error_has_a_kebab_case_code():
    wrong = [
        f"{where}: {literal(given['code'])!r}"
        for where, given, _ in raised()
        if "code" in given and literal(given["code"]) is not None and not CODE.match(literal(given["code"]))
    ]
    assert not wrong


def test_every_error_has_a_sentence_and_a_next_step():
    lacking = [
        where
        for where, given, starred in raised()
        if not starred
        and not all(each in given and literal(given[each]) != "" for each in ("code", "sentence", "next_step"))
    ]
    assert not lacking, f"say what went wrong and what to do now: {lacking}"


def test_no_error_speaks_python_to_people():
    parts = ((where, literal(node) or "") for where, given, _ in raised() for node in given.values())
    assert not [f"{where}: {text[:60]!r}" for where, text in parts if re.search(r"Traceback|Exception|\bNone\b", text)]


def test_a_code_belongs_to_one_branch_of_the_tree():
    """The branch says what to do, so the same code cannot be worth retrying here and hopeless there."""
    branches = defaultdict(set)
    for name in product():
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in KINDS and node.args:
                code = literal(node.args[0])
                if code and "x" not in code.split("-"):
                    kind = getattr(errors, node.func.id)
                    branches[code].add("retry" if issubclass(kind, errors.RetryableError) else "no")
    assert not {code: found for code, found in branches.items() if len(found) > 1}


def test_an_error_survives_a_trip_through_pickle():
    """Worker processes and the decoder's child hand them over."""
    import pickle

    for name in sorted(KINDS):
        made = getattr(errors, name)("a-code", "A sentence.", "A step.")
        back = pickle.loads(pickle.dumps(made))  # noqa: S301
        assert (type(back), back.code, back.sentence, back.next_step) == (
            type(made),
            "a-code",
            "A sentence.",
            "A step.",
        )


TEXTS = {"error", "next_step", "note", "reason", "sentence", "text", "title", "why"}


def texts():
    """(where, expression) of everything that is given to a column, an argument or a name that holds a sentence."""
    for name in product():
        for node in ast.walk(tree(name)):
            if (isinstance(node, ast.keyword) and node.arg in TEXTS) or (
                isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in TEXTS
            ):
                yield name, node.value
            elif isinstance(node, ast.Dict):
                yield from ((name, value) for key, value in zip(node.keys, node.values, strict=True) if said_in(key))
    for where, given, _ in raised():
        yield from ((where, part) for node in given.values() for part in ast.walk(node) if is_foreign_line(part))


def said_in(key):
    return isinstance(key, ast.Constant) and key.value in TEXTS


def is_foreign_line(node):
    """What another program said, inside a sentence of ours."""
    return isinstance(node, ast.FormattedValue) and re.search(r"splitlines|\berror\b", ast.unparse(node))


def is_cut(node):
    """`x[:200]`, `x[:MOST]`; not `x[1:200]`, and not the first digits of a digest."""
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Slice) or node.slice.lower:
        return False
    upper = node.slice.upper
    number = (isinstance(upper, ast.Constant) and upper.value > 1) or (
        isinstance(upper, ast.Name) and upper.id.isupper()
    )
    return number and not re.search(r"sha256|hexdigest|uuid", ast.unparse(node))


def test_no_sentence_is_cut_inside_a_word():
    cut = {
        f"{where}:{part.lineno}: {ast.unparse(part)}"
        for where, node in texts()
        for part in ast.walk(node)
        if is_cut(part)
    }
    assert not cut, f"use quantities.shortened, which ends at a word and says so: {sorted(cut)}"
