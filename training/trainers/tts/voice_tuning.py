"""Workspace -> a tuned voice: weights, served form, and the figures of the way there.

First the aligner is adapted to the new recordings and measures their letters, then the voice is trained on them. In
every batch the base's own voices rehearse: what they say of known sentences is trained along with the new recordings,
so that one hundred clips do not make the network forget the letters that are not in them. Needs no old recordings.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ml_backend.errors import PermanentError, RetryableError
from ml_backend.tts import speech_text
from training.runs import voice_rows
from training.runs.tts_arguments import TtsArguments
from training.runs.voice_rows import VoiceRow
from training.runs.workspace import NEW, Workspace, orphaned, read_json, write_json
from training.trainers import checkpoints
from training.trainers.tts import aligner as alignment
from training.trainers.tts import voice_clips, voice_export, voice_steps, voice_weights
from training.trainers.tts.voice_clips import VoiceBatches, VoiceClip
from training.trainers.tts.voice_weights import TrainableVoice

_STATE = "state.json"
_NETWORK, _ALIGNER, _BEST, _MOMENTS = (f"{name}.safetensors" for name in ("network", "aligner", "best", "moments"))
_SAY_EVERY = 25
_MOST_REHEARSED = 400  # clips
_MOST_COMPARED = 24


def train(workspace: Workspace, *, job: int = 0) -> dict[str, Any]:
    """`job` is the process that waits for the result, 0 for none: the trainer stops when it ends.

    Complete weights are never trained again: the later steps can fail and be retried.
    """
    options = TtsArguments.from_json(workspace.plan()["arguments"])
    torch.set_num_threads(options.threads or 1)
    if workspace.learnt() is None:
        run = TuningRun.open(workspace, options, job)
        if not run.finished():
            return {"state": "stopped"}
    return _served(workspace, options)


@dataclass
class TuningRun:
    """One run of the trainer; `voice` changes in place."""

    workspace: Workspace
    options: TtsArguments
    job: int
    voice: TrainableVoice
    train: list[VoiceClip]
    validation: list[VoiceClip]
    replay: list[VoiceClip]
    rehearsed: list[VoiceClip]
    step: int = 0
    best: tuple[float, int] | None = None
    best_weights: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    before: float | None = None
    began: float = dataclasses.field(default_factory=time.monotonic)
    begun_at: int = 0
    moments: dict[str, Tensor] = dataclasses.field(default_factory=dict)

    @classmethod
    def open(cls, workspace: Workspace, options: TtsArguments, job: int) -> TuningRun:
        """The base and its clips, at the newest whole checkpoint."""
        rows = voice_rows.read(workspace)
        base = voice_weights.load(Path(workspace.plan()["base"]))
        if not options.steps or workspace.plan().get("sample_rate_hz", base.needs.scale.rate_hz) != (
            base.needs.scale.rate_hz
        ):
            raise PermanentError(
                "voice-sample-rate", f"The base speaks at {base.needs.scale.rate_hz} Hz and the recordings do not.",
                "Make the run again: the recordings are resampled when it is made.",
            )  # fmt: skip
        voice = voice_weights.extended(
            base, texts=[row.text for row in rows], languages=[row.language for row in rows],
            voices=[row.voice for row in rows], emotions=[row.emotion for row in rows],
        )  # fmt: skip
        clips = _clips(workspace, rows, voice, options)
        train, validation, replay = (
            [clip for row, clip in clips if (row.split, row.part == NEW) == kind]
            for kind in (("train", True), ("validation", True), ("train", False))
        )
        run = cls(workspace, options, job, voice, train, validation, replay, [])
        if not run.train:
            raise PermanentError(
                "voice-no-clips",
                "The dataset has no recording of this voice to train on.",
                "Add some with their texts.",
            )
        if options.rehearsal_share and not run.replay:
            run.rehearsed = rehearsal(base)
        run._resume()
        return run

    @property
    def last(self) -> int:
        return self.options.aligner_steps + self.options.steps

    def finished(self) -> bool:
        """Train to the end and keep the weights; False when it was asked to stop, with a checkpoint of where."""
        options = self.options
        measured = [*self.train, *self.validation, *self.replay]
        if not self._all(
            self.voice.aligner, [VoiceBatches([*self.train, *self.replay], options.batch_clips, seed=options.seed)],
            voice_steps.aligner_loss, upto=options.aligner_steps, since=0, rate=options.aligner_learning_rate,
        ):  # fmt: skip
            return False
        measured = voice_steps.aligned(self.voice.aligner, measured)
        train, rest = measured[: len(self.train)], measured[len(self.train) :]
        validation, replay = rest[: len(self.validation)], rest[len(self.validation) :]
        self.validation = validation
        if self.before is None and validation:
            self.before = self._validated()
        if not self._all(
            self.voice.network, _mixed(train, replay or self.rehearsed, options), voice_steps.voice_loss,
            upto=self.last, since=options.aligner_steps, rate=options.learning_rate,
        ):  # fmt: skip
            return False
        if self.best_weights:
            self.voice.network.load_state_dict(self.best_weights)
        self._keep()
        return True

    def _all(
        self, network: torch.nn.Module, batches: Sequence[VoiceBatches], loss: Callable[..., Tensor], *, upto: int,
        since: int, rate: float,
    ) -> bool:  # fmt: skip
        """One network's steps. The numbers of a step depend on the step alone, so that a resumed run is the same."""
        if self.step >= upto:
            return True
        options = self.options
        optimizer = voice_steps.optimizer_of(network, learning_rate=rate, weight_decay=options.weight_decay)
        if self.moments:
            _put_moments(optimizer, self.moments)
            self.moments = {}
        while self.step < upto:
            torch.manual_seed(options.seed * 1_000_003 + self.step)
            network.train()
            done, steps = self.step - since, upto - since
            share = voice_steps.rate_at(done, steps, warm_up=max(1, round(options.warm_up_share * steps)))
            some = [clip for source in batches for clip in source.at(done)]
            value = voice_steps.stepped(optimizer, loss(network, some), learning_rate=rate * share)
            self.step += 1
            self._say(value, rate * share)
            stop = self.workspace.stop_asked or bool(self.job and orphaned(self.job))
            looks = options.validate_every and (done + 1) % options.validate_every == 0
            if upto == self.last and (looks or self.step == self.last):
                self._look()
            if stop or (self.step % options.checkpoint_every == 0 and self.step < upto):
                self._checkpoint(optimizer if self.step < upto else None)
            if stop and self.step < self.last:
                return False
            if time.monotonic() - self.began > 3600 * options.max_hours:
                self._checkpoint(optimizer)
                raise RetryableError(
                    "training-too-long", f"The training took longer than {options.max_hours:g} hours.",
                    "It goes on from its last checkpoint: start it again, or lower steps.",
                )  # fmt: skip
        return True

    def _say(self, loss: float, learning_rate: float) -> None:
        if self.step % _SAY_EVERY and self.step != self.last:
            return
        each_s = (time.monotonic() - self.began) / max(1, self.step - self.begun_at)
        self.workspace.say(
            phase="training", step=self.step, steps=self.last, loss=round(loss, 4), learning_rate=learning_rate,
            eta_s=round(each_s * (self.last - self.step), 1), at=time.time(),
        )  # fmt: skip

    def _validated(self) -> float:
        self.voice.network.eval()
        with torch.no_grad():
            batches = [self.validation[at : at + 16] for at in range(0, len(self.validation), 16)]
            values = [float(voice_steps.voice_loss(self.voice.network, some)) * len(some) for some in batches]
        return round(sum(values) / len(self.validation), 5)

    def _look(self) -> None:
        if not self.validation:
            return
        value = self._validated()
        self.workspace.say(phase="validation", step=self.step, steps=self.last, loss=value, at=time.time())
        if self.best is None or value < self.best[0]:
            self.best = (value, self.step)
            self.best_weights = {name: t.detach().clone() for name, t in self.voice.network.state_dict().items()}

    def _checkpoint(self, optimizer: torch.optim.AdamW | None) -> None:
        """Without an optimizer where one network has ended and the next begins with its own."""
        folder = self.workspace.checkpoints / f"checkpoint-{self.step}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        save_file(self.voice.network.state_dict(), folder / _NETWORK)
        save_file(self.voice.aligner.state_dict(), folder / _ALIGNER)
        if optimizer is not None:
            save_file(_moments(optimizer), folder / _MOMENTS)
        if self.best_weights:
            save_file(self.best_weights, folder / _BEST)
        write_json(folder / _STATE, {"best": list(self.best) if self.best else None, "before": self.before})
        checkpoints.seal(folder)
        for old in self.workspace.checkpoints.glob("checkpoint-*"):
            if old != folder:
                shutil.rmtree(old, ignore_errors=True)

    def _resume(self) -> None:
        newest = checkpoints.newest(self.workspace.checkpoints)
        if newest is None:
            return
        self.voice.network.load_state_dict(load_file(newest / _NETWORK))
        self.voice.aligner.load_state_dict(load_file(newest / _ALIGNER))
        self.moments = load_file(newest / _MOMENTS) if (newest / _MOMENTS).is_file() else {}
        self.best_weights = load_file(newest / _BEST) if (newest / _BEST).is_file() else {}
        state = read_json(newest / _STATE) or {}
        self.best, self.before = (tuple(state["best"]) if state.get("best") else None), state.get("before")
        self.step = self.begun_at = int(newest.name.rpartition("-")[2])

    def _keep(self) -> None:
        plan = self.workspace.plan()
        self.workspace.say(phase="saving", step=self.step, steps=self.last)
        voice_weights.save(self.voice, self.workspace.weights, name=plan["name"], trained_on=plan["trained_on"])
        after = self.best[0] if self.best else None
        self.workspace.write_learnt(
            {
                "best_step": self.best[1] if self.best else self.step, "trained_step": self.step,
                "before": {"loss": self.before} if self.before is not None else {},
                "after": {"loss": after} if after is not None else {},
            }
        )  # fmt: skip


