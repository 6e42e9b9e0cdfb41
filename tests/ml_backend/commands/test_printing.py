"""Tables and lines: whole names whatever the terminal, one row a line, nothing read as markup."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from ml_backend.commands import printing

ROOT = Path(__file__).resolve().parents[3]
NAME = "a-model-version-with-a-name-that-is-longer-than-any-narrow-terminal-44e83820"
PROSE = "a reason of many words that may go on below itself where somebody looks at it on a terminal"


@pytest.mark.parametrize("columns", ["20", "40", "80", "300"])
def test_a_row_is_a_line_and_no_name_is_cut_or_wrapped_in_a_pipe(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    printing.table(("version", "rows", "why"), [(NAME, "1,234", PROSE), ("b", "5", "")], right=("rows",))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"{NAME}  1,234  {PROSE}"
    assert lines[2] == "b".ljust(len(NAME)) + "      5"
    assert len(lines) == 3


def on_terminal(monkeypatch, width):
    seen = io.StringIO()
    monkeypatch.setattr(
        printing, "console",
        lambda **kwargs: Console(file=seen, force_terminal=True, width=width, soft_wrap=True, no_color=True,
                                 highlight=False, markup=False, color_system=None),
    )  # fmt: skip
    return seen


def test_on_a_terminal_only_the_last_columns_prose_goes_on_below_itself_at_words(monkeypatch):
    seen = on_terminal(monkeypatch, 60)
    printing.table(("version", "why"), [("kaan-tiny-44e83820", PROSE)])
    _, first, *more = seen.getvalue().splitlines()
    assert first.startswith("kaan-tiny-44e83820  a reason")
    assert more
    assert all(line.startswith(" " * 20) and len(line) <= 60 for line in more)
    assert " ".join([first[20:], *(line.strip() for line in more)]) == PROSE


def test_on_a_terminal_too_narrow_for_that_the_row_stays_one_line(monkeypatch):
    seen = on_terminal(monkeypatch, 30)
    printing.table(("version", "why"), [(NAME, PROSE)])
    assert f"{NAME}  {PROSE}" in seen.getvalue().splitlines()


def test_foreign_text_is_no_markup_no_emoji_and_no_control_character(capsys):
    for text in ("[bold]x[/bold] [code-7] :smile:", "[/]"):
        printing.say(text)
        printing.fact("title", text)
        printing.table(("a",), [(text,)])
        assert capsys.readouterr().out.count(text) == 3
    printing.table(("a", "b"), [("one\ntwo", "\x1b[31mred")])
    assert capsys.readouterr().out.splitlines()[1] == "one two  \\u001b[31mred"


def test_columns_of_devanagari_stand_under_each_other(capsys):
    printing.table(("a", "b"), [("नमस्ते", "x"), ("name", "y")])
    from rich.cells import cell_len

    _, one, other = capsys.readouterr().out.splitlines()
    assert cell_len(one[: one.index("x")]) == cell_len(other[: other.index("y")])


@pytest.mark.parametrize(
    ("mine", "on_the_path", "typed"),
    [
        ("{here}/.venv/bin/python", "/usr/bin/python", ".venv/bin/python"),
        ("{here}/.venv/bin/python", None, ".venv/bin/python"),
        ("{here}/.venv/bin/python3.11", "{here}/.venv/bin/python", "python"),
        ("/opt/kaan/bin/python", "/opt/kaan/bin/python", "python"),
        ("/opt/my kaan/bin/python", "/usr/bin/python", "'/opt/my kaan/bin/python'"),
        ("", "/usr/bin/python", "python"),
    ],
)
def test_a_printed_command_names_the_python_that_has_the_packages(mine, on_the_path, typed, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(printing.sys, "executable", mine.format(here=tmp_path))
    monkeypatch.setattr(printing.shutil, "which", lambda name: on_the_path and on_the_path.format(here=tmp_path))
    monkeypatch.setattr(printing, "SETTINGS_FILE", "")
    step = "Run `python -m ml_backend db upgrade`, or `python -m ml_backend status`."
    assert printing.runnable(step) == step.replace("python", typed)
    monkeypatch.setattr(printing, "SETTINGS_FILE", "data/demo.env")
    assert f"`{typed} -m ml_backend --env-file data/demo.env status`" in printing.runnable(step)
    whole = "Use .venv/bin/python -m ml_backend --env-file x.env status."
    assert printing.runnable(whole) == whole


def test_a_python_without_the_packages_says_which_one_has_them():
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import runpy, sys; sys.path.insert(0, sys.argv[1]); "
         "runpy.run_module('ml_backend', run_name='__main__')", str(ROOT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "has no typer, which Kaan needs. [not-installed]" in done.stderr
    assert "`.venv/bin/python -m ml_backend`" in done.stderr
