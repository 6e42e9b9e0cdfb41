"""Every command has help, an example in its help, and an example in the README."""

import re

import click
import pytest

from ml_backend import cli
from tests.policy.source import ROOT

PROGRAM = "python -m ml_backend"


def commands(name, command):
    """(words, command) of a command and of everything below it."""
    if isinstance(command, click.Group) or hasattr(command, "commands"):
        for each, below in command.commands.items():
            yield from commands(f"{name} {each}", below)
    else:
        yield name, command


def every_command():
    for name in cli.COMMANDS:
        yield from commands(name, cli.load(name))


def readme():
    return (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_command_can_be_loaded(name):
    assert cli.load(name) is not None


def test_every_command_has_help_with_an_example():
    wrong = [
        words for words, command in every_command() if not command.help or f"{PROGRAM} {words}" not in command.help
    ]
    assert not wrong, f"no help, or no `Example: {PROGRAM} ...` in it: {wrong}"


def test_every_option_and_argument_says_what_it_is_for():
    silent = [
        f"{words} {each.name}"
        for words, command in every_command()
        for each in command.params
        if each.name != "help" and not getattr(each, "help", None) and not getattr(each, "hidden", False)
    ]
    assert not silent


def test_every_command_has_an_example_in_the_readme():
    text = readme()
    missing = [
        words for words, _ in every_command() if not re.search(rf"{re.escape(PROGRAM)} {re.escape(words)}\b", text)
    ]
    assert not missing


def test_the_readme_shows_no_command_or_option_that_does_not_exist():
    known = dict(every_command())
    wrong = []
    for line in re.findall(rf"{re.escape(PROGRAM)} ([^\n`|#]+)", readme()):
        words = line.split()
        matching = [name for name in known if words[: len(name.split())] == name.split()]
        if not matching and not words[0].startswith(("-", "COMMAND", "…", "...")):
            wrong.append(line.strip())
            continue
        for name in matching:
            options = {option for each in known[name].params for option in (*each.opts, *each.secondary_opts)}
            wrong += [f"{name}: {word}" for word in words if re.match(r"--\w", word)
                      and word.partition("=")[0] not in options | {"--help", "--env-file"}]  # fmt: skip
    assert not wrong


def test_every_make_target_in_the_documents_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md"):
        used = set(re.findall(r"`make ([a-z-]+)", (ROOT / name).read_text(encoding="utf-8")))
        assert used <= targets, name
