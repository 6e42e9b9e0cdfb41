"""No command ends in a traceback: a sentence, a code, and where the details are."""

import re

import pytest

from ml_backend import unexpected_errors
from ml_backend.commands import command_line
from ml_backend.errors import RetryableError


@pytest.fixture
def breaking(monkeypatch, tmp_path):
    """`breaking(error)`: the command `db version` raises it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))

    def breaks(error):
        def load(self):
            raise error

        from ml_backend import db

        monkeypatch.setattr(db.Database, "schema_version", load)
        return command_line.main(["db", "version"])

    return breaks


def test_an_unforeseen_exception_is_a_sentence_with_a_code_and_the_file_that_has_the_rest(breaking, capsys, tmp_path):
    assert breaking(ZeroDivisionError("call of +91 00000 00101 with password")) == 1
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "error: Something unforeseen went wrong (ZeroDivisionError). [unexpected-error]",
        f"       The details are in {tmp_path / 'data' / 'errors.log'}; please report them.",
    ]
    kept = tmp_path / "data" / unexpected_errors.FILE
    assert "Traceback" in kept.read_text()
    assert "00000 00101" not in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/somewhere/kaan.tar"), "Permission denied: /somewhere/kaan.tar"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "needs the training set, and torch is not"),
        (ModuleNotFoundError("No module named 'pyarrow.lib'", name="pyarrow.lib"), "serving set, and pyarrow is not"),
        (RetryableError("a-code", "A sentence.", "A step."), "A sentence. [a-code]"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "why"), "UnicodeDecodeError"),
        (RecursionError("too deep"), "RecursionError"),
    ],
)
def test_whatever_is_raised_there_is_no_traceback_and_a_code(breaking, capsys, error, said):
    assert breaking(error) in (1, 2)
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert said in printed.err
    assert re.search(r"\[[a-z-]+\]$", printed.err.splitlines()[0])


def test_a_name_the_terminal_has_no_letters_for_does_not_end_a_command(tmp_path):
    import os
    import subprocess
    import sys
    from pathlib import Path

    done = subprocess.run(
        [sys.executable, "-m", "ml_backend", "transcribe", b"\xff\xe0.wav", "नमस्ते.wav"],
        cwd=Path(__file__).parents[2], capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "DATA_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert done.stderr.count(b".wav") >= 2


def test_ctrl_c_is_no_traceback_either(breaking, capsys):
    assert breaking(KeyboardInterrupt()) in (1, 130)
    assert "Traceback" not in capsys.readouterr().err


def test_where_nothing_can_be_written_the_sentence_still_comes(breaking, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(unexpected_errors, "_folder", lambda: tmp_path / "file" / "below")
    (tmp_path / "file").write_text("a file in the way")
    assert breaking(ZeroDivisionError()) == 1
    assert "could not be written anywhere" in capsys.readouterr().err
