"""What is told of a trainer that died."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ml_backend import settings
from ml_backend.errors import PermanentError, RetryableError
from tests.training import spoken
from tests.training.spoken import Line
from training.runs import estimates, execution, trainer_process
from training.runs.arguments import Arguments
from training.runs.workspace import Workspace

LAUNCHER = """epoch 1 of 3
[rank1]: Traceback (most recent call last):
[rank1]:   File "trainer.py", line 3, in main
[rank1]: torch.distributed.DistNetworkError: The server socket has failed to listen
============================================================
training.trainers.asr FAILED
  exitcode  : 1 (pid: 42)
============================================================
"""


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (LAUNCHER, "[rank1]: torch.distributed.DistNetworkError: The server socket has failed to listen"),
        ("loading\nMemoryError\n", "MemoryError"),
        ("loading\nKilled\n====\n", "Killed"),
        ("", "it is empty."),
    ],
)
def test_a_dead_trainers_error_is_told_rather_than_the_frame_around_it(tmp_path: Path, log: str, told: str) -> None:
    (tmp_path / "trainer.log").write_text(log)
    assert trainer_process._last_line(tmp_path / "trainer.log") == told


@pytest.mark.parametrize(
    ("code", "log", "killed"),
    [
        (-9, "", True),
        (137, "", True),
        (1, "exitcode : -9 (pid: 42)", True),
        (1, "Signal 9 (SIGKILL) received by PID 42", True),
        (1, "exitcode : 1 (pid: 42)", False),
        (-15, "", False),
    ],
)
def test_a_trainer_killed_by_signal_9_is_known_also_behind_its_launcher(tmp_path, code, log, killed):
    (tmp_path / "trainer.log").write_text("exitcode : -9 of an earlier attempt\n" + log)
    assert trainer_process._was_killed(code, tmp_path / "trainer.log", 36) is killed


@pytest.mark.parametrize(
    ("counted", "raised", "code"),
    [((3, 4), PermanentError, estimates.OUT_OF_MEMORY), ((3, 3), RetryableError, "trainer-died")],
)
def test_a_killed_trainer_ran_out_of_memory_only_where_the_kernel_says_so(tmp_path, monkeypatch, counted, raised, code):
    """The trainer kills itself, the kernel's counter is a file: what it tells before and after decides."""
    context = spoken.opened(tmp_path / "data")
    dataset_id = spoken.dataset_of(context, "calls", [Line("a", spoken.tone(1), "x")], tmp_path / "scratch")
    run_id = execution.create(context, dataset_id, Arguments(), who="a test", why="to see")
    counter, workspace = tmp_path / "vmstat", Workspace(tmp_path / "run")
    counter.write_text(f"pgfault 7\noom_kill {counted[0]}\n")
    workspace.folder.mkdir()
    workspace.write_plan({"arguments": Arguments(batch_s=240.0).to_json(), "window": {"pad_to_s": 30.0}})
    script = f"printf 'oom_kill {counted[1]}' > {counter}; kill -9 $$"
    monkeypatch.setattr(trainer_process, "_KILL_COUNTS", (counter,))
    monkeypatch.setattr(trainer_process, "_command", lambda context, kind, workspace: ["/bin/sh", "-c", script])
    try:
        with (tmp_path / "lock").open("w") as lock, pytest.raises(raised) as error:
            trainer_process.train(context, run_id, workspace, lock=lock.fileno(), report=lambda fraction, note: None)
    finally:
        context.db.dispose()
    assert error.value.code == code
    assert code == "trainer-died" or "--batch-s 120" in error.value.next_step


def test_the_trainer_gets_how_a_model_is_heard_and_no_secret(tmp_path, monkeypatch):
    """Two settings that need a secret beside them are left out with it: the trainer must still read its settings."""
    chosen = settings.Settings(_env_file=None, data_dir=tmp_path, asr_threads=3)
    context = spoken.opened(tmp_path / "data")
    dataset_id = spoken.dataset_of(context, "calls", [Line("a", spoken.tone(1), "x")], tmp_path / "scratch")
    run_id = execution.create(context, dataset_id, Arguments(), who="a test", why="to see")
    workspace = Workspace(tmp_path / "run")
    workspace.folder.mkdir()
    workspace.write_plan({"arguments": Arguments().to_json(), "window": {"pad_to_s": 30.0}})
    context = dataclasses.replace(context, settings=chosen)
    monkeypatch.setenv("EXOTEL_API_TOKEN", "a-token-of-exotel")
    monkeypatch.setenv("MINIO_SECRET_KEY_FILE", "/run/secrets/s3")
    monkeypatch.setenv("POSTGRES_PASSWORD", "one-of-compose")
    monkeypatch.setenv("OBJECT_STORE", "s3://")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")
    monkeypatch.setenv("ASR_THREADS", "7")
    monkeypatch.setattr(trainer_process, "_command", lambda context, kind, workspace: ["/usr/bin/env"])
    with (tmp_path / "lock").open("w") as lock, pytest.raises(RetryableError):  # `env` leaves no result
        trainer_process.train(context, run_id, workspace, lock=lock.fileno(), report=lambda *said: None)
    context.db.dispose()
    given = dict(line.partition("=")[::2] for line in (workspace.folder / "trainer.log").read_text().splitlines())
    names = {*given} & {"EXOTEL_API_TOKEN", "MINIO_SECRET_KEY_FILE", "POSTGRES_PASSWORD", "OBJECT_STORE"}
    assert (names, given["ASR_THREADS"], given["MLFLOW_TRACKING_URI"]) == (set(), "3", "http://mlflow.example")


def test_the_curve_of_a_long_run_keeps_its_first_and_last_steps_and_a_bounded_size() -> None:
    training = [
        {"phase": "training", "step": step, "loss": 9 / step, "learning_rate": 1e-4, "at": 0.0, "eta_s": 5.0}
        for step in range(1, 100_001)
    ]
    validations = [
        {"phase": "validation", "step": step, "wer": 0.5, "old_wer": None, "loss": float("nan"), "said": "a sentence"}
        for step in range(0, 100_001, 100)
    ]
    found = trainer_process.curve(training, validations)
    assert set(found) == {"loss", "learning_rate", "wer"}, "what is no number has no curve"
    assert [len(points) for points in found.values()] == [200, 200, 200]
    assert (found["loss"][0], found["loss"][-1]) == ([1, 9.0], [100_000, 9 / 100_000])
    assert (found["wer"][0], found["wer"][-1]) == ([0, 0.5], [100_000, 0.5])


def test_validation_losses_and_scores_of_other_kinds_have_curves_of_their_own() -> None:
    training = [{"phase": "training", "step": 5, "loss": 2.0}]
    validations = [{"phase": "validation", "step": 5, "loss": 1.5, "macro_f1": 0.8, "rows": 40}]
    assert trainer_process.curve(training, validations) == {
        "loss": [[5, 2.0]], "validation_loss": [[5, 1.5]], "macro_f1": [[5, 0.8]],
    }  # fmt: skip
