"""Trained weights -> the served form of a parser: one ONNX file of 8-bit or float weights, compared with the trained.

A converted network can differ without any error (11 % of the labels of a published encoder changed with 8-bit weights),
so both forms parse the same rows, and too many different labels mean that the form is not passed.
"""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ml_backend.models import kinds, manifest
from ml_backend.models.manifest import Manifest
from ml_backend.nlu.parsing import MODEL_FILE, TOKENIZER_FILE, Network, Parse, Parser
from training.runs.workspace import write_json
from training.trainers.nlu.intent_network import LABELS, IntentNetwork, LoadedParser

MOST_COMPARED = 400  # texts
_OPSET = 20


@dataclass(frozen=True)
class ParserDescription:
    """What the manifest of both forms says, beside the needs."""

    name: str
    languages: tuple[str, ...]
    trained_on: str

    def write(self, folder: Path, needs: dict[str, Any]) -> Manifest:
        return manifest.write(
            folder, name=self.name, languages=self.languages, window=None, kind=kinds.NLU, needs=needs,
            trained_on=self.trained_on,
        )  # fmt: skip


def convert(loaded: LoadedParser, network: Any, folder: Path, described: ParserDescription, *, form: str) -> Manifest:
    """Write the served form of `network`, as `exported` made it, with its manifest. Replaces `folder`, whole or not at
    all. form: int8, float32."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if form == "int8":
        _quantized(network, partial / MODEL_FILE)
    else:
        (partial / MODEL_FILE).write_bytes(network.SerializeToString())
    loaded.tokenizer.save(str(partial / TOKENIZER_FILE))
    write_json(partial / LABELS, loaded.needs.to_json())  # so that the version's digest covers threshold and labels
    written = described.write(partial, loaded.needs.to_json())
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    return written


def exported(loaded: LoadedParser) -> Any:
    """The network as an ONNX model of any number of tokens. Two is the least: the first and last are special."""
    network, max_tokens = loaded.network.eval(), loaded.needs.max_tokens
    tokens = torch.export.Dim("tokens", min=2, max=max(3, max_tokens))
    ids = torch.ones((1, min(12, max(3, max_tokens))), dtype=torch.int64)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            network,
            (ids, torch.ones_like(ids)),
            dynamo=True,
            dynamic_shapes=({1: tokens}, {1: tokens}),
            input_names=["input_ids", "attention_mask"],
            output_names=["intent_logits", "tag_logits"],
            opset_version=_OPSET,
            verbose=False,
        )
    return program.model_proto


def compare(trained: Parser, served: Parser, texts: Sequence[str], *, bound: float, form: str) -> dict[str, Any]:
    """The share of texts with another intent, and of those with other entities. The larger is the difference."""
    pairs = [(trained.parse(text), served.parse(text)) for text in texts]
    count = max(1, len(pairs))
    intents = sum(_intents(old) != _intents(new) for old, new in pairs) / count
    entities = sum(_spans(old) != _spans(new) for old, new in pairs) / count
    return {
        "passed": bool(pairs) and max(intents, entities) <= bound, "difference": round(max(intents, entities), 4),
        "bound": bound, "intents": round(intents, 4), "entities": round(entities, 4), "texts": len(pairs), "form": form,
    }  # fmt: skip


def torch_network(network: IntentNetwork, device: str = "cpu") -> Network:
    """The trained form, for the same parser as the served one."""

    def run(
        ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        network.eval()
        with torch.inference_mode():
            intents, tags = network(torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
        return intents.float().cpu().numpy(), tags.float().cpu().numpy()

    return run


def _quantized(network: Any, path: Path) -> None:
    """8-bit weights, activations quantised as they come. Seven bits are used: without VNNI, eight overflow."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    del network.graph.value_info[:]  # its inferred shapes fail the quantiser's own inference
    logging.getLogger().setLevel(logging.ERROR)
    quantize_dynamic(network, path, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)


def _intents(parse: Parse) -> tuple[str, str]:
    return parse.intent, parse.best


def _spans(parse: Parse) -> set[tuple[str, int, int]]:
    return {(each.entity, each.start, each.end) for each in parse.entities}
