"""Batches -> trained weights: the training loop of every Whisper here, on transformers' Seq2SeqTrainer.

The trainer provides mixed precision, checkpoints, resuming, several GPUs (accelerate) and tracking; the loss is ours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import IterableDataset
from transformers import (
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    TrainerControl,
    WhisperForConditionalGeneration,
)
from transformers.integrations.integration_utils import TensorBoardCallback

from training.trainers.asr.collation import Collator
from training.trainers.asr.targets import IGNORED


@dataclass(frozen=True)
class TrainingPlan:
    """Steps and rates. The stream's `frames_per_batch` is the batch size, so the trainer's own is 1."""

    steps: int
    learning_rate: float
    warm_up_steps: int
    decay_steps: int
    """The learning rate is constant after warming up and falls to nothing over the last `decay_steps`. Unlike one long
    slope this lets a run be cut short or prolonged and still be the run that the shorter or longer plan describes."""
    seed: int
    weight_decay: float = 0.01
    save_every: int = 250
    log_every: int = 50
    loader_workers: int = 1
    timestamp_weight: float = 0.5
    """A timestamp is a guess among fifty neighbours: at full weight it drowns the words."""
    report_to: str = "none"
    precision: str = "auto"
    accumulation: int = 1
    gradient_checkpointing: bool = False
    device: str = "auto"


_RECOMPUTED: dict[str, Any] = {
    "gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}
}  # fmt: skip


class SpeechTrainer(Seq2SeqTrainer):
    """Cross-entropy over text and timestamps, with separate weights."""

    def __init__(self, *, plan: TrainingPlan, collator: Collator, **kwargs: Any) -> None:
        super().__init__(data_collator=collator, **kwargs)
        self.plan, self.targets = plan, collator.targets
        self.model_accepts_loss_kwargs = False  # our loss is a mean: the trainer divides it when it accumulates

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        outputs = model(
            input_features=inputs["input_features"], decoder_input_ids=inputs["decoder_input_ids"], use_cache=False
        )
        loss = self.text_loss(outputs.logits, inputs["labels"])
        return (loss, outputs) if return_outputs else loss

    def text_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        losses = nn.functional.cross_entropy(
            logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
        )
        flat = labels.flatten()
        weights = torch.where(flat >= self.targets.first_timestamp, self.plan.timestamp_weight, 1.0) * (flat != IGNORED)
        return (losses * weights).sum() / weights.sum().clamp(min=1.0)


def train(
    model: WhisperForConditionalGeneration,
    batches: IterableDataset[Any],
    collator: Collator,
    *,
    plan: TrainingPlan,
    folder: Path,
    report: Callable[[str], None],
    trainer: type[SpeechTrainer] = SpeechTrainer,
    stop_at: int | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> SpeechTrainer | None:
    """Writes checkpoints to `folder`, and resumes from the newest one there. `stop_at` ends before the plan does."""
    newest = newest_checkpoint(folder)
    if newest and steps_of(newest) >= min(plan.steps, stop_at or plan.steps):
        report(f"training: done already ({newest.name})")
        return None
    on_gpu = torch.cuda.is_available() and plan.device != "cpu"
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(folder),
        max_steps=plan.steps,
        learning_rate=plan.learning_rate,
        warmup_steps=plan.warm_up_steps,
        weight_decay=plan.weight_decay,
        adam_beta2=0.98,
        max_grad_norm=1.0,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": plan.decay_steps, "decay_type": "linear"},
        seed=plan.seed,
        per_device_train_batch_size=1,
        bf16=plan.precision == "bf16" or (plan.precision == "auto" and bfloat16_pays(on_gpu)),
        fp16=plan.precision == "fp16",
        gradient_accumulation_steps=plan.accumulation,
        **(_RECOMPUTED if plan.gradient_checkpointing else {}),
        use_cpu=not on_gpu,
        dataloader_num_workers=plan.loader_workers,
        dataloader_pin_memory=on_gpu,
        ignore_data_skip=True,
        remove_unused_columns=False,
        save_steps=min(plan.save_every, plan.steps),
        save_total_limit=2,
        logging_steps=min(plan.log_every, plan.steps),
        report_to=plan.report_to,
        disable_tqdm=True,
        accelerator_config={"dispatch_batches": False},
    )
    running = trainer(
        plan=plan,
        collator=collator,
        model=model,
        args=arguments,
        train_dataset=batches,
        callbacks=[_Progress(report, stop_at), *callbacks],
    )
    running.remove_callback(PrinterCallback)
    for each in running.callback_handler.callbacks:
        if isinstance(each, TensorBoardCallback) and each.logging_dir is None:
            each.logging_dir = str(folder.parent / "tensorboard")  # checkpoints are deleted when a run is over
        if hasattr(each, "log"):
            each.log = partial(_log_figures, running)
    running.train(resume_from_checkpoint=str(newest) if newest else None)
    return running


def _log_figures(running: Seq2SeqTrainer, numbers: dict[str, float]) -> None:
    """Send one process's figures to its trackers. The trainer's `log` would synchronise all processes. A separate
    control keeps the step's own figures from counting as logged."""
    running.callback_handler.on_log(running.args, running.state, TrainerControl(), numbers)


def newest_checkpoint(folder: Path) -> Path | None:
    found = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").exists()]
    return max(found, key=steps_of, default=None)


def steps_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def bfloat16_pays(on_gpu: bool) -> bool:
    """False on a CPU without bfloat16 arithmetic, where it is emulated, forty times slower than float32 (measured)."""
    return on_gpu or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _Progress(TrainerCallback):
    def __init__(self, report: Callable[[str], None], stop_at: int | None) -> None:
        self._report, self._stop_at = report, stop_at

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._stop_at is not None and state.global_step >= self._stop_at:
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if logs and "loss" in logs:
            self._report(f"step {state.global_step} of {state.max_steps}: loss {float(logs['loss']):.3f}")
