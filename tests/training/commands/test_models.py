"""`evaluate`, `promote`, `rollback`, `models`: what a person sees, and exit code 3 where the gate refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend.commands import command_line
from ml_backend.context import Context
from ml_backend.models import registry
from ml_backend.serving import default_model
from tests.policy.source import ROOT
from tests.training import candidates, spoken
from tests.training.candidates import Ear


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """A champion, a good candidate and an equal one, all scored on one test set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ASR_THREADS", "1")
    opened = spoken.opened(tmp_path / "data")
    dataset_id = candidates.blind_calls(opened, tmp_path / "scratch")
    for number, (name, wrong) in enumerate((("champion", 0.17), ("good", 0.1), ("equal", 0.17))):
        made = candidates.version(opened, tmp_path, name)
        candidates.heard(opened, made, dataset_id, Ear(wrong), seed=number)
        if not number:
            candidates.crown(opened, made)
    yield opened
    opened.db.dispose()


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert command_line.main(list(words)) == code
    return capsys.readouterr().out


def name(context: Context, prefix: str) -> str:
    rows = context.db.rows(registry.tables.model_versions.select())
    return next(row.version for row in rows if row.version.startswith(prefix))


def test_a_refusal_ends_with_three_says_why_and_moves_nothing(context, capsys):
    equal = name(context, "equal")
    said = run(capsys, "promote", equal, code=3)
    assert said.startswith("Of 100 words ")
    assert "No difference that is more than luck" in said
    assert f"{equal} was not promoted." in said
    assert "report.md" in said
    told = json.loads(run(capsys, "promote", equal, "--json", code=3))
    assert (told["promoted"], told["verdict"]["outcome"]) == (False, "equal")
    assert registry.champion(context).version == name(context, "champion")


def test_a_better_one_is_promoted_shown_and_rolled_back(context, capsys):
    good, champion = name(context, "good"), name(context, "champion")
    assert f"{good} is the champion now." in run(capsys, "promote", good)
    listed = run(capsys, "models", "list")
    assert "champion *" in next(line for line in listed.splitlines() if line.startswith(good))
    assert "better" in listed
    shown = run(capsys, "models", "show", good)
    assert "may be promoted" in shown
    assert "command line: The gate found it better." in shown
    assert "champion *" in next(line for line in shown.splitlines() if line.startswith("serves"))
    assert "{" not in shown
    assert run(capsys, "models", "show", "champion") == shown  # every command takes these two words for a version
    newest = registry.find(context, "newest").version
    assert run(capsys, "models", "show", "newest") == run(capsys, "models", "show", newest)
    told = json.loads(run(capsys, "rollback", "--why", "addresses", "--json"))
    assert told == {"champion": champion, "rolled_back": good}
    assert "rolled back" in run(capsys, "promote", good, code=3)
    assert json.loads(run(capsys, "models", "show", good, "--json"))["reason"] == "addresses"


def test_what_cannot_be_judged_is_refused_with_three_as_well(context, capsys):
    good = name(context, "good")
    context.db.update(registry.tables.datasets, 1, state="superseded")
    assert "no dataset with test rows" in run(capsys, "promote", good, code=3)
    context.db.update(registry.tables.datasets, 1, state="ready")
    (Path(registry.find(context, good).location) / "weights.txt").write_text("other")
    told = json.loads(run(capsys, "promote", good, "--json", code=3))
    assert (told["promoted"], "differs from its manifest" in told["refused"]) == (False, True)
    assert registry.champion(context).version == name(context, "champion")
    assert command_line.main(["rollback", "--why", " "]) == 1


def test_two_versions_are_compared_and_nothing_moves(context, capsys):
    good, champion = name(context, "good"), name(context, "champion")
    assert "may be promoted" in run(capsys, "models", "compare", champion, good)
    page = run(capsys, "models", "compare", champion, good, "--page")
    assert page.startswith(f"# {good} against {champion}")
    assert registry.champion(context).version == champion


def test_scores_that_are_there_are_printed(context, capsys):
    said = run(capsys, "evaluate", name(context, "good"), "--dataset", "calls")
    assert "90 calls" in said
    assert "number-canonical@2" in said
    assert "language: mr" in said
    told = json.loads(run(capsys, "evaluate", "champion", "--json"))
    assert told["scores"]["words"] == 1800


def test_a_version_nobody_knows_is_told_which_are_known(context, capsys):
    assert command_line.main(["promote", "nothing"]) == 1
    assert "Known: " in capsys.readouterr().err


@pytest.mark.parametrize("words", [["train", "show"], ["train", "resume"], ["evaluate", "champion", "--dataset"]])
def test_a_number_no_database_holds_is_told_like_any_other_unknown_one(context, capsys, words):
    assert command_line.main([*words, "9" * 30]) == 1
    assert "Known: " in capsys.readouterr().err


@pytest.mark.parametrize("words", [("models", "compare"), ("experiments", "start")])
def test_a_version_is_never_held_against_itself(context, capsys, words):
    champion = name(context, "champion")
    given = ["champion", champion] if words[0] == "models" else [champion]
    assert command_line.main([*words, *given]) == 1
    complaint = capsys.readouterr().err
    assert "[same-version]" in complaint
    assert "`models list` shows the others" in complaint


def test_registering_what_serves_already_says_so_and_no_promotion(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    opened = spoken.opened(tmp_path / "data")
    default_model.ensure(opened)
    opened.db.dispose()
    assert "serves already" in run(capsys, "models", "register", str(ROOT / "ml_backend" / "bundled" / "model"))
