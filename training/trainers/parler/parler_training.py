"""Workspace -> a Parler-TTS that speaks with the company's voices. Safe to start again after a kill.

LoRA trains small matrices beside the decoder's linear layers and is merged at the end; `full` trains the whole decoder.
The text encoder and the codec stay as they are. Only trained parameters are in a checkpoint: a few megabytes for LoRA.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ml_backend.errors import PermanentError
from ml_backend.models import manifest
from training.runs.workspace import Workspace, orphaned, write_json
from training.trainers import checkpoints
from training.trainers.parler import codec_cache, delayed_codes, parler_library, parler_speech
from training.trainers.parler.codec_cache import ParlerRow
from training.trainers.parler.delayed_codes import CodedClip
from training.trainers.parler.parler_library import ParlerModel
from training.trainers.parler.parler_options import FULL, NEUTRAL, ParlerOptions, description

_LINEAR = r"decoder\.model\.decoder\.layers\..*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
_FROZEN = ("text_encoder.", "audio_encoder.")
_STEADY = 0.9  # of the steps after warming up are at the full rate; then it falls to nothing
_PARITY = 0.02  # of the loss: half precision on a GPU differs by less
_TRIAL_S = 2.0
_STOPPED: dict[str, object] = {"state": "stopped"}


@dataclass(frozen=True)
class _Scorer:
    """A model with what its loss needs."""

    found: ParlerModel
    options: ParlerOptions
    device: str

    def loss(self, clips: list[CodedClip]) -> Tensor:
        config = self.found.model.config.decoder
        batch = delayed_codes.batch(
            clips, self.found.prompts, self.found.descriptions, start=config.bos_token_id, end=config.eos_token_id
        )
        half = self.options.precision == "bf16" or (self.options.precision == "auto" and self.device == "cuda")
        with torch.autocast(self.device, dtype=torch.bfloat16) if half else nullcontext():
            loss: Tensor = self.found.model(**{name: each.to(self.device) for name, each in batch.items()}).loss
        return loss.float()

    @torch.no_grad()
    def mean(self, clips: list[CodedClip]) -> float:
        self.found.model.eval()
        size = self.options.batch_clips
        parts = [clips[at : at + size] for at in range(0, len(clips), size)]
        return sum(float(self.loss(part)) * len(part) for part in parts) / len(clips)


@dataclass
class _Run:
    workspace: Workspace
    options: ParlerOptions
    scorer: _Scorer
    trained: dict[str, torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    step: int = 0
    best_step: int = 0
    best_loss: float = float("inf")
    before: float | None = None


def train(workspace: Workspace, *, report: Callable[[str], None], job: int = 0) -> dict[str, object]:
    """The run's result; `stopped` when it was asked to stop, with a checkpoint to go on from."""
    plan = workspace.plan()
    options = ParlerOptions.from_json(plan["arguments"])
    torch.set_num_threads(options.threads)
    if workspace.learnt() is None and not _learnt(workspace, options, plan, report, job):
        return dict(_STOPPED)
    return _served(workspace, options, plan, job)


def _learnt(
    workspace: Workspace, options: ParlerOptions, plan: dict[str, Any], report: Callable[[str], None], job: int
) -> bool:
    """Write the trained weights; False when stopped before."""
    workspace.say(phase="loading")
    device = parler_library.device(options.device)
    found = parler_library.load(str(plan["base"]))
    clips = _clips(workspace, found, plan, options, device, job)
    if clips is None:
        return False
    run = _begun(workspace, options, found, device)
    report(f"{sum(p.numel() for p in run.trained.values()):,} trained parameters, {len(clips['train'])} recordings")
    if run.before is None and clips["validation"]:
        run.before = run.best_loss = run.scorer.mean(clips["validation"])
        workspace.say(phase="validation", step=0, steps=options.steps, loss=round(run.before, 4))
    batches = delayed_codes.order(
        [clip.codes.shape[1] for clip in clips["train"]], size=options.batch_clips, seed=options.seed
    )
    for _ in range(run.step * options.accumulation):
        next(batches)
    began, first = time.monotonic(), run.step
    while run.step < options.steps:
        if workspace.stop_asked or (job and orphaned(job)):
            _save(run)
            return False
        loss = _step(run, [[clips["train"][n] for n in next(batches)] for _ in range(options.accumulation)])
        run.step += 1
        eta_s = (time.monotonic() - began) / (run.step - first) * (options.steps - run.step)
        workspace.say(
            phase="training", step=run.step, steps=options.steps, loss=round(loss, 4), eta_s=round(eta_s, 1),
            learning_rate=run.optimizer.param_groups[0]["lr"],
        )  # fmt: skip
        last = run.step == options.steps
        if clips["validation"] and (last or run.step % options.validate_every == 0):
            _validate(run, clips["validation"])
        if last or run.step % options.checkpoint_every == 0:
            _save(run)
    _write(run, plan)
    return True


