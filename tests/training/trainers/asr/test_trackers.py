"""`--report-to tensorboard`: what is told to the writer stays when the run is over and its checkpoints are deleted."""

import json
from pathlib import Path

import pytest

from ml_backend.errors import ConfigurationError
from tests.training import spoken
from tests.training.runs.test_execution import lines, run_of
from training.demo_model import new_domain
from training.runs import execution as training_runs

WRITER = """
import json, os
class SummaryWriter:
    def __init__(self, log_dir):
        os.makedirs(log_dir, exist_ok=True)
        self.file = open(os.path.join(log_dir, "events"), "a")
    def add_text(self, *_): pass
    def add_scalar(self, name, value, step): self.file.write(json.dumps([name, value, step]) + "\\n")
    def flush(self): self.file.flush()
    def close(self): self.file.close()
"""


@pytest.mark.timeout(600)
def test_loss_and_word_error_rate_are_written_beside_the_run_and_stay(tmp_path: Path, monkeypatch):
    """The writer stands in for tensorboardX, of which the trainer's library uses these four methods."""
    context = spoken.opened(tmp_path / "data")
    clips = [*new_domain.new_calls("train", 8, seed=5), *new_domain.new_calls("validation", 2, seed=5)]
    dataset_id = spoken.dataset_of(context, "calls", lines(clips), tmp_path / "scratch")
    with pytest.raises(ConfigurationError, match="pip install mlflow"):
        training_runs.execute(context, run_of(context, dataset_id, report_to="mlflow"))
    (tmp_path / "tensorboardX").mkdir()
    (tmp_path / "tensorboardX" / "__init__.py").write_text(WRITER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    run_id = run_of(context, dataset_id, report_to="tensorboard", steps=2)
    training_runs.execute(context, run_id)
    folder = training_runs.folder_of(context, run_id)
    told = [json.loads(line) for line in (folder / "tensorboard" / "events").read_text().splitlines()]
    names = {name for name, _, _ in told}
    assert {"train/loss", "train/validation_wer"} <= names
    assert [step for name, _, step in told if name == "train/validation_wer"] == [2]
    assert not (folder / "checkpoints").exists()
    context.db.dispose()
