"""The command line as a whole: names, help, and how errors look."""

import subprocess
import sys
from pathlib import Path

import pytest

from ml_backend.commands import command_line, printing

ROOT = Path(__file__).resolve().parents[3]


def leaves(name, command=None):
    """Every command that can be called: groups are opened."""
    command = command or command_line.load(name)
    inner = getattr(command, "commands", None)
    if not inner:
        return [(name, command)]
    return [leaf for key, each in inner.items() for leaf in leaves(f"{name} {key}", each)]


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_every_command_can_be_loaded_and_says_what_it_does_with_an_example(name):
    for called, command in leaves(name):
        assert command.help, called
        assert f"Example: python -m ml_backend {called}" in command.help.replace("\n", " "), called


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_help_cuts_no_option_where_the_terminal_is_narrow(name, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERMINAL_WIDTH", "40")
    for called, command in leaves(name):
        assert command_line.main([*called.split(), "--help"]) == 0
        shown = capsys.readouterr().out
        told = [each for each in command.params if not getattr(each, "hidden", False)]
        options = [each for parameter in told for each in parameter.opts if each.startswith("-")]
        assert [each for each in options if each not in shown] == [], called
        assert "…" not in shown, called


def test_help_names_every_command_without_loading_any(capsys):
    assert command_line.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in command_line.COMMANDS)
    probe = (
        "import sys; from ml_backend.commands import command_line; command_line.main(['--help'])\n"
        "slow = {'faster_whisper', 'flask', 'sqlalchemy', 'rq', 'sync'} & set(sys.modules)\n"
        "sys.exit(str(slow) if slow else 0)"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_unknown_command_lists_the_known_ones(capsys):
    assert command_line.main(["transcript"]) == 2
    complaint = capsys.readouterr().err
    assert "There is no command 'transcript'" in complaint
    assert all(name in complaint for name in command_line.COMMANDS)


def test_wrong_settings_are_listed_at_once_and_without_a_traceback(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASR_DEVICE", "abacus")
    monkeypatch.setenv("LABEL_STUDIO_URL", "no address")
    assert command_line.main(["db", "upgrade"]) == 2
    complaint = capsys.readouterr().err
    assert "ASR_DEVICE" in complaint
    assert "LABEL_STUDIO_URL" in complaint
    assert "Traceback" not in complaint


def test_a_settings_file_counts_as_environment_and_the_environment_goes_first(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    here, there = tmp_path / "here", tmp_path / "there"
    (tmp_path / "demo.env").write_text(f"DATA_DIR='{there}'\nLOG_LEVEL=DEBUG\n")
    command = [sys.executable, "-m", "ml_backend", "--env-file", "demo.env", "db", "upgrade"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert (there / "kaan.db").exists()
    subprocess.run(command, env={**environment, "DATA_DIR": str(here)}, check=True, capture_output=True)
    assert (here / "kaan.db").exists()


def test_a_settings_file_that_is_not_there_is_said_so(capsys):
    assert command_line.main(["--env-file", "/nowhere/demo.env", "db", "version"]) == 2
    assert "There is no settings file /nowhere/demo.env" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["doctor"], ["calls", "list"], ["status"]])
def test_a_next_step_names_the_settings_file_that_was_given(command, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(printing, "SETTINGS_FILE", "")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my demo.env").write_text("# nothing else is set\n")
    assert command_line.main(["--env-file", "my demo.env", *command]) != 0
    said = "".join(capsys.readouterr())
    assert "python -m ml_backend --env-file 'my demo.env' db upgrade" in said
    assert "python -m ml_backend db upgrade" not in said
    assert command_line.main(command) != 0
    assert "python -m ml_backend db upgrade" in "".join(capsys.readouterr())