def _clips(
    workspace: Workspace, found: ParlerModel, plan: dict[str, Any], options: ParlerOptions, device: str, job: int
) -> dict[str, list[CodedClip]] | None:
    """Recordings by split, encoded; None when stopped meanwhile."""
    rate_hz = int(plan["sample_rate_hz"])
    wanted = [
        row
        for row in codec_cache.rows(workspace)
        if options.shortest_s <= row.samples / rate_hz <= options.longest_s and row.text.strip()
    ]
    wanted = [row for row in wanted if row.split != "validation"] + _spread(
        [row for row in wanted if row.split == "validation"], options.validation_clips
    )
    if not any(row.split == "train" for row in wanted):
        raise PermanentError(
            "parler-no-recordings",
            f"No training recording is between {options.shortest_s:g} s and {options.longest_s:g} s long with a text.",
            "Add recordings, or change shortest_s and longest_s.",
        )

    def goes_on(done: int, of: int) -> bool:
        workspace.say(phase="encoding", done=done, of=of)
        return not (workspace.stop_asked or (job and orphaned(job)))

    codes = codec_cache.codes(workspace, found, wanted, rate_hz=rate_hz, device=device, report=goes_on)
    if codes is None:
        return None
    by_split: dict[str, list[CodedClip]] = {"train": [], "validation": []}
    for row, each in zip(wanted, codes, strict=True):
        sentence = description(row.voice, row.language, row.emotion or NEUTRAL, given=plan.get("descriptions"))
        by_split[row.split if row.split in by_split else "train"].append(CodedClip(row.text, sentence, each))
    return by_split


def _spread(rows: list[ParlerRow], most: int) -> list[ParlerRow]:
    return [rows[n] for n in np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)] if rows else []


def _begun(workspace: Workspace, options: ParlerOptions, found: ParlerModel, device: str) -> _Run:
    """A run at its newest whole checkpoint, or at its beginning."""
    torch.manual_seed(options.seed)
    model = found.model
    for parameter in model.parameters():
        parameter.requires_grad = False
    if options.method == FULL:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = not name.startswith(_FROZEN)
    else:
        from peft import LoraConfig, inject_adapter_in_model

        settings = LoraConfig(r=options.rank, lora_alpha=2 * options.rank, target_modules=_LINEAR, lora_dropout=0.0)
        inject_adapter_in_model(settings, model)
    if options.gradient_checkpointing:
        model.decoder.model.decoder.gradient_checkpointing = True
    model.to(device)
    trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
    optimizer = torch.optim.AdamW(
        trained.values(), lr=options.learning_rate, weight_decay=options.weight_decay, betas=(0.9, 0.98)
    )
    run = _Run(workspace, options, _Scorer(found, options, device), trained, optimizer)
    if newest := checkpoints.newest(workspace.checkpoints):
        _put(run, load_file(newest / "trained.safetensors"))
        state = json.loads((newest / "state.json").read_text(encoding="utf-8"))
        run.step, run.best_step, run.before = state["step"], state["best_step"], state["before"]
        run.best_loss = float("inf") if state["best_loss"] is None else state["best_loss"]
        optimizer.load_state_dict(torch.load(newest / "optimizer.bin", weights_only=True, map_location=device))
        torch.manual_seed(options.seed + run.step)  # of the dropout
        workspace.say(phase="resumed", step=run.step, steps=options.steps)
    return run


def _step(run: _Run, batches: list[list[CodedClip]]) -> float:
    """One update of the trained parameters; the mean loss of its batches."""
    for group in run.optimizer.param_groups:
        group["lr"] = run.options.learning_rate * _rate(run.step, run.options)
    run.scorer.found.model.decoder.train()
    run.optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for clips in batches:
        loss = run.scorer.loss(clips) / len(batches)
        if not torch.isfinite(loss):
            raise PermanentError(
                "training-diverged", f"The loss is not a number at step {run.step + 1}.", "Use a smaller learning rate."
            )
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    torch.nn.utils.clip_grad_norm_(run.trained.values(), 1.0)
    run.optimizer.step()
    return total


def _rate(step: int, options: ParlerOptions) -> float:
    """Part of the learning rate: rising, steady, falling."""
    if step < options.warm_up_steps:
        return (step + 1) / options.warm_up_steps
    falling = options.warm_up_steps + _STEADY * max(0, options.steps - options.warm_up_steps)
    return 1.0 if step < falling else max(0.05, (options.steps - step) / max(1.0, options.steps - falling))


def _validate(run: _Run, clips: list[CodedClip]) -> None:
    """Keep the parameters when they are the best so far."""
    loss = run.scorer.mean(clips)
    run.workspace.say(phase="validation", step=run.step, steps=run.options.steps, loss=round(loss, 4))
    if loss < run.best_loss:
        run.best_loss, run.best_step = loss, run.step
        path = run.workspace.folder / "best.safetensors"
        save_file(_state(run), path.with_suffix(".partial"))
        path.with_suffix(".partial").replace(path)


def _state(run: _Run) -> dict[str, Tensor]:
    return {name: each.detach().cpu().contiguous() for name, each in run.trained.items()}


