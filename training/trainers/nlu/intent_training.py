"""Workspace -> a trained parser, its served form, and a result. Safe to start again after a kill.

The validation rows are wordings that training does not see: they choose the step, the temperature and the threshold,
because on wordings that it has seen a parser is nearly always right and says so. Step n depends on the seed and n
alone, so a resumed run makes the same weights as an uninterrupted one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ml_backend.nlu import loading
from ml_backend.nlu.parsing import Parser, ParserNeeds
from training.runs.nlu_arguments import NluArguments
from training.runs.workspace import Workspace, orphaned, read_json, write_json
from training.scoring import intent_scores
from training.trainers import checkpoints
from training.trainers.nlu import intent_network, onnx_export, published_encoder, utterance_batches
from training.trainers.nlu.intent_network import LoadedParser
from training.trainers.nlu.onnx_export import ParserDescription
from training.trainers.nlu.utterance_batches import IGNORED, TRAIN, VALIDATION, Batches, UtteranceRow

FAITHFUL = "float32"
_STATE, _OPTIMISER, _NETWORK, _BEST = "state.json", "optimiser.pt", "network.safetensors", "best.safetensors"
_LARGE = 5_000_000  # trained parameters; a smaller network is learnt from scratch or nearly so
_KEPT_CHECKPOINTS = 2
_MANY_UNKNOWN = 0.05


def train(workspace: Workspace, report: Callable[[str], None] = lambda line: None, *, job: int = 0) -> dict[str, Any]:
    """`job` is the process that waits for the result, 0 for none: the trainer stops when it ends.

    Complete weights are never trained again: the later steps can fail and be retried.
    """
    arguments = NluArguments.from_json(workspace.plan()["arguments"])
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if workspace.learnt() is None:
        ended = _learn(workspace, arguments, report, job)
        if ended is not None:
            return ended
    return _served(workspace, arguments, report)


@dataclass
class _State:
    """value: the validation's macro-F1, then minus its loss, which tells steps of equal F1 apart."""

    step: int = 0
    best: list[float] | None = None
    best_step: int = 0
    since: int = 0  # validations without a better one