def _clips(
    workspace: Workspace, rows: Sequence[VoiceRow], voice: TrainableVoice, options: TtsArguments
) -> list[tuple[VoiceRow, VoiceClip]]:
    """The rows that can be learnt from. One without speech, or too short for its text, is left out by name."""
    audio, needs = workspace.audio(), voice.needs
    kept: list[tuple[VoiceRow, VoiceClip]] = []
    left_out: dict[str, list[str]] = {}
    for row in rows:
        normal = speech_text.normalised(row.text)
        frames = voice_clips.spoken_frames(audio[row.first : row.first + row.samples], needs.scale)
        letters = np.array([needs.alphabet.index(letter) for letter in speech_text.framed(normal)], dtype=np.int64)
        if not speech_text.says_something(normal):
            reason = "no-text"
        elif not len(frames):
            reason = "no-speech"
        elif not alignment.fits(len(frames), letters):
            reason = "too-short-for-its-text"
        else:
            clip = VoiceClip(
                letters, needs.languages.index(row.language), needs.voices.index(row.voice),
                needs.emotions.index(row.emotion), voice.norm.forward(frames),
            )  # fmt: skip
            kept.append((row, clip))
            continue
        left_out.setdefault(reason, []).append(row.id)
    unfit = sum(map(len, left_out.values()))
    if unfit > max(1.0, options.most_left_out * len(rows)):
        reasons = ", ".join(f"{len(ids)} {reason}, such as {ids[0]}" for reason, ids in left_out.items())
        raise PermanentError(
            "voice-clips-unfit", f"{unfit} of {len(rows)} recordings do not fit their texts: {reasons}.",
            "Correct them or leave them out, or raise most_left_out.",
        )  # fmt: skip
    if left_out and not any(line["phase"] == "left-out" for line in workspace.progress()):
        workspace.say(phase="left-out", left_out=left_out)
    return kept


