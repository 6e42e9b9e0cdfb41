"""Nothing learnt is thrown away: a run that fails after its training keeps its weights, and goes on from there.

The trainer here is a script that leaves in the run's folder what the real one would.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_backend.commands import command_line
from ml_backend.context import Context
from ml_backend.errors import PermanentError, RetryableError
from ml_backend.jobs import devices
from ml_backend.models import registry
from ml_backend.models.kinds import Kind
from ml_backend.models.manifest import WindowPolicy
from ml_backend.tables import model_versions, runs
from ml_backend.views import training_progress
from tests.training import spoken
from tests.training.spoken import Line
from training.evaluation import fitness
from training.evaluation.gate_rules import Rules
from training.runs import execution as training_runs
from training.runs import trainer_process
from training.runs.arguments import Arguments
from training.runs.bases import MODEL_FOLDER, TWIN_FOLDER
from training.runs.workspace import Workspace
from training.trainers.asr import artefacts, parity

PARITY = {
    "clips": 60, "words": 400, "word_edits": 40, "difference": 0.1, "bound": 0.03, "wer_trained": 0.2,
    "wer_served": 0.24, "passed": False, "verdict": "failed", "quantization": "int8_float32",
}  # fmt: skip
LEARNT = {"best_step": 4, "trained_step": 4, "words": 400, "wer": 0.2, "old_wer": None, "before": {"wer": 0.4}}


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    opened = spoken.opened(tmp_path / "data")
    yield opened
    opened.db.dispose()


@pytest.fixture
def run_id(context: Context, tmp_path: Path) -> int:
    rows = [Line(f"r{n}", spoken.tone(n), "hello there", "en", f"s{n % 3}") for n in range(8)]
    dataset_id = spoken.dataset_of(context, "calls", rows, tmp_path / "scratch")
    options = Arguments(base="bundled", steps=4, device="cpu", precision="fp32")
    return training_runs.create(context, dataset_id, options, who="a test", why="to see")


def trainer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **result: Any) -> None:
    """From now on a trainer leaves whole weights and this result; `dies` is what it ends with instead."""
    (tmp_path / "result.json").write_text(json.dumps({**LEARNT, "state": "done", **result}))

    def command(context: Context, kind: Kind, workspace: Workspace) -> list[str]:
        if not workspace.weights.is_dir():
            shutil.copytree(TWIN_FOLDER, workspace.weights)
            plan = workspace.plan()
            described = {
                "name": plan["name"], "languages": tuple(plan["languages"]), "trained_on": plan["trained_on"],
                "window": WindowPolicy(**plan["window"]),
            }  # fmt: skip
            artefacts.describe(workspace.weights, **described)
            shutil.copytree(MODEL_FOLDER, workspace.model)
            (workspace.model / "manifest.json").unlink()
            made = artefacts.describe(workspace.model, **described)
            told = json.loads((tmp_path / "result.json").read_text())
            (tmp_path / "result.json").write_text(json.dumps({"model_version": made.model_version, **told}))
            workspace.write_learnt(LEARNT)
        copy = f"import shutil; shutil.copy({str(tmp_path / 'result.json')!r}, {str(workspace.folder)!r})"
        return [sys.executable, "-c", copy]

    monkeypatch.setattr(trainer_process, "_command", command)


def again(tmp_path: Path, **changed: Any) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def test_a_run_that_fails_parity_keeps_its_weights_and_goes_on_from_them(context, run_id, tmp_path, monkeypatch):
    trainer(monkeypatch, tmp_path, parity=PARITY)
    with pytest.raises(PermanentError) as failed:
        training_runs.execute(context, run_id)
    assert failed.value.code == "parity-failed"
    row = context.db.row(runs, run_id)
    assert row.state == "trained"
    assert row.reason.startswith("trained, not served: The served form writes 10.0 % of 400 words otherwise")
    assert f"train resume {run_id}" in row.reason
    assert Workspace(training_runs.folder_of(context, run_id)).weights.is_dir()
    training_runs.change(context, run_id, {"quantization": "float32"})
    again(tmp_path, parity={**PARITY, "passed": True, "quantization": "float32"})
    version = training_runs.execute(context, run_id)
    row = context.db.row(runs, run_id)
    assert (row.state, row.reason, row.reason_code) == ("done", None, None)
    assert registry.find(context, version).lineage["run_id"] == run_id
    assert not Workspace(training_runs.folder_of(context, run_id)).weights.exists(), "they are in the store now"


def test_kept_weights_can_be_registered_as_they_are_and_the_gate_knows(context, run_id, tmp_path, monkeypatch, capsys):
    trainer(monkeypatch, tmp_path, parity=PARITY)
    with pytest.raises(PermanentError):
        training_runs.execute(context, run_id)
    monkeypatch.setenv("DATA_DIR", str(context.settings.data_dir))
    assert command_line.main(["models", "register", "--run", str(run_id)]) == 0
    version = training_runs.version_of(context, run_id)
    assert version in capsys.readouterr().out
    row = context.db.rows(model_versions.select().where(model_versions.c.version == version))[0]
    assert row.parity["passed"] is False
    [objection] = fitness.objections({}, {}, row.parity, rules=Rules(), trained=True)
    assert objection.code == "parity"
    assert context.db.row(runs, run_id).state == "done"


def test_conversion_that_fails_keeps_the_weights_too(context, run_id, tmp_path, monkeypatch):
    trainer(
        monkeypatch, tmp_path, state="failed", branch="permanent", code="conversion-incomplete", sentence="It lost."
    )
    again(tmp_path, next="Check.")
    with pytest.raises(PermanentError):
        training_runs.execute(context, run_id)
    row = context.db.row(runs, run_id)
    assert (row.state, row.reason_code) == ("trained", "conversion-incomplete")
    assert Workspace(training_runs.folder_of(context, run_id)).learnt() is not None


def test_a_run_in_which_no_step_was_better_than_the_base_serves_nothing_by_itself(
    context, run_id, tmp_path, monkeypatch
):
    worse = {"before": {"wer": 0.15, "old_wer": None}, "best_step": 0, "wer": 0.2}
    trainer(monkeypatch, tmp_path, parity={**PARITY, "passed": True}, **worse)
    with pytest.raises(PermanentError, match=r"WER 15\.0 % before, 20\.0 % at the best step \(4\)"):
        training_runs.execute(context, run_id)
    assert context.db.row(runs, run_id).state == "trained"
    assert training_runs.version_of(context, run_id) is None


def test_a_failure_that_stays_keeps_a_whole_checkpoint_and_says_how_to_go_on(context, run_id, tmp_path, monkeypatch):
    def command(context: Context, kind: Kind, workspace: Workspace) -> list[str]:
        folder = workspace.checkpoints / "checkpoint-4"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "seal.json").write_text("{}")
        workspace.write_result(
            {
                "state": "failed",
                "branch": "permanent",
                "code": "training-out-of-memory",
                "sentence": "Full.",
                "next": "",
            }
        )
        return ["/bin/sh", "-c", f"mv {workspace.folder}/kept.json {workspace.folder}/result.json"]

    monkeypatch.setattr(
        trainer_process,
        "_command",
        lambda context, kind, workspace: _after_unlink(workspace, command(context, kind, workspace)),
    )
    with pytest.raises(PermanentError):
        training_runs.execute(context, run_id)
    row = context.db.row(runs, run_id)
    assert row.state == "failed"
    assert f"`train resume {run_id}` goes on from it" in row.reason
    assert training_runs.resumable(context, row)
    assert (Workspace(training_runs.folder_of(context, run_id)).folder / "audio.i16").is_file()


def _after_unlink(workspace: Workspace, made: list[str]) -> list[str]:
    """The job forgets an old result before it starts a trainer, so the script puts the new one there."""
    (workspace.folder / "result.json").replace(workspace.folder / "kept.json")
    return made


def test_a_run_whose_process_is_gone_is_not_shown_as_running(context, run_id, tmp_path):
    workspace = Workspace(training_runs.folder_of(context, run_id))
    workspace.folder.mkdir(parents=True)
    context.db.update(runs, run_id, state="running", folder=str(workspace.folder))
    row = context.db.row(runs, run_id)
    with workspace.locked(), training_runs.device(context, run_id):
        assert training_runs.state_of(context, row) == "running"
    assert training_runs.state_of(context, row) == "interrupted"
    with devices.held(context, devices.here("cpu"), f"run-{run_id}"):  # its lease outlives a killed process
        assert training_runs.state_of(context, row) == "interrupted"
    with context.db.reading() as connection:
        [shown] = training_progress.facts(connection, threshold=10)["running"]
    assert shown["state"] == "interrupted"


def test_a_run_that_a_passing_trouble_ends_is_interrupted_and_says_so(context, run_id, monkeypatch):
    monkeypatch.setattr(trainer_process, "_command", lambda context, kind, workspace: ["/bin/sh", "-c", "exit 3"])
    with pytest.raises(RetryableError):
        training_runs.execute(context, run_id)
    row = context.db.row(runs, run_id)
    assert (row.state, row.reason_code) == ("interrupted", "trainer-died")
    assert f"train resume {run_id}" in row.reason


@pytest.mark.parametrize(
    ("words", "edits", "before", "after", "verdict"),
    [
        (55, 2, 0.20, 0.20, parity.TOO_FEW),  # 3.6 %, of two words
        (55, 30, 0.20, 0.60, parity.FAILED),  # no chance explains that
        (400, 10, 0.20, 0.20, parity.PASSED),
        (400, 20, 0.20, 0.19, parity.PASSED),  # other words, not worse ones
        (400, 20, 0.20, 0.21, parity.FAILED),
        (400, 8, 0.20, 0.24, parity.FAILED),  # hardly other words, and worse
        (400, 60, 0.20, 0.20, parity.FAILED),
        (0, 0, 0.0, 0.0, parity.TOO_FEW),
    ],
)
def test_parity_needs_words_enough_and_asks_for_mistakes_as_well_as_for_equal_text(
    words, edits, before, after, verdict
):
    assert parity.judged(words, edits, before, after, bound=0.03) == verdict


@pytest.mark.parametrize(
    ("quantization", "computed"),
    [("float16", "float32"), ("int8_float16", "int8_float32"), ("int8_float32", "int8_float32"), ("int8", "int8")],
)
def test_each_form_is_compared_in_the_type_it_claims_whatever_the_environment_says(quantization, computed):
    assert parity.computed_in(quantization, "cpu") == computed