class ParserTraining:
    """One run's network, optimiser and place, kept in checkpoints."""

    def __init__(self, workspace: Workspace, arguments: NluArguments, rows: Sequence[UtteranceRow]) -> None:
        self.workspace, self.arguments, self.state = workspace, arguments, _State()
        torch.manual_seed(arguments.seed)
        self.loaded = _loaded(workspace.plan()["base"], arguments, rows)
        self.device = "cuda" if torch.cuda.is_available() and arguments.device != "cpu" else "cpu"
        self.loaded.network.to(self.device)
        self.parser = _parser(self.loaded, self.device)
        self.batches = _batches(rows, self.loaded, self.parser, arguments)
        self.validation = [row for row in rows if row.split == VALIDATION]
        self.steps = arguments.steps or max(1, round(arguments.epochs * self.batches.per_epoch))
        self.every = arguments.validate_every or max(1, self.steps // 10)
        trained = intent_network.trained_parameters(self.loaded.network, arguments.frozen)
        count = sum(each.numel() for each in trained)
        self.rate = arguments.learning_rate or (5e-5 if count > _LARGE else 1e-3)
        self.optimiser = torch.optim.AdamW(trained, lr=self.rate, weight_decay=arguments.weight_decay, foreach=True)
        weights = utterance_batches.class_weights(rows, self.loaded.needs, arguments.class_weights).to(self.device)
        self.intent_loss = nn.CrossEntropyLoss(weights, ignore_index=IGNORED, label_smoothing=arguments.label_smoothing)
        self.tag_loss = nn.CrossEntropyLoss(ignore_index=IGNORED)

    def step(self) -> float:
        """Train on the next batch; returns its loss."""
        state, network = self.state, self.loaded.network
        torch.manual_seed(self.arguments.seed * 1_000_003 + state.step)
        warm_up = max(1, round(self.steps * self.arguments.warm_up_share))
        share = min((state.step + 1) / warm_up, (self.steps - state.step) / max(1, self.steps - warm_up))
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * min(1.0, share)
        network.train()
        loss = self._loss(self.batches.at(state.step))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        self.optimiser.step()
        state.step += 1
        return float(loss.detach())

    def validate(self) -> dict[str, Any]:
        """Score the validation rows, and keep the weights if they are the best so far."""
        found = scored(self.parser, self.validation)
        state, value = self.state, [round(found["macro_f1"], 4), -found["loss"]]
        if state.best is None or value > state.best:
            self.state = _State(state.step, value, state.step)
            partial = self._best.with_name(f".{_BEST}.partial")
            save_file(_tensors(self.loaded.network), partial)
            partial.replace(self._best)
        else:
            state.since += 1
        return found

    def save(self) -> None:
        """A sealed checkpoint; older ones but the last are deleted."""
        folder = self.workspace.checkpoints / f"checkpoint-{self.state.step}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        save_file(_tensors(self.loaded.network), folder / _NETWORK)
        torch.save(self.optimiser.state_dict(), folder / _OPTIMISER)
        write_json(folder / _STATE, asdict(self.state))
        checkpoints.seal(folder)
        for path in sorted(self.workspace.checkpoints.glob("checkpoint-*"), key=_number)[:-_KEPT_CHECKPOINTS]:
            shutil.rmtree(path, ignore_errors=True)

    def resume(self) -> None:
        newest = checkpoints.newest(self.workspace.checkpoints)
        if newest is not None:
            self.loaded.network.load_state_dict(load_file(newest / _NETWORK, device=self.device))
            self.optimiser.load_state_dict(torch.load(newest / _OPTIMISER, weights_only=True))
            self.state = _State(**(read_json(newest / _STATE) or {}))

    def restore_best(self) -> int:
        """Restore the weights that validated best; returns their step. Without validation rows: the last ones."""
        if self.state.best is None or not self._best.is_file():
            return self.state.step
        self.loaded.network.load_state_dict(load_file(self._best, device=self.device))
        return self.state.best_step

    @property
    def _best(self) -> Path:
        return self.workspace.folder / _BEST

    def _loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        batch = {name: value.to(self.device) for name, value in batch.items()}
        intents, tags = self.loaded.network(batch["input_ids"], batch["attention_mask"])
        loss = self.intent_loss(intents, batch["intents"])
        if self.arguments.entity_weight and self.loaded.needs.entities:
            loss = loss + self.arguments.entity_weight * self.tag_loss(tags.flatten(0, 1), batch["tags"].flatten())
        return torch.as_tensor(loss)


def scored(parser: Parser, rows: Sequence[UtteranceRow]) -> dict[str, Any]:
    """The figures that training watches: of the most likely intents, before any threshold."""
    parsed = intent_rows(parser, rows)
    found = [{**row, "prediction": {**row["prediction"], "intent": row["prediction"]["best"]}} for row in parsed]
    shares = [row["share"] for row in parsed]
    return {
        "macro_f1": intent_scores.macro_f1(found) or 0.0, "accuracy": intent_scores.accuracy(found) or 0.0,
        "entity_f1": intent_scores.entity_scores(found)["f1"], "ece": intent_scores.expected_calibration_error(found),
        "loss": round(float(-np.mean(np.log(np.maximum(shares, 1e-9)))), 6) if shares else 0.0, "rows": len(found),
    }  # fmt: skip


def intent_rows(parser: Parser, rows: Sequence[UtteranceRow]) -> list[dict[str, Any]]:
    """Rows and their parses as `intent_scores` reads them; `share` is the probability of the right intent."""
    found = []
    for row in rows:
        parse = parser.parse(row.text)
        shares = dict(parse.ranking)
        found.append({
            "id": row.id, "family": row.family, "language": row.language, "share": shares.get(row.intent, 0.0),
            "reference": {"intent": row.intent, "entities": row.entities},
            "prediction": {**parse.to_json(), "best": parse.best, "confidence": parse.confidence},
        })  # fmt: skip
    return found


def _learn(
    workspace: Workspace, arguments: NluArguments, report: Callable[[str], None], job: int
) -> dict[str, Any] | None:
    """Leaves the weights in the workspace; returns a result only if it was stopped."""
    rows = utterance_batches.read(workspace.folder)
    utterance_batches.require_trainable(rows)
    training = ParserTraining(workspace, arguments, rows)
    training.resume()
    if training.state.step == 0 and not list(workspace.progress()):
        before = _before(workspace.plan()["base"], training.validation)
        workspace.say(phase="validation", step=0, steps=training.steps, at=time.time(), **(before or {}))
        for language, share in _unknown_words(training.loaded, rows).items():
            if share >= _MANY_UNKNOWN:
                report(
                    f"the encoder's vocabulary lacks {100 * share:.0f} % of the words in {language or 'no language'}"
                )
    began, first, stopped = time.monotonic(), training.state.step, ""
    log_every = max(1, min(25, training.steps // 20))
    while training.state.step < training.steps and not stopped:
        loss = training.step()
        step = training.state.step
        if step % log_every == 0:
            eta_s = (time.monotonic() - began) / max(1, step - first) * (training.steps - step)
            workspace.say(
                phase="training", step=step, steps=training.steps, loss=round(loss, 4), eta_s=round(eta_s, 1),
                learning_rate=training.optimiser.param_groups[0]["lr"], at=time.time(),
            )  # fmt: skip
            report(f"step {step} of {training.steps}: loss {loss:.3f}")
        if step % training.every == 0 or step == training.steps:
            if training.validation:
                found = training.validate()
                said = f"macro-F1 {100 * found['macro_f1']:.1f} % on {found['rows']} unseen utterances"
                workspace.say(phase="validation", step=step, steps=training.steps, at=time.time(), said=said, **found)
                report(f"step {step}: {said}")
            training.save()
            if arguments.patience and training.state.since >= arguments.patience and step < training.steps:
                stopped = "early"
        if workspace.stop_asked or (job and orphaned(job)):
            training.save()
            return {"state": "stopped"}
    _keep(workspace, training, stopped)
    return None


def _keep(workspace: Workspace, training: ParserTraining, stopped: str) -> None:
    """The best weights, calibrated on the unseen wordings, so that training is not repeated."""
    step = training.restore_best()
    workspace.say(phase="saving", step=training.state.step, steps=training.steps)
    loaded, arguments = training.loaded, training.arguments
    loaded.network.to("cpu")
    parser = _parser(loaded)
    temperature = _temperature(parser, training.validation)
    money = {*loaded.needs.money_intents, *workspace.plan().get("money_intents", ())}
    loaded.needs = replace(
        loaded.needs, temperature=round(temperature, 4), threshold=arguments.threshold or 0.0,
        money_intents=tuple(name for name in loaded.needs.intents if name in money),
    )  # fmt: skip
    rows = intent_rows(_parser(loaded), training.validation)
    scope = loaded.needs.fallback
    if not arguments.threshold:
        chosen = intent_scores.chosen_threshold(rows, out_of_scope=scope, most_refused=arguments.most_refused)
        loaded.needs = replace(loaded.needs, threshold=chosen)
    after = scored(_parser(loaded), training.validation) if training.validation else None
    before = _stored_before(workspace)
    if after and before and before["macro_f1"] > after["macro_f1"]:
        step = 0  # the base was better than every step
    intent_network.save(loaded, workspace.weights)
    _described(workspace).write(workspace.weights, loaded.needs.to_json())
    workspace.write_learnt({
        "best_step": step, "trained_step": training.state.step, "stopped": stopped, "after": after,
        "before": before, "temperature": loaded.needs.temperature,
        "threshold": loaded.needs.threshold, "intents": list(loaded.needs.intents),
        "unknown_words": _unknown_words(loaded, utterance_batches.read(workspace.folder)),
        "new_intents": list(loaded.needs.intents[loaded.known :]) if loaded.known else [],
    })  # fmt: skip


def _served(workspace: Workspace, arguments: NluArguments, report: Callable[[str], None]) -> dict[str, Any]:
    """Weights -> the smallest form with the same labels: as requested, else float."""
    loaded = intent_network.load(str(workspace.weights))
    trained = _parser(loaded)
    rows = utterance_batches.read(workspace.folder)
    chosen = [row for row in rows if row.split == VALIDATION] + [row for row in rows if row.split == TRAIN]
    texts = list(dict.fromkeys(row.text for row in chosen))[: onnx_export.MOST_COMPARED]
    network, tried = onnx_export.exported(loaded), []
    for form in dict.fromkeys((arguments.form, FAITHFUL)):
        workspace.say(phase="converting", form=form)
        written = onnx_export.convert(loaded, network, workspace.model, _described(workspace), form=form)
        compared = onnx_export.compare(
            trained, loading.load(workspace.model), texts, bound=arguments.parity_bound, form=form
        )
        report(f"{form}: {100 * compared['difference']:.2f} % of the texts get another label")
        if compared["passed"]:
            break
        tried.append({"form": form, "difference": compared["difference"]})
    return {
        "state": "done", "model_version": written.model_version, "parity": {**compared, "tried": tried},
        **(workspace.learnt() or {}),
    }  # fmt: skip


def _loaded(base: str, arguments: NluArguments, rows: Sequence[UtteranceRow]) -> LoadedParser:
    training = [row for row in rows if row.split == TRAIN]
    loaded = intent_network.load(
        base, intents=sorted({row.intent for row in training}), max_tokens=arguments.max_tokens,
        entities=sorted({str(each["entity"]) for row in training for each in row.entities}), prefix=arguments.prefix,
    )  # fmt: skip
    scope = arguments.out_of_scope if arguments.out_of_scope in loaded.needs.intents else loaded.needs.out_of_scope
    loaded.needs = replace(loaded.needs, out_of_scope=scope, temperature=1.0, threshold=0.0)
    return loaded


def _batches(rows: Sequence[UtteranceRow], loaded: LoadedParser, parser: Parser, arguments: NluArguments) -> Batches:
    padding = int(loaded.network.encoder.config.pad_token_id or 0)
    hidden = utterance_batches.special_id(loaded.tokenizer, ("[MASK]", "<mask>", "[UNK]", "<unk>"))
    return utterance_batches.batches_of(rows, parser, arguments, padding, hidden)


def _parser(loaded: LoadedParser, device: str = "cpu") -> Parser:
    return Parser(onnx_export.torch_network(loaded.network, device), loaded.tokenizer, loaded.needs, "trained")


def _before(base: str, rows: Sequence[UtteranceRow]) -> dict[str, Any] | None:
    """The base's own figures; None for an encoder without intents."""
    if not rows or intent_network.labels_of(base) is None:
        return None
    return scored(_parser(intent_network.load(base)), rows)


def _stored_before(workspace: Workspace) -> dict[str, Any] | None:
    """The base's figures, which the run's first start wrote into its progress."""
    first = next((line for line in workspace.progress() if line.get("step") == 0), {})
    names = ["macro_f1", "accuracy", "entity_f1", "ece", "rows"]
    kept: dict[str, Any] = {name: first[name] for name in names if name in first}
    return kept or None


def _temperature(parser: Parser, rows: Sequence[UtteranceRow]) -> float:
    needs: ParserNeeds = parser.needs
    known = [row for row in rows if row.intent in needs.intents]
    pairs = [(parser.intent_logits(row.text), needs.intents.index(row.intent)) for row in known]
    found = [(each, intent) for each, intent in pairs if each is not None]
    if not found:
        return 1.0
    return intent_scores.fitted_temperature(
        np.stack([each for each, _ in found]), np.array([intent for _, intent in found])
    )


def _unknown_words(loaded: LoadedParser, rows: Sequence[UtteranceRow]) -> dict[str, float]:
    texts: dict[str, list[str]] = {}
    for row in rows:
        texts.setdefault(row.language or "", []).append(row.text)
    return published_encoder.unknown_words(loaded.tokenizer, texts)


def _described(workspace: Workspace) -> ParserDescription:
    plan = workspace.plan()
    return ParserDescription(str(plan["name"]), tuple(sorted(plan["languages"])), str(plan["trained_on"]))


def _tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Copies: safetensors refuses tensors that share memory."""
    return {name: value.detach().clone().contiguous() for name, value in network.state_dict().items()}


def _number(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