def rehearsal(base: TrainableVoice) -> list[VoiceClip]:
    """What the base's voices say of the sentences that came with it. Of the base alone, never of a checkpoint."""
    needs, found = base.needs, []
    for place, (text, language) in enumerate(base.texts[:_MOST_REHEARSED]):
        voice, emotion = place % len(needs.voices), place // len(needs.voices) % len(needs.emotions)
        normal = speech_text.normalised(text)
        mel, frames = voice_export.spoken(base, normal, language, needs.voices[voice], needs.emotions[emotion])
        letters = np.array([needs.alphabet.index(letter) for letter in speech_text.framed(normal)], dtype=np.int64)
        if len(mel):
            found.append(VoiceClip(letters, needs.languages.index(language), voice, emotion, mel, frames))
    return found


def _mixed(train: list[VoiceClip], rehearsed: list[VoiceClip], options: TtsArguments) -> list[VoiceBatches]:
    """Two sources of every batch: the new recordings, and as many old clips as `rehearsal_share` says."""
    old = round(options.batch_clips * options.rehearsal_share) if rehearsed else 0
    found = [VoiceBatches(train, max(1, options.batch_clips - old), seed=options.seed)]
    return [*found, VoiceBatches(rehearsed, old, seed=options.seed + 1)] if old else found


def _moments(optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{at}.{name}": torch.as_tensor(value) for at, one in state.items() for name, value in one.items()}


def _put_moments(optimizer: torch.optim.AdamW, moments: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        at, _, name = key.partition(".")
        state.setdefault(int(at), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _served(workspace: Workspace, options: TtsArguments) -> dict[str, Any]:
    """Weights -> the served form, compared with the trained one on what it will be asked."""
    plan = workspace.plan()
    workspace.say(phase="converting")
    voice = voice_weights.load(workspace.weights)
    written = voice_export.convert(voice, workspace.model, name=plan["name"], trained_on=plan["trained_on"])
    rows = [row for row in voice_rows.read(workspace) if speech_text.says_something(speech_text.normalised(row.text))]
    rows.sort(key=lambda row: row.split != "validation")
    asked = [(row.text, row.language, row.voice, row.emotion) for row in rows[:_MOST_COMPARED]]
    parity = voice_export.compare(voice, workspace.model, asked, bound=options.parity_bound)
    return {"state": "done", "model_version": written.model_version, "parity": parity, **(workspace.learnt() or {})}
