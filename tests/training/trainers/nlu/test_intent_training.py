"""The trainer of parsers: it learns a new domain, keeps the old one, goes on after a kill, stops, and tells a broken
conversion. On the bundled encoder and its corpus: the figures say that the trainer can teach, nothing about people."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from ml_backend.errors import ConfigurationError, PermanentError
from ml_backend.models import manifest
from ml_backend.nlu import loading
from tests import patience
from tests.policy.source import ROOT
from tests.training.trainers.nlu import unseen_wordings
from training.demo_intents import encoder_maker, intent_corpus
from training.runs.nlu_arguments import NluArguments
from training.scoring import intent_scores
from training.trainers.nlu import __main__ as trainer
from training.trainers.nlu import intent_network, intent_training, onnx_export

SEED = 5
QUICK = NluArguments(name="tiny", seed=3, steps=24, validate_every=8, batch_rows=8, form="float32", patience=0)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """An untrained one, smaller than the bundled."""
    folder = tmp_path_factory.mktemp("encoder")
    encoder_maker.write_encoder(folder, [row.text for row in clinic()], width=32, layers=1)
    return folder


def clinic(split=None):
    rows = intent_corpus.utterances("clinic", seed=SEED)
    return [row for row in rows if split in (None, row.split)]


def made(folder, encoder, options=QUICK):
    return encoder_maker.workspace_of(folder, clinic(), base=encoder, options=options)


def rows_of(parser, utterances):
    """As an evaluation has them: the answers at the served threshold."""
    parsed = [(row, parser.parse(row.text)) for row in utterances]
    return [
        {"id": row.id, "family": row.family, "language": row.language,
         "reference": {"intent": row.intent, "entities": row.entities},
         "prediction": {**parse.to_json(), "best": parse.best}}
        for row, parse in parsed
    ]  # fmt: skip


def macro_f1(parser, utterances):
    return round(intent_scores.macro_f1(rows_of(parser, utterances)), 3)


def test_a_new_domain_is_learnt_on_wordings_that_nobody_saw_and_the_old_one_is_kept(tmp_path, capsys):
    """The new intents by rows that nobody looked at while the recipe was made; the old ones by all that people said of
    them, 303 rows, because the 52 unseen ones alone cannot tell a loss of 0.03 from luck."""
    shop = intent_corpus.utterances("shop", seed=encoder_maker.SEED)
    options = NluArguments(
        name="clinic", seed=SEED, steps=260, validate_every=65, patience=0, replay_share=0.65, learning_rate=4e-4,
    )  # fmt: skip
    workspace = encoder_maker.workspace_of(
        tmp_path, clinic(), base=encoder_maker.WEIGHTS_FOLDER, options=options, old=shop, name="clinic"
    )
    result = intent_training.train(workspace)
    before, after = loading.load(), loading.load(workspace.model)
    new = unseen_wordings.utterances(unseen_wordings.UNSEEN_CLINIC)
    old = [
        unseen_wordings.utterances(unseen_wordings.UNSEEN_SHOP),
        unseen_wordings.utterances(unseen_wordings.SHOP),
        [row for row in shop if row.split == intent_corpus.TEST and row.source == "human"],
    ]
    old.append([row for rows in old for row in rows])
    learnt = intent_scores.difference(rows_of(before, new), rows_of(after, new))
    kept = intent_scores.difference(rows_of(before, old[-1]), rows_of(after, old[-1]))
    with capsys.disabled():
        print(f"\n{len(new)} rows of new intents: macro-F1 {macro_f1(before, new)} to {macro_f1(after, new)}, {learnt}")
        for rows in old:
            apart = intent_scores.difference(rows_of(before, rows), rows_of(after, rows))
            print(f"{len(rows)} of old intents: {macro_f1(before, rows)} to {macro_f1(after, rows)}, {apart}")
    assert learnt.value >= 0.10
    assert learnt.low > 0
    assert kept.value >= -0.03
    assert result["parity"]["passed"]
    assert set(before.needs.intents) < set(after.needs.intents)
    assert set(result["new_intents"]) == {row.intent for row in new}
    assert manifest.verify(workspace.weights).kind == "nlu"
    assert result["model_version"] == manifest.verify(workspace.model).model_version
    assert (result["before"] or {})["macro_f1"] < result["after"]["macro_f1"]


def test_a_run_that_was_killed_makes_the_weights_of_one_that_was_not(tmp_path, encoder):
    whole = made(tmp_path / "whole", encoder)
    intent_training._learn(whole, QUICK, lambda line: None, 0)
    cut = made(tmp_path / "cut", encoder)
    for at in (11, 20):
        with pytest.raises(KeyboardInterrupt):
            intent_training._learn(cut, QUICK, killed_at(at), 0)
    damaged = cut.checkpoints / "checkpoint-16" / "network.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    intent_training._learn(cut, QUICK, lambda line: None, 0)
    steps = [line["step"] for line in cut.progress() if line["phase"] == "training"]
    assert (steps.count(8), steps.count(9)) == (1, 3), "it goes on from step 8, twice: 16 was damaged"
    for name in ("model.safetensors", "heads.safetensors"):
        expected, found = load_file(whole.weights / name), load_file(cut.weights / name)
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert whole.learnt() == cut.learnt()


def killed_at(step):
    def report(line):
        if line.startswith(f"step {step} of"):
            raise KeyboardInterrupt

    return report


def test_a_stopped_run_goes_on_where_it_stopped(tmp_path, encoder):
    workspace = made(tmp_path, encoder)
    workspace.ask_to_stop()
    assert intent_training.train(workspace) == {"state": "stopped"}
    assert workspace.begun
    workspace.allow()
    assert intent_training._learn(workspace, QUICK, lambda line: None, 0) is None
    assert [line["step"] for line in workspace.progress() if line["phase"] == "training"] == list(range(1, 25))


def test_a_trainer_process_goes_on_after_kill_9(tmp_path, encoder):
    workspace = made(tmp_path, encoder, replace(QUICK, steps=4000, validate_every=5))
    running = subprocess.Popen(
        [sys.executable, "-m", "training.trainers.nlu", str(tmp_path), str(os.getpid())], cwd=ROOT
    )
    patience.until(lambda: workspace.begun, "a first checkpoint", within_s=200)
    running.send_signal(signal.SIGKILL)
    running.wait()
    reached = max(line["step"] for line in workspace.progress() if line["phase"] == "validation")
    plan = workspace.plan()
    workspace.write_plan({**plan, "arguments": {**plan["arguments"], "steps": reached + 5}})
    assert trainer.main(tmp_path) == 0
    result = workspace.result()
    assert (result["state"], result["trained_step"]) == ("done", reached + 5)


def test_a_broken_conversion_is_caught_and_the_weights_are_kept(tmp_path, encoder, monkeypatch):
    workspace = made(tmp_path, encoder, replace(QUICK, form="int8"))
    right = onnx_export.exported

    def broken(loaded):
        """The labels of one head are shifted by one: nothing fails, and every answer is wrong."""
        swapped = intent_network.load(str(workspace.weights))
        swapped.network.intents.weight.data = swapped.network.intents.weight.data.roll(1, 0)
        swapped.network.intents.bias.data = swapped.network.intents.bias.data.roll(1, 0)
        return right(swapped)

    monkeypatch.setattr(onnx_export, "exported", broken)
    result = intent_training.train(workspace)
    assert not result["parity"]["passed"]
    assert result["parity"]["difference"] > 0.5
    assert [each["form"] for each in result["parity"]["tried"]] == ["int8", "float32"]
    monkeypatch.undo()
    again = intent_training.train(workspace)
    assert again["parity"]["passed"]
    assert again["after"] == result["after"], "it is converted again, not trained again"


def test_frozen_embeddings_stay_and_the_rest_learns(tmp_path, encoder):
    options = replace(QUICK, frozen="embeddings", steps=4)
    workspace = made(tmp_path, encoder, options)
    intent_training._learn(workspace, options, lambda line: None, 0)
    before, after = load_file(encoder / "model.safetensors"), load_file(workspace.weights / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "embeddings.word_embeddings.weight" not in changed
    assert changed


def test_training_ends_early_when_unseen_wordings_gain_nothing(tmp_path, encoder):
    options = replace(QUICK, steps=200, validate_every=1, patience=2, learning_rate=1e-7)
    workspace = made(tmp_path, encoder, options)
    intent_training._learn(workspace, options, lambda line: None, 0)
    learnt = workspace.learnt()
    assert learnt["stopped"] == "early"
    assert learnt["trained_step"] < 200


@pytest.mark.parametrize(
    ("rows", "code"),
    [([], "too-few-intents"), ([{"id": "1", "text": "x", "intent": "a"}], "too-few-intents")],
)
def test_rows_that_teach_nothing_are_refused_in_words(tmp_path, encoder, rows, code):
    workspace = made(tmp_path, encoder)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(PermanentError) as refused:
        intent_training.train(workspace)
    assert refused.value.code == code


def test_strange_rows_are_trained_on(tmp_path, encoder):
    """One row per intent, empty and long texts, an entity outside its text, no validation rows."""
    rows = [
        {"id": "1", "text": "", "intent": "a"},
        {"id": "2", "text": "where " * 2000, "intent": "b", "entities": [{"entity": "x", "start": 9999, "end": 10003}]},
        {"id": "3", "text": "🙏<b>\x00", "intent": "c", "entities": [{"entity": "x", "start": 50, "end": 60}]},
    ]
    workspace = made(tmp_path, encoder, replace(QUICK, steps=2))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = intent_training.train(workspace)
    assert (result["state"], result["after"], result["temperature"]) == ("done", None, 1.0)


@pytest.mark.parametrize("broken", ["empty", "pickle"])
def test_a_base_that_is_no_encoder_is_refused_in_words(tmp_path, broken):
    base = tmp_path / "base"
    base.mkdir()
    if broken == "pickle":
        (base / "config.json").write_text('{"model_type": "bert"}')
        (base / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ConfigurationError) as refused:
        intent_network.load(str(base))
    assert refused.value.code == "base-not-a-model"


def test_a_trainer_without_its_job_stops(tmp_path, encoder, monkeypatch):
    monkeypatch.setattr(intent_training, "orphaned", lambda job: job == 77)
    assert intent_training.train(made(tmp_path, encoder), job=77) == {"state": "stopped"}
