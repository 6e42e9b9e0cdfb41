"""Workspace -> tuned weights, their served form, and a result. Safe to start again after a kill.

Full fine-tuning or adapters, on a CPU, a GPU or several. Three measures against forgetting: rows of an older dataset
are mixed in, windows are padded as in serving, and the result may be an average with the base's weights.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from accelerate import PartialState

from ml_backend.models.manifest import WindowPolicy
from training.runs import data_checks, workload
from training.runs.arguments import Arguments
from training.runs.batches import Order
from training.runs.workspace import NEW, REPLAY, Workspace
from training.trainers import checkpoints
from training.trainers.asr import artefacts, greedy_decoding, loop, machine, parity, telephone, weights
from training.trainers.asr.augmentation import Strength
from training.trainers.asr.frame_cache import RowFeatures, open_rows
from training.trainers.asr.run_monitor import ValidationScore, Watch
from training.trainers.asr.targets import Targets
from training.trainers.asr.training_windows import PlannedBatches, WindowCollator, Windows

_AVERAGES = (0.0, 0.1, 0.2, 0.3, 0.4)
FAITHFUL = "float16"


@dataclass(frozen=True)
class Validation:
    """A run's validation rows: chosen once, spread over the split."""

    row_features: RowFeatures
    window: WindowPolicy
    tokenizer: Any
    new: list[int]
    old: list[int]

    @classmethod
    def of(cls, row_features: RowFeatures, window: WindowPolicy, tokenizer: Any, most: int) -> Validation:
        return cls(
            row_features, window, tokenizer, _spread(row_features, NEW, most), _spread(row_features, REPLAY, most)
        )

    @property
    def words(self) -> int:
        return sum(len(self.row_features.rows[n].text.split()) for n in self.new)

    def score(self, model: Any) -> ValidationScore:
        return ValidationScore(self._wer(model, self.new) or 0.0, self._wer(model, self.old))

    def _wer(self, model: Any, numbers: list[int]) -> float | None:
        if not numbers:
            return None
        rows = [self.row_features.rows[n] for n in numbers]
        mels = [self.row_features.mel(n) for n in numbers]
        texts = greedy_decoding.texts(
            weights.plain(model), self.tokenizer, mels, [r.language for r in rows], self.window
        )
        return parity.word_error_rate([r.text for r in rows], texts)


def train(workspace: Workspace, report: Callable[[str], None] = lambda line: None, *, job: int = 0) -> dict[str, Any]:
    """`job` is the process that waits for the result, 0 for none: the trainer stops when it ends.

    Complete weights are never trained again: the later steps can fail and be retried.
    """
    arguments = Arguments.from_json(workspace.plan()["arguments"])
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    machine.require(arguments)
    machine.limit_memory(arguments, float(workspace.plan().get("memory_share", 1.0)))
    if workspace.learnt() is None:
        ended = _learn(workspace, arguments, report, job)
        if ended is not None:
            return ended
    gc.collect()
    return _served(workspace, arguments, report)


