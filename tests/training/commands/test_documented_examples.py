"""Every example in a command's help and in a page of the documents, as it stands there, with the serving set only.

The database is as a demo's after some tasks were submitted. Each example does what it says, or ends in a sentence with
a code; what needs the training set says so. Nothing is a traceback, and every name in an example exists.
"""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import packages, tables
from ml_backend.commands import command_line
from ml_backend.models import manifest
from scripts import reference_pages
from tests.ml_backend.test_packages import Without
from tests.training.datasets import speech

ROOT = Path(__file__).parents[3]
PROGRAM = "python -m ml_backend "
SERVE = ("demo", "web", "serve", "relay", "worker")  # they run until they are stopped
ELSEWHERE = ("jiwer", "peft", "sympy")  # neither set, or only asked for by what is in it
TRAIN = [["train", each] for each in ("asr", "nlu", "tts", "resume")]
NEEDS_A_RUN = ("train show 1", "train cancel 1", "train resume 1", "models register --run 1")
NEEDS_AN_EXPERIMENT = ("experiments show try", "experiments stop try")
ABSENT = {  # codes that say that a name in an example is not there, and where that is right
    "no-such-run": NEEDS_A_RUN, "unknown-experiment": NEEDS_AN_EXPERIMENT, "no-such-call": (), "no-such-dataset": (),
    "no-such-model": (), "unknown-model-version": (), "no-such-task": (), "not-attached": (), "no-such-folder": (),
    "no-such-annotation": (), "no-such-project": (), "dataset-unfinished": (), "file-trouble": (),
    "unexpected-error": (),
}  # fmt: skip


def examples():
    """The examples of every command's help, without the program's name; the reference shows these."""
    found = [example for _, each in reference_pages.every_command() for example in reference_pages.examples(each)]
    return sorted((each.removeprefix(PROGRAM) for each in found), key=lambda each: each.startswith("project detach"))


def in_pages():
    """What the pages show beside those; words in capitals stand for something of the reader's."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = [
        shown.strip()
        for page in pages
        for shown in re.findall(rf"{re.escape(PROGRAM)}([^\n`|#]+)", page.read_text(encoding="utf-8"))
    ]
    known = [*examples(), *(name for name, _ in reference_pages.every_command())]
    return [each for each in dict.fromkeys(found) if each not in known and not re.search(r"\b[A-Z]+\b|\.\.\.|<", each)]


def run(example, capsys):
    """(exit code, codes of errors, everything printed)."""
    code = command_line.main(shlex.split(example))
    printed = capsys.readouterr()
    codes = set(re.findall(r"^error: .*\[([a-z-]+)\]$", printed.err, re.MULTILINE))
    return code, codes, printed.out + printed.err


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A demo's data after some tasks were submitted, one of them of the blind audit, and an environment for it."""
    folder = tmp_path_factory.mktemp("demo")
    service = speech.opened(folder)
    spoken = {
        "a": ("hi-refund-sum.wav", [(34, "नमस्ते", {}), (12, "मुझे रिफंड चाहिए", {})]),
        "b": ("en-short-price.mp3", [(13, "how much is it", {"language": "en", "script": "Latn"})]),
        "c": ("hi-wrong-chair.wav", [(14, "कुर्सी", {"blind": True})]),
    }
    for number, (sid, (file, said)) in enumerate(spoken.items(), 1):
        recording = service.call(file, who=speech.caller(number), sid=sid)
        for place, (ls, text, known) in enumerate(said):
            service.sample(recording, 1.0 * place, 1.0 + place, text, ls=ls, **known)
    with service.context.db.transaction() as connection:
        url = "http://127.0.0.1:9"
        ours = {"ls_project_id": 2, "instance_url": url, "state": "attached", "attached_changes": {"steps": []}}
        connection.execute(sa.update(tables.projects).values(**ours))
    patch = pytest.MonkeyPatch()
    chosen = service.context.settings
    environment = {
        "DATA_DIR": folder, "DATABASE_URL": chosen.database, "OBJECT_STORE": chosen.objects, "LABEL_STUDIO_URL": url,
        "LABEL_STUDIO_API_KEY": "7f3c9e61b2d84a05e8f1", "REDIS_URL": "redis://127.0.0.1:9/0", "ASR_BEAM_SIZE": "1",
    }  # fmt: skip
    for name, value in environment.items():
        patch.setenv(name, str(value))
    work = folder / "work"
    work.mkdir()
    (work / "ml_backend").symlink_to(ROOT / "ml_backend")
    (work / "consent.csv").write_text("company_number,purpose,name\n00000000101,training,orders\n")
    patch.chdir(work)
    absent = {*packages.TRAINING_SET, *ELSEWHERE}
    for module in [each for each in sys.modules if each.partition(".")[0] in absent]:
        patch.delitem(sys.modules, module)
    patch.setattr(sys, "meta_path", [Without(*absent), *sys.meta_path])
    yield service
    patch.undo()
    service.context.db.dispose()


