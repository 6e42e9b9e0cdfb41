"""The best step is chosen among those that were trained, and the base is one of those it is measured against."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from training.runs.workspace import Workspace
from training.trainers.asr.run_monitor import ValidationScore, Watch


@pytest.mark.parametrize(
    ("before", "rates", "best", "trained"),
    [(0.30, [0.40, 0.35, 0.38], 0, 2), (0.30, [0.40, 0.25, 0.38], 2, 2), (0.30, [0.30, 0.31], 1, 1)],
)
def test_the_base_counts_as_a_step_and_what_was_learnt_is_kept_all_the_same(before, rates, best, trained, tmp_path):
    heard = iter(rates)
    model = torch.nn.Linear(2, 2)
    watch = Watch(
        Workspace(tmp_path),
        lambda: ValidationScore(next(heard)),
        every=1,
        patience=0,
        seed=1,
        job=0,
        before=ValidationScore(before),
    )
    for step in range(1, len(rates) + 1):
        torch.nn.init.constant_(model.weight, float(step))
        state = SimpleNamespace(global_step=step, max_steps=len(rates), is_world_process_zero=True)
        watch.on_step_end(None, state, SimpleNamespace(), model=model)
    assert watch.restore_best(model) == trained
    assert float(model.weight[0, 0].detach()) == trained
    assert watch.best_step == best