def _learn(
    workspace: Workspace, arguments: Arguments, report: Callable[[str], None], job: int
) -> dict[str, Any] | None:
    """Leaves the weights in the workspace; returns a result only if this process has nothing more to do."""
    plan = workspace.plan()
    window = WindowPolicy(**plan["window"])
    base = weights.load(plan["base"], short_windows=True)
    model: Any = base.model
    if arguments.method == "lora":
        model = weights.with_adapters(
            model, rank=arguments.lora_rank, alpha=arguments.lora_alpha, dropout=arguments.lora_dropout
        )
    row_features = _row_features(workspace, arguments, base, report)
    languages = {row.language for row in row_features.rows if row.split == "train"}
    targets = Targets(base.tokenizer, teaches_language=len(languages) > 1)
    order = Order(
        row_features.rows, arguments.seed, arguments.batch_s, window, arguments.several_share, arguments.replay_share,
        arguments.tempo, [targets.length(row.text) for row in row_features.rows], base.most_labels,
    )  # fmt: skip
    windows = Windows(
        row_features, window.max_s, strength_of(arguments), telephone.bank(_rng(arguments), mels=base.mels),
        arguments.timestamped_share, arguments.telephone_share,
    )  # fmt: skip
    steps = steps_of(arguments, order)
    every = arguments.validate_every or max(1, steps // 10)
    validation = Validation.of(row_features, window, base.tokenizer, arguments.validation_clips)
    newest = checkpoints.newest(workspace.checkpoints)
    on_cpu = arguments.device == "cpu" or not torch.cuda.is_available()
    if newest is None and validation.new and PartialState(cpu=on_cpu).is_main_process:
        before = validation.score(model)
        workspace.say(phase="validation", step=0, steps=steps, wer=before.wer, old_wer=before.old_wer)
    watch = Watch(
        workspace, lambda: validation.score(model), every=every if validation.new else 0,
        patience=arguments.patience, seed=arguments.seed, job=job, before=_before(workspace),
    )  # fmt: skip
    done = loop.steps_of(newest) if newest else 0
    loop.train(
        model,
        PlannedBatches(order, done * arguments.accumulation * arguments.processes),
        WindowCollator(targets, window, windows),
        plan=_loop_plan(arguments, steps, every, weights.learning_rate_for(model, arguments.method)),
        folder=workspace.checkpoints,
        report=report,
        callbacks=[watch],
    )
    if watch.stopped == "asked":
        return {"state": "stopped"}
    if not PartialState().is_main_process:
        return {}
    watch.release_trainer()  # with the optimiser's state, three times the weights
    trained = watch.restore_best(model)
    learnt = {
        "best_step": trained, "trained_step": trained, "stopped": watch.stopped, "words": validation.words,
    }  # fmt: skip
    _keep(workspace, arguments, weights.merged(model), validation, learnt)
    return None


def _row_features(
    workspace: Workspace, arguments: Arguments, base: weights.LoadedWeights, report: Callable[[str], None]
) -> RowFeatures:
    """The rows that this base can be trained on. Checks that need its tokenizer are made here: a language without a
    token, a text longer than the decoder. Such a row is left out by name; many of them refuse the run."""
    row_features = open_rows(
        workspace, mels=base.mels, seed=arguments.seed, cached=arguments.cached_features, report=report
    )
    targets = Targets(base.tokenizer)
    left_out: dict[str, list[str]] = {}
    rows = []
    for row in row_features.rows:
        reason = None if targets.knows(row.language) else "unknown-language"
        if reason is None and targets.length(row.text) + workload.STAMPS + workload.FRAME > base.most_labels:
            reason = "too-many-labels"
        if reason is not None:
            left_out.setdefault(reason, []).append(row.id)
        rows.append(row if reason is None else replace(row, split=reason))
    if left_out:
        unfit = sum(len(ids) for ids in left_out.values())
        if unfit > max(1.0, arguments.most_left_out * len(rows)) or not any(row.split == "train" for row in rows):
            raise data_checks.refusal(
                [data_checks.of_reason(reason, ids, len(rows), base.most_labels) for reason, ids in left_out.items()]
            )
        if not any(line["phase"] == "left-out" for line in workspace.progress()):
            workspace.say(phase="left-out", left_out=left_out)
    return replace(row_features, rows=rows)


def strength_of(arguments: Arguments) -> Strength:
    return Strength(
        tempo=arguments.tempo, vocal_tract=arguments.vocal_tract, tilt=arguments.tilt,
        noise_share=arguments.noise_share, snr_db=(arguments.snr_low_db, arguments.snr_high_db), masks=arguments.masks,
    )  # fmt: skip


def steps_of(arguments: Arguments, order: Order) -> int:
    if arguments.steps:
        return arguments.steps
    batches = len(order.epoch(0)) * arguments.epochs
    return max(1, math.ceil(batches / (arguments.accumulation * arguments.processes)))


def _loop_plan(arguments: Arguments, steps: int, every: int, usual_rate: float) -> loop.TrainingPlan:
    warm_up = max(1, round(steps * arguments.warm_up_share)) if steps > 1 else 0
    return loop.TrainingPlan(
        steps=steps, learning_rate=arguments.learning_rate or usual_rate, warm_up_steps=warm_up,
        decay_steps=max(1, min(steps - warm_up, round(steps * arguments.decay_share))), seed=arguments.seed,
        weight_decay=arguments.weight_decay, save_every=arguments.checkpoint_every or every,
        log_every=max(1, min(25, steps // 20)), loader_workers=0, report_to=arguments.report_to,
        precision=arguments.precision, accumulation=arguments.accumulation,
        gradient_checkpointing=arguments.gradient_checkpointing, device=arguments.device,
    )  # fmt: skip


def _keep(
    workspace: Workspace, arguments: Arguments, model: Any, validation: Validation, learnt: dict[str, Any]
) -> None:
    """Average with the base if requested, and write the weights, so that training is not repeated."""
    plan = workspace.plan()
    share = arguments.average
    if share != 0:
        share = _average(model, plan["base"], share, validation, workspace)
    after = validation.score(model)
    wer, before = after.wer if validation.new else None, _before(workspace)
    workspace.say(phase="saving", wer=wer, old_wer=after.old_wer)
    artefacts.save_twin(model, validation.tokenizer, workspace.weights, half=True)
    artefacts.describe(workspace.weights, **_described(workspace))
    if wer is not None and before is not None and before.against(before) < after.against(before):
        learnt = {**learnt, "best_step": 0}  # the base was better than every step
    learnt = {**learnt, "average": share, "wer": wer, "old_wer": after.old_wer}
    workspace.write_learnt({**learnt, "before": asdict(before) if before else None})


def _described(workspace: Workspace) -> dict[str, Any]:
    """The manifest values of both forms. A version keeps every language of its base."""
    plan = workspace.plan()
    languages = set(plan["languages"])
    if not plan.get("base_languages"):  # a stock Whisper: its tokenizer has the languages
        languages |= weights.languages_of(plan["base"])
    return {
        "name": plan["name"], "languages": tuple(sorted(languages)), "window": WindowPolicy(**plan["window"]),
        "trained_on": plan["trained_on"],
    }  # fmt: skip


def _served(workspace: Workspace, arguments: Arguments, report: Callable[[str], None]) -> dict[str, Any]:
    """Weights -> the smallest form with the same transcripts: as requested, else half precision, twice the size."""
    learnt, window = workspace.learnt() or {}, WindowPolicy(**workspace.plan()["window"])
    described = _described(workspace)
    found = weights.load(str(workspace.weights), short_windows=True)
    row_features = _row_features(workspace, arguments, found, report)
    del found
    numbers = [
        *_spread(row_features, NEW, arguments.validation_clips),
        *_spread(row_features, REPLAY, arguments.validation_clips),
    ]
    learnt_from = _spread(row_features, NEW, parity.MOST_CLIPS, split="train")
    clips = parity.clips_of(row_features, numbers, learnt_from)
    tried: list[dict[str, Any]] = []
    for quantization in dict.fromkeys((arguments.quantization, FAITHFUL)):
        workspace.say(phase="conversion", quantization=quantization)
        written = artefacts.convert(workspace.weights, workspace.model, quantization=quantization, **described)
        compared = parity.compare(
            workspace.weights, workspace.model, clips, window, bound=arguments.parity_bound, quantization=quantization
        )
        compared = {**compared, "quantization": quantization, "tried": tried}
        if compared["passed"]:
            break
        tried.append({name: compared[name] for name in ("quantization", "difference", "computed_in")})
    return {"state": "done", "model_version": written.model_version, "parity": compared, **learnt}


def _average(model: Any, location: str, share: float, validation: Validation, workspace: Workspace) -> float:
    """The given share of the base, or (below 0) the one best on new rows and hardly worse on old ones."""
    tuned = weights.state_of(model)
    base = weights.load(location, short_windows=True).model.state_dict()
    if share < 0:
        before = _before(workspace)
        found = []
        for candidate in _AVERAGES:
            weights.put_average(model, base, tuned, candidate)
            scored = validation.score(model)
            found.append((scored.against(before), candidate))
            workspace.say(phase="averaging", share=candidate, wer=scored.wer, old_wer=scored.old_wer)
        share = min(found)[1]
    weights.put_average(model, base, tuned, share)
    return share


def _before(workspace: Workspace) -> ValidationScore | None:
    """The base's score, which the run's first start wrote into its progress."""
    first = next((line for line in workspace.progress() if line.get("step") == 0), None)
    return ValidationScore(first["wer"], first["old_wer"]) if first else None


def _spread(row_features: RowFeatures, part: str, most: int, *, split: str = "validation") -> list[int]:
    numbers = [n for n, row in enumerate(row_features.rows) if row.split == split and row.part == part]
    return [numbers[i] for i in np.linspace(0, len(numbers) - 1, min(most, len(numbers))).astype(int)]


def _rng(arguments: Arguments) -> np.random.Generator:
    return np.random.default_rng(arguments.seed)