def test_there_are_examples():
    assert len(examples()) > 50


@pytest.mark.timeout(600)
def test_every_documented_example_works_or_says_in_a_sentence_why_not(world, capsys):
    wrong = []
    for example in examples():
        words = shlex.split(example)
        if words[0] in SERVE:
            continue
        code, codes, said = run(example, capsys)
        if code not in (0, 1, 2, 3) or "Traceback" in said or "Usage:" in said:
            wrong.append((example, code, said[-600:]))
        wrong += [
            (example, one, said[-600:]) for one in codes if one in ABSENT and not example.startswith(ABSENT[one] or "-")
        ]
        if "not-installed" in codes:
            assert words[0] == "learn" or words[:2] in TRAIN, example
            assert "make environment-training" in said
    assert not wrong, "\n".join(map(str, wrong))
    made = tables.datasets.c
    states = world.context.db.rows(sa.select(made.name, made.version, made.state).order_by(made.id))
    assert [tuple(row) for row in states] == [("calls", 1, "ready"), ("calls", 2, "ready")]
    assert world.context.db.rows(sa.select(tables.runs)) == []


def test_every_command_on_a_page_is_understood():
    """Pages may name what only their reader has: a project, a bucket. So the words are parsed and nothing is run."""
    known = dict(reference_pages.every_command())
    wrong = []
    for example in in_pages():
        words = shlex.split(example)
        words = words[2:] if words[0] == "--env-file" else words
        length = next((n for n in (3, 2, 1) if " ".join(words[:n]) in known), 0)
        try:
            known[" ".join(words[:length])].make_context("", words[length:])
        except Exception as error:
            if "does not exist" not in str(error):  # a file of the reader
                wrong.append((example, repr(error)))
    assert not wrong


def test_a_command_that_is_not_understood_is_noticed():
    known = dict(reference_pages.every_command())
    with pytest.raises(Exception, match=r"(?i)no such option|--dataset-name"):
        known["evaluate"].make_context("", ["champion", "--dataset-name", "calls"])


def test_every_name_in_an_example_exists_in_a_demo():
    text = "\n".join(examples())
    calls = json.loads((ROOT / "ml_backend/bundled/calls/calls.json").read_text(encoding="utf-8"))
    version = manifest.read(ROOT / "ml_backend/bundled/model").model_version
    assert {*re.findall(r"kaan-tiny-[\w-]+", text)} <= {version}
    assert {*re.findall(r"\b[0-9a-f]{32}\b", text)} <= {*re.findall(r"\b[0-9a-f]{32}\b", json.dumps(calls))}
    tasks = re.findall(r"(?:task:|gold add |gold remove )(\d+)", text)
    assert tasks
    assert all(int(number) <= 2 * len(calls) for number in tasks)
    assert {*re.findall(r"project \w+ (\d+)|--project (\d+)", text)} <= {("2", ""), ("", "2")}