def _put(run: _Run, state: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in run.trained.items():
            parameter.copy_(state[name])


def _save(run: _Run) -> None:
    """A sealed checkpoint; older ones go when it is whole."""
    folder = run.workspace.checkpoints / f"checkpoint-{run.step}"
    if checkpoints.whole(folder):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_file(_state(run), folder / "trained.safetensors")
    torch.save(run.optimizer.state_dict(), folder / "optimizer.bin")
    best_loss = None if run.best_loss == float("inf") else run.best_loss
    write_json(
        folder / "state.json",
        {"step": run.step, "best_step": run.best_step, "best_loss": best_loss, "before": run.before},
    )
    checkpoints.seal(folder)
    for older in run.workspace.checkpoints.glob("checkpoint-*"):
        if older != folder:
            shutil.rmtree(older, ignore_errors=True)


def _write(run: _Run, plan: dict[str, Any]) -> None:
    """The best parameters -> `weights`, merged: a Parler-TTS like any other."""
    workspace, options = run.workspace, run.options
    after = run.best_loss if run.before is not None else None
    best = workspace.folder / "best.safetensors"
    if run.before is None:
        run.best_step = run.step  # nothing to choose by
    elif run.best_step and best.is_file():
        _put(run, load_file(best))
    workspace.say(phase="saving")
    found = run.scorer.found
    model = found.model
    if options.method != FULL:
        if run.before is not None and not run.best_step:  # the base was better than every step
            _put(run, {name: torch.zeros_like(each) for name, each in _state(run).items()})
        _merge(model)
    elif run.before is not None and not run.best_step:
        model = parler_library.load(str(plan["base"])).model
    model.to("cpu").eval()
    parler_library.save(ParlerModel(model, found.prompts, found.descriptions), workspace.weights)
    _describe(workspace.weights, plan, found)
    workspace.write_learnt(
        {
            "best_step": run.best_step, "trained_step": run.step, "method": options.method,
            "before": {"loss": run.before}, "after": {"loss": after},
        }
    )  # fmt: skip


def _merge(model: Any) -> None:
    """Add every adapter to its layer and put the layer back in its place."""
    from peft.tuners.lora import LoraLayer

    for name, layer in [each for each in model.named_modules() if isinstance(each[1], LoraLayer)]:
        layer.merge(safe_merge=True)
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer.get_base_layer())


def _describe(folder: Any, plan: dict[str, Any], found: ParlerModel) -> Any:
    voices = list(plan.get("voices") or sorted({row.voice for row in _all_rows(folder)}))
    return manifest.write(
        folder, name=plan["name"], languages=tuple(plan["languages"]), window=None, kind="tts",
        needs={
            "engine": parler_library.MODEL_TYPE, "voices": voices, "emotions": list(plan.get("emotions") or [NEUTRAL]),
            "descriptions": dict(plan.get("descriptions") or {}), "versions": dict(parler_library.VERSIONS),
        },
        trained_on=plan["trained_on"], sample_rate_hz=found.rate_hz,
    )  # fmt: skip


def _all_rows(folder: Any) -> list[ParlerRow]:
    return codec_cache.rows(Workspace(folder.parent))


def _served(workspace: Workspace, options: ParlerOptions, plan: dict[str, Any], job: int) -> dict[str, object]:
    """The served form is the trained one: its files are linked, not copied. It is loaded as it will be served, must
    have the loss that the training ended with, and speaks once."""
    workspace.say(phase="conversion")
    partial = workspace.model.with_name(workspace.model.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(workspace.weights, partial, copy_function=_linked)
    shutil.rmtree(workspace.model, ignore_errors=True)
    partial.replace(workspace.model)
    described = manifest.verify(workspace.model)
    learnt = workspace.learnt() or {}
    device = parler_library.device(options.device)
    found = parler_library.load(str(workspace.model))
    clips = _clips(workspace, found, plan, options, device, job)
    if clips is None:
        return dict(_STOPPED)
    compared = _compared(_Scorer(found.on(device), options, device), clips["validation"], learnt["after"]["loss"])
    row = next(row for row in codec_cache.rows(workspace) if row.text.strip())
    sentence = description(row.voice, row.language, row.emotion or NEUTRAL, given=plan.get("descriptions"))
    samples = parler_speech.say(found, row.text, sentence, device=device, most_s=_TRIAL_S)
    spoken_s = round(samples.size / found.rate_hz, 3)
    compared["spoken_s"] = spoken_s
    return {"state": "done", "model_version": described.model_version, "parity": compared, **learnt}


def _compared(scorer: _Scorer, clips: list[CodedClip], trained_loss: float | None) -> dict[str, Any]:
    """Loss of the version as saved and loaded again, against the loss that the trainer had in memory."""
    if trained_loss is None:
        return {"passed": True, "difference": None, "bound": _PARITY, "clips": 0}
    difference = abs(scorer.mean(clips) - trained_loss)
    return {
        "passed": difference <= _PARITY, "difference": round(difference, 5), "bound": _PARITY, "clips": len(clips)
    }  # fmt: skip


def _linked(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
    return target
