"""Steps -> validations, progress, sealed artefacts, and the decision to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from training.runs.workspace import Workspace, orphaned, read_json, write_json
from training.trainers import checkpoints

STATE = "watch.json"
FORGETTING_WEIGHT = 2.0


@dataclass(frozen=True)
class ValidationScore:
    """Word error rates on validation rows: of the new data and of any replayed data."""

    wer: float
    old_wer: float | None = None

    def against(self, before: ValidationScore | None) -> float:
        """The rate on new rows plus the loss on old rows since `before`. Lower is better.

        An old word weighs as much as two new ones, because most calls are like the old data.
        """
        if before is None or before.old_wer is None or self.old_wer is None:
            return self.wer
        return self.wer + FORGETTING_WEIGHT * max(0.0, self.old_wer - before.old_wer)


@dataclass
class _State:
    best: float | None = None
    best_step: int = 0
    since: int = 0  # validations without a better one


class Watch(TrainerCallback):
    """One per process; the first validates and writes, and all follow its decision."""

    def __init__(
        self,
        workspace: Workspace,
        validate: Callable[[], ValidationScore],
        *,
        every: int,
        patience: int,
        seed: int,
        job: int,
        before: ValidationScore | None = None,
    ) -> None:
        self._workspace, self._validate, self._every, self._patience = workspace, validate, every, patience
        self._seed, self._job, self._before, self._state = seed, job, before, _State()
        self._began, self._first_step, self._loss = time.monotonic(), 0, None
        self.stopped = ""  # why it ended before its last step: early, asked
        self.log: Callable[[dict[str, float]], Any] = lambda numbers: None  # to trackers; set by the loop

    @property
    def best(self) -> Path:
        return self._workspace.folder / "best.safetensors"

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._first_step, self._began = state.global_step, time.monotonic()
        newest = checkpoints.newest(self._workspace.checkpoints) if state.global_step else None
        if newest is not None and (kept := read_json(newest / STATE)):
            self._state = _State(**kept)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Seed step n by n alone, so that a resumed run draws the same numbers as an uninterrupted one."""
        torch.manual_seed(self._seed * 1_000_003 + state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        last = state.global_step >= state.max_steps
        if self._every and (state.global_step % self._every == 0 or last):
            stop = _decided(self._look(state, model) if state.is_world_process_zero else False)
            if stop and not last:
                self.stopped = "early"
                control.should_training_stop = control.should_save = True
        if _decided(self._workspace.stop_asked or bool(self._job and orphaned(self._job))):
            self.stopped = "asked"
            control.should_training_stop = control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs or not state.is_world_process_zero:
            return
        done = max(1, state.global_step - self._first_step)
        eta_s = (time.monotonic() - self._began) / done * (state.max_steps - state.global_step)
        self._workspace.say(
            phase="training", step=state.global_step, steps=state.max_steps, loss=round(float(logs["loss"]), 4),
            learning_rate=logs.get("learning_rate"), eta_s=round(eta_s, 1), at=time.time(),
        )  # fmt: skip

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            folder = self._workspace.checkpoints / f"checkpoint-{state.global_step}"
            write_json(folder / STATE, asdict(self._state))
            checkpoints.seal(folder)

    def release_trainer(self) -> None:
        """Drop the reference to the trainer, to free its memory."""
        self.log = lambda numbers: None

    @property
    def best_step(self) -> int:
        """The step that validated best; 0 is the base, when every step was worse."""
        return 0 if self.base_is_best else self._state.best_step

    @property
    def base_is_best(self) -> bool:
        """Whether the base was better than every step: then the weights are kept, but not served by themselves."""
        best = self._state.best
        return self._before is not None and best is not None and self._before.against(self._before) < best

    def restore_best(self, model: torch.nn.Module) -> int:
        """Restore the weights that validated best; returns their step. Without validation: the last ones."""
        if not self.best.is_file():
            return 0
        model.load_state_dict(load_file(self.best), strict=False)
        return self._state.best_step

    def _look(self, state: Any, model: torch.nn.Module) -> bool:
        validation, kept = self._validate(), self._state
        value = validation.against(self._before)
        if kept.best is None or value < kept.best:
            self._state = _State(value, state.global_step)
            partial = self.best.with_name("best.partial")
            save_file({n: p.detach().contiguous() for n, p in model.named_parameters() if p.requires_grad}, partial)
            partial.replace(self.best)
        else:
            self._state = _State(kept.best, kept.best_step, kept.since + 1)
        self._workspace.say(
            phase="validation", step=state.global_step, steps=state.max_steps, at=time.time(), **asdict(validation),
        )  # fmt: skip
        self.log({f"validation_{name}": rate for name, rate in asdict(validation).items() if rate is not None})
        return bool(self._patience) and self._state.since >= self._patience


def _decided(mine: bool) -> bool:
    """The first process's decision; this one's if it is the only process."""
    answer = [mine]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        broadcast_object_list(answer, from_process=0)
    return bool(answer[0])
