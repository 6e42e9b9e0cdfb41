"""Every command has help with an example, the reference shows all of it, and no document shows what does not exist."""

import re

import pytest

from ml_backend.commands import command_line
from scripts import reference_pages
from tests.policy.source import ROOT

PROGRAM = "python -m ml_backend"


def every_command():
    return list(reference_pages.every_command())


def pages():
    """(name, text) of every document, with its generated tables."""
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))):
        yield str(path.relative_to(ROOT)), reference_pages.fill(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_the_command_can_be_loaded(name):
    assert command_line.load(name) is not None


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


def test_the_reference_shows_every_command_with_its_options():
    text = dict(pages())["docs/reference/commands.md"]
    missing = []
    for words, command in every_command():
        options = {each for one in command.params if not getattr(one, "hidden", False) for each in one.opts}
        shown = [f"`{each}`" for each in options - {"--help"} if each.startswith("--")]
        wanted = (f"{{ #{words.replace(' ', '-')} }}", f"{PROGRAM} {words}", *shown)
        missing += [f"{words}: {each}" for each in wanted if each not in text]
    assert not missing


@pytest.mark.parametrize(("name", "text"), list(pages()), ids=lambda value: value if value.endswith(".md") else "")
def test_a_document_shows_no_command_or_option_that_does_not_exist(name, text):
    known = dict(every_command())
    wrong = []
    for line in re.findall(rf"{re.escape(PROGRAM)} ([^\n`|#]+)", text):
        words = line.split()
        matching = [each for each in known if words[: len(each.split())] == each.split()]
        if not matching and not words[0].startswith(("-", "COMMAND", "…", "...")):
            wrong.append(line.strip())
            continue
        for each in matching:
            options = {option for one in known[each].params for option in (*one.opts, *one.secondary_opts)}
            wrong += [f"{each}: {word}" for word in words if re.match(r"--\w", word)
                      and word.partition("=")[0] not in options | {"--help", "--env-file"}]  # fmt: skip
    assert not wrong


def test_every_make_target_in_the_documents_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name, text in pages():
        assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets, name
