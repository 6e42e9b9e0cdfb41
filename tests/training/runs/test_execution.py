"""A run makes a version that serves, refuses data nothing should be learnt from, and goes on after a kill."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest

from ml_backend import db
from ml_backend.asr.engine import Transcriber
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile
from ml_backend.commands import command_line
from ml_backend.context import Context
from ml_backend.errors import PermanentError, RetryableError
from ml_backend.jobs import devices, enqueueing, runner
from ml_backend.models import model_files, registry
from ml_backend.reports.learning import run_curves
from ml_backend.reports.learning.run_curves import CurveQuery
from ml_backend.tables import model_versions, runs
from tests.training import spoken
from tests.training.spoken import Line
from training.datasets import clip_audio
from training.demo_model import new_domain
from training.runs import bases, data_checks, workspace_rows
from training.runs import execution as training_runs
from training.runs.arguments import Arguments
from training.runs.bases import TWIN_FOLDER
from training.runs.workspace import Workspace

ROOT = Path(__file__).parents[3]
QUICK = {"base": "bundled", "steps": 4, "validate_every": 2, "threads": 1, "device": "cpu", "precision": "fp32"}


def weights_of(context: Context, version: str) -> Path:
    return Path(model_files.place(context, registry.find(context, version).lineage["weights"]))


@pytest.fixture(scope="module")
def clips() -> list[new_domain.DomainClip]:
    return [
        *new_domain.new_calls("train", 12, seed=5), *new_domain.new_calls("validation", 4, seed=5),
        *new_domain.old_calls("train", 6, seed=5),
    ]  # fmt: skip


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    opened = spoken.opened(tmp_path / "data")
    yield opened
    opened.db.dispose()


def lines(clips: list[new_domain.DomainClip]) -> list[Line]:
    return [
        Line(c.id, c.samples, c.text, c.language, c.speaker, "validation" if "validation" in c.id else "train")
        for c in clips
    ]


def run_of(context: Context, dataset_id: int, **changed: Any) -> int:
    return training_runs.create(context, dataset_id, Arguments(**{**QUICK, **changed}), who="a test", why="to see")


@pytest.mark.timeout(600)
def test_a_dataset_becomes_a_registered_version_that_transcribes(context, clips, tmp_path):
    dataset_id = spoken.dataset_of(context, "calls", lines(clips), tmp_path / "scratch")
    told: list[tuple[float, str]] = []
    run_id = run_of(context, dataset_id)
    version = training_runs.execute(context, run_id, report=lambda fraction, note: told.append((fraction, note)))
    row = context.db.row(runs, run_id)
    assert row.state == "done"
    assert row.progress["step"] == 4
    assert row.progress["wer"] is not None
    assert "step 4 of 4" in told[-1][1] or row.progress["phase"] == "saving"
    assert row.estimate["memory_mb"] > 0
    curve = {one["name"]: one["points"] for one in run_curves.of(context, CurveQuery(run=run_id))["curve"]}
    assert {"loss", "learning_rate", "wer"} <= set(curve), "the course of the run is in its row, whoever asks"
    assert (curve["loss"][-1][0], curve["wer"][0][0], curve["wer"][-1][0]) == (4, 0, 4)
    found = registry.find(context, version)
    assert found.lineage["dataset"] == "calls@1"
    assert found.lineage["base"] == row.base_version
    assert context.db.rows(model_versions.select().where(model_versions.c.version == version))[0].parity["passed"]
    location = registry.verified(context, found)
    engine = Transcriber.load(location, settings=context.settings, temperatures=())
    [heard] = engine.transcribe([Request(clips[0].samples[None], DecodingProfile(language="en"))])
    assert heard.text
    assert heard.model_version == version
    assert training_runs.execute(context, run_id) == version, "asked again, it is the same version"


@pytest.mark.timeout(600)
def test_a_version_made_here_can_be_the_base_of_the_next_run_by_adapters(context, clips, tmp_path):
    dataset_id = spoken.dataset_of(context, "calls", lines(clips), tmp_path / "scratch")
    first = training_runs.execute(context, run_of(context, dataset_id, steps=1))
    second = run_of(context, dataset_id, base=first, method="lora", steps=2, accumulation=2, average=0.5)
    version = training_runs.execute(context, second)
    assert version != first
    assert context.db.row(runs, second).base_version == first


@pytest.mark.timeout(600)
def test_a_run_asked_for_as_a_job_is_carried_out_by_the_training_worker(context, clips, tmp_path):
    dataset_id = spoken.dataset_of(context, "calls", lines(clips), tmp_path / "scratch")
    options = Arguments(**{**QUICK, "steps": 1})
    run_id = training_runs.create(context, dataset_id, options, who="a test", why="to see", job=True)
    [job] = [row for row in enqueueing.find(context.db) if row.name == "run-training"]
    assert job.queue == "training"
    runner.Runner(context).run(job.id)
    assert enqueueing.show(context.db, job.id).state == "done"
    assert context.db.row(runs, run_id).state == "done"
    assert training_runs.version_of(context, run_id)


@pytest.mark.timeout(600)
def test_without_validation_rows_a_run_goes_to_its_end_and_is_compared_on_what_it_learnt(context, clips, tmp_path):
    learnt = [line for line in lines(clips) if line.split == "train"]
    dataset_id = spoken.dataset_of(context, "calls", learnt, tmp_path / "scratch")
    run_id = run_of(context, dataset_id, steps=1)
    assert training_runs.execute(context, run_id)
    row = context.db.row(runs, run_id)
    assert (row.metrics["result"]["wer"], row.progress["wer"]) == (None, None)
    assert context.db.rows(model_versions.select())[-1].parity["clips"] == len(learnt)


@pytest.mark.timeout(600)
def test_two_processes_train_one_model_with_gradients_recomputed(context, clips, tmp_path):
    dataset_id = spoken.dataset_of(context, "calls", lines(clips), tmp_path / "scratch")
    run_id = run_of(context, dataset_id, processes=2, steps=2, gradient_checkpointing=True, batch_s=6.0)
    version = training_runs.execute(context, run_id)
    assert registry.find(context, version).lineage["run_id"] == run_id
    assert context.db.row(runs, run_id).progress["step"] == 2
    log = (training_runs.folder_of(context, run_id) / "trainer.log").read_text()
    assert log.count("step 2 of 2") == 2, "both processes took every step"


@pytest.mark.timeout(600)
def test_a_killed_run_goes_on_from_its_last_whole_checkpoint_and_ends_with_the_same_weights(context, clips, tmp_path):
    """Killed with SIGKILL in the middle, job and trainer; the broken newest checkpoint is not gone on from."""
    dataset_id = spoken.dataset_of(context, "calls", lines(clips), tmp_path / "scratch")
    options = {"steps": 6, "checkpoint_every": 2, "validate_every": 2}
    unbroken = training_runs.execute(context, run_of(context, dataset_id, **options))
    run_id = run_of(context, dataset_id, **options, name="killed")
    workspace = Workspace(training_runs.folder_of(context, run_id))
    job = start(context, run_id)
    try:
        wait_for(lambda: (workspace.checkpoints / "checkpoint-4" / "seal.json").is_file(), job)
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
    assert workspace.result() is None
    with (workspace.checkpoints / "checkpoint-4" / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    version = training_runs.execute(context, run_id)
    steps = [line["step"] for line in workspace.progress() if line["phase"] == "training"]
    assert steps.count(3) == 2, "it went on from step 2"
    assert 1 in steps
    assert steps.count(1) == 1, "and not from the beginning"
    first, second = (weights_of(context, name) for name in (unbroken, version))
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


@pytest.mark.timeout(600)
def test_a_cancelled_run_stops_and_registers_nothing(context, clips, tmp_path):
    dataset_id = spoken.dataset_of(context, "calls", lines(clips), tmp_path / "scratch")
    waiting = run_of(context, dataset_id)
    assert "is cancelled" in training_runs.cancel(context, waiting)
    assert context.db.row(runs, waiting).state == "cancelled"
    run_id = run_of(context, dataset_id, steps=5_000, patience=0)
    workspace = Workspace(training_runs.folder_of(context, run_id))
    job = start(context, run_id)
    wait_for(lambda: any(line["phase"] == "training" for line in workspace.progress()), job)
    assert "asked to stop" in training_runs.cancel(context, run_id)
    assert job.wait(timeout=120) == 0
    assert context.db.row(runs, run_id).state == "cancelled"
    assert not context.db.rows(model_versions.select().where(model_versions.c.run_id == run_id))


def bad(kind: str) -> list[Line]:
    good = [Line(f"r{n}", spoken.tone(n), "hello there", "en", f"s{n % 3}") for n in range(8)]
    return {
        "empty": [Line("v", spoken.tone(99), "hello", "en", "x", "validation")],
        "one speaker": [Line(f"r{n}", spoken.tone(n), "hello", "en", "only") for n in range(8)],
        "no text": [*good, *(Line(f"blank{n}", spoken.tone(20 + n), "   ") for n in range(4))],
        "leak": [*good, Line("t", spoken.tone(50), "hello", "en", "s1", "test")],
        "leaked audio": [*good, Line("t", spoken.tone(3), "other words", "en", "z", "test")],
        "wrong script": [*good, *(Line(f"wrong{n}", spoken.tone(21 + n), "नमस्ते", "en", "s1") for n in range(4))],
        "unknown language": [
            *good,
            *(Line(f"french{n}", spoken.tone(22 + n), "bonjour", "fr", "s1") for n in range(4)),
        ],
        "too much text": [
            *good,
            *(Line(f"dense{n}", spoken.tone(22 + n), "hello " * 30, "en", "s1") for n in range(4)),
        ],
        "too long": [*good, *(Line(f"long{n}", spoken.tone(30 + n, seconds=12), "hello", "en") for n in range(4))],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("empty", "no training rows"),
        ("one speaker", "all 8 training rows are of 1 speaker"),
        ("no text", "without text: 4 rows (blank"),
        ("leak", "spoken by speakers of the test set: 3 rows (r"),
        ("leaked audio", "of recordings that test rows are cut from: 1 row (r3)"),
        ("wrong script", "in another script than their language: 4 rows (wrong"),
        ("unknown language", "in a language the base model does not know: 4 rows (french"),
        ("too much text", "with more text than can be said in their time: 4 rows (dense"),
        ("too long", "longer than the base's window of 8 s: 4 rows (long"),
        ("too long", "4 of 12 rows cannot be learnt from"),
    ],
)
def test_bad_data_is_refused_with_counts_and_row_ids(kind, said, context, tmp_path):
    dataset_id = spoken.dataset_of(context, "bad", bad(kind), tmp_path / "scratch")
    run_id = run_of(context, dataset_id)
    with pytest.raises(PermanentError) as refused:
        training_runs.execute(context, run_id)
    assert refused.value.code == "training-data-refused"
    assert said in refused.value.sentence
    row = context.db.row(runs, run_id)
    assert (row.state, row.reason_code) == ("refused", "training-data-refused")
    assert said in row.reason


def test_one_bad_row_never_ends_a_run_it_is_left_out_by_name(context, tmp_path):
    """Each fault once, beside twenty good rows: too many letters, syllables or digits for their time among them."""
    rows = [
        *(Line(f"r{n}", spoken.tone(n, seconds=3), "hello there my friend", "en", f"s{n % 3}") for n in range(40)),
        Line("blank", spoken.tone(50), " "), Line("latin-for-english", spoken.tone(51), "नमस्ते", "en"),
        Line("dense", spoken.tone(52), "this is far more than anybody can say in a single second, is it not"),
        Line("dense-hindi", spoken.tone(53), "यह सब एक सेकंड में कोई भी आदमी कभी नहीं कह सकता है भाई", "hi"),
        Line("digits", spoken.tone(54), "0123456789 0123456789"), Line("long", spoken.tone(55, seconds=12), "hello"),
        Line("short", spoken.tone(56, seconds=0.1), "a"), Line("gone", spoken.tone(57), "hello"),
    ]  # fmt: skip
    dataset_id = spoken.dataset_of(context, "calls", rows, tmp_path / "scratch")
    gone = hashlib.sha256(clip_audio.wav((np.clip(spoken.tone(57), -1, 1) * 32767).astype("<i2").tobytes())).hexdigest()
    context.store.delete(context.settings.audio_bucket, clip_audio.public_key(gone))
    found = workspace_rows.gather(context, dataset_id, 0, bases.find(context, "bundled"), most_left_out=0.2)
    assert found.clips == 40
    assert sorted(found.left_out["too-much-text"]) == ["dense", "dense-hindi", "digits"]
    assert found.left_out == {
        "no-text": ["blank"], "wrong-script": ["latin-for-english"], "too-long": ["long"], "too-short": ["short"],
        "too-much-text": ANY, "audio-missing": ["gone"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("please send it to the new address", 1.4),  # quick, and possible
        ("मेरा ऑर्डर अभी तक नहीं आया है", 1.6),
        ("987654", 1.2),
        ("तुम्हारा पार्सल कल आएगा, ठीक है?", 1.7),
    ],
)
def test_quick_speech_is_not_taken_for_impossible(text, seconds):
    assert data_checks.least_s(text) < seconds


def test_an_agent_may_be_on_both_sides_because_calls_tell_agents_apart(context, tmp_path):
    rows = [
        *(Line(f"r{n}", spoken.tone(n), "hello there", "en", "agent-7" if n % 2 else "caller") for n in range(8)),
        Line("t", spoken.tone(50), "hello", "en", "agent-7", "test"),
    ]
    dataset_id = spoken.dataset_of(context, "calls", rows, tmp_path / "scratch")
    base = bases.find(context, "bundled")
    assert workspace_rows.gather(context, dataset_id, 0, base, most_left_out=0.2).clips == 8


def test_a_call_that_switches_between_two_languages_is_taught_as_the_first(context, tmp_path):
    rows = [Line(f"r{n}", spoken.tone(n), "मेरा order", "hi-en" if n < 3 else "hi", f"s{n % 3}") for n in range(8)]
    dataset_id = spoken.dataset_of(context, "calls", rows, tmp_path / "scratch")
    found = workspace_rows.gather(context, dataset_id, dataset_id, bases.find(context, "bundled"), most_left_out=0.2)
    assert [line["language"] for line in found.new + found.replay] == ["hi"] * 16


def test_audio_that_is_gone_refuses_the_run_and_names_the_rows(context, tmp_path):
    rows = [Line(f"r{n}", spoken.tone(n), "hello there", "en", f"s{n % 3}") for n in range(20)]
    dataset_id = spoken.dataset_of(context, "calls", rows, tmp_path / "scratch")
    bucket = context.settings.audio_bucket
    for info in list(context.store.list(bucket, prefix="public/"))[:5]:
        context.store.delete(bucket, info.key)
    with pytest.raises(PermanentError, match=r"without their audio: 5 rows \(r\d+"):
        training_runs.execute(context, run_of(context, dataset_id))


@pytest.mark.timeout(300)
def test_languages_that_only_the_base_s_tokenizer_tells_are_refused_by_the_trainer(context, tmp_path):
    base = Path(shutil.copytree(TWIN_FOLDER, tmp_path / "base"))
    rows = [Line(f"r{n}", spoken.tone(n), "hello", "xx" if n > 2 else "en", f"s{n % 3}") for n in range(6)]
    dataset_id = spoken.dataset_of(context, "calls", rows, tmp_path / "scratch")
    run_id = run_of(context, dataset_id, base=str(base))
    with pytest.raises(PermanentError, match=r"does not know: 3 rows \(r3, r4, r5\)"):
        training_runs.execute(context, run_id)
    assert context.db.row(runs, run_id).state == "refused"


@pytest.mark.parametrize(
    ("changed", "code"),
    [({}, "training-memory"), ({"max_hours": 0.001, "epochs": 1000.0}, "training-time")],
)
def test_what_cannot_fit_is_refused_before_it_starts_with_the_numbers(changed, code, context, tmp_path, monkeypatch):
    if code == "training-memory":
        monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=50e6, total=100e6))
    rows = [Line(f"r{n}", spoken.tone(n), "hello there", "en", f"s{n % 3}") for n in range(20)]
    dataset_id = spoken.dataset_of(context, "calls", rows, tmp_path / "scratch")
    run_id = run_of(context, dataset_id, **{"steps": 0, **changed})
    with pytest.raises(PermanentError) as refused:
        training_runs.execute(context, run_id)
    assert refused.value.code == code
    assert any(character.isdigit() for character in refused.value.sentence)
    assert context.db.row(runs, run_id).state == "refused"
    assert not (training_runs.folder_of(context, run_id) / "trainer.log").exists()


@pytest.mark.parametrize("taken", [devices.here("cpu"), "training:asr"])
def test_two_runs_never_train_on_one_device_or_of_one_kind_and_the_second_waits(
    taken, context, tmp_path, capsys, monkeypatch
):
    dataset_id = spoken.dataset_of(context, "calls", [Line("a", spoken.tone(1), "x")], tmp_path / "scratch")
    run_id = training_runs.create(context, dataset_id, Arguments(**QUICK), who="a test", why="to see", job=True)
    monkeypatch.setenv("DATA_DIR", str(context.settings.data_dir))
    with devices.held(context, taken, "run-0"):
        assert not runner.run_due(context).failed
        assert command_line.main(["train", "resume", str(run_id)]) == 1
    assert f"train resume {run_id}" in capsys.readouterr().err
    assert context.db.row(runs, run_id).state == "waiting"
    assert [job.state for job in enqueueing.find(context.db, names=["run-training"])].count("waiting") == 1


def test_a_run_that_trains_is_never_begun_a_second_time_and_its_row_stays_as_it_is(
    context, tmp_path, capsys, monkeypatch
):
    dataset_id = spoken.dataset_of(context, "calls", [Line("a", spoken.tone(1), "x")], tmp_path / "scratch")
    run_id = training_runs.create(context, dataset_id, Arguments(**QUICK), who="a test", why="", job=False)
    workspace = Workspace(training_runs.folder_of(context, run_id))
    workspace.folder.mkdir(parents=True)
    with context.db.transaction() as connection:
        db.update(connection, runs, run_id, state="running", folder=str(workspace.folder))
    before = context.db.row(runs, run_id)
    monkeypatch.setenv("DATA_DIR", str(context.settings.data_dir))
    monkeypatch.setattr("training.runs.workspace._LOCK_WAIT_S", 0.0)
    with devices.held(context, devices.here("cpu"), f"run-{run_id}"), workspace.locked():
        assert command_line.main(["train", "resume", str(run_id), "--batch-s", "20"]) == 1
        assert "is still running. [run-under-way]" in capsys.readouterr().err
        with pytest.raises(RetryableError, match="Another process trains"):
            training_runs.execute(context, run_id)  # a job that has not seen the other process's lease
        assert context.db.row(runs, run_id) == before


def start(context: Context, run_id: int) -> subprocess.Popen[bytes]:
    """The run in a process group of its own, as a worker would have it."""
    return subprocess.Popen(
        [sys.executable, "-m", "ml_backend", "train", "resume", str(run_id)],
        cwd=ROOT, env={**os.environ, "DATA_DIR": str(context.settings.data_dir)}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def wait_for(happened: Any, job: subprocess.Popen[bytes], *, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert job.poll() is None, f"the job ended with {job.returncode}"
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
