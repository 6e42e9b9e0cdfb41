"""A published Whisper as CTranslate2 serves it -> the same weights as transformers trains them, exactly.

CTranslate2 keeps float16 as it was given, so nothing is lost on the way: fused query, key and value are taken apart
again, and the bias of the keys, which Whisper does not have, must be nought. For measuring what training a published
Whisper needs, on a machine that reaches no model hub.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.trainers.asr import artefacts

_TYPES = ("<f4", "i1", "<i2", "<i4", "<f2")
_HEAD = 64  # width of one attention head, in every published Whisper
Tensors = dict[str, npt.NDArray[Any]]


def to_transformers(served: Path, folder: Path) -> Path:
    """Writes `folder` with safetensors, config, generation config and tokenizer; `served` holds float16 or float32."""
    import torch
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer

    found = read(served / "model.bin")
    config, generation = _configs(served, found)
    model = WhisperForConditionalGeneration(config)
    state = {name: torch.from_numpy(value.astype(np.float32)) for name, value in weights(found).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or [name for name in missing if name != "proj_out.weight"]:
        raise ValueError(f"The weights do not fit: {missing} {unexpected}")
    model.tie_weights()
    model.generation_config = generation
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    shutil.copy(served / "tokenizer.json", folder)
    artefacts.name_special_tokens(WhisperTokenizer.from_pretrained(folder)).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(folder)  # type: ignore[no-untyped-call]
    return folder


def read(path: Path) -> Tensors:
    """Every variable of a CTranslate2 model.bin (binary version 6)."""
    found: Tensors = {}
    with path.open("rb") as file:

        def number(form: str) -> int:
            return int(struct.unpack(f"<{form}", file.read(struct.calcsize(form)))[0])

        def text() -> str:
            return file.read(number("H"))[:-1].decode()

        version, name, _ = number("I"), text(), number("I")
        if version != 6 or name != "WhisperSpec":
            raise ValueError(f"{path.name} is {name} {version}, not a WhisperSpec of version 6")
        for _ in range(number("I")):
            name = text()
            shape = [number("I") for _ in range(number("B"))]
            kind, size = _TYPES[number("B")], number("I")
            found[name] = np.frombuffer(file.read(size), kind).reshape(shape)
        for _ in range(number("I")):  # equal variables are written once
            name, other = text(), text()
            found[name] = found[other]
    return found


def weights(found: Tensors) -> Tensors:
    """CTranslate2's names and fused layers -> those of transformers."""
    state: Tensors = {"model.decoder.embed_tokens.weight": found["decoder/embeddings/weight"]}
    for side in ("encoder", "decoder"):
        to = f"model.{side}"
        state[f"{to}.embed_positions.weight"] = found[f"{side}/position_encodings/encodings"]
        _norm(state, f"{to}.layer_norm", found, f"{side}/layer_norm")
        for number in range(layers(found, side)):
            layer, at = f"{to}.layers.{number}", f"{side}/layer_{number}"
            _self_attention(state, layer, found, at)
            if side == "decoder":
                _cross_attention(state, layer, found, at)
            _norm(state, f"{layer}.final_layer_norm", found, f"{at}/ffn/layer_norm")
            _linear(state, f"{layer}.fc1", found, f"{at}/ffn/linear_0")
            _linear(state, f"{layer}.fc2", found, f"{at}/ffn/linear_1")
    for name in ("conv1", "conv2"):
        _linear(state, f"model.encoder.{name}", found, f"encoder/{name}")
    return state


def layers(found: Tensors, side: str) -> int:
    return 1 + max(int(each[1]) for name in found if (each := re.match(rf"{side}/layer_(\d+)/", name)))


def _self_attention(state: Tensors, layer: str, found: Tensors, at: str) -> None:
    _norm(state, f"{layer}.self_attn_layer_norm", found, f"{at}/self_attention/layer_norm")
    parts = np.split(found[f"{at}/self_attention/linear_0/weight"], 3)
    biases = np.split(found[f"{at}/self_attention/linear_0/bias"], 3)
    for name, weight, bias in zip("qkv", parts, biases, strict=True):
        _put(state, f"{layer}.self_attn.{name}_proj", weight, bias)
    _linear(state, f"{layer}.self_attn.out_proj", found, f"{at}/self_attention/linear_1")


def _cross_attention(state: Tensors, layer: str, found: Tensors, at: str) -> None:
    _norm(state, f"{layer}.encoder_attn_layer_norm", found, f"{at}/attention/layer_norm")
    _linear(state, f"{layer}.encoder_attn.q_proj", found, f"{at}/attention/linear_0")
    parts = np.split(found[f"{at}/attention/linear_1/weight"], 2)
    biases = np.split(found[f"{at}/attention/linear_1/bias"], 2)
    for name, weight, bias in zip("kv", parts, biases, strict=True):
        _put(state, f"{layer}.encoder_attn.{name}_proj", weight, bias)
    _linear(state, f"{layer}.encoder_attn.out_proj", found, f"{at}/attention/linear_2")


def _put(state: Tensors, name: str, weight: npt.NDArray[Any], bias: npt.NDArray[Any]) -> None:
    state[f"{name}.weight"] = weight
    if name.endswith("k_proj"):
        if np.any(bias):
            raise ValueError(f"{name} has a bias, which a Whisper has not")
    else:
        state[f"{name}.bias"] = bias


def _linear(state: Tensors, name: str, found: Tensors, at: str) -> None:
    state[f"{name}.weight"], state[f"{name}.bias"] = found[f"{at}/weight"], found[f"{at}/bias"]


def _norm(state: Tensors, name: str, found: Tensors, at: str) -> None:
    state[f"{name}.weight"], state[f"{name}.bias"] = found[f"{at}/gamma"], found[f"{at}/beta"]


def _configs(served: Path, found: Tensors) -> tuple[Any, Any]:
    from transformers import GenerationConfig, WhisperConfig

    converted = json.loads((served / "config.json").read_text())
    added = {one["content"]: one["id"] for one in json.loads((served / "tokenizer.json").read_text())["added_tokens"]}
    vocabulary, width = found["decoder/embeddings/weight"].shape
    end = added["<|endoftext|>"]
    config = WhisperConfig(
        vocab_size=vocabulary, num_mel_bins=found["encoder/conv1/weight"].shape[1], d_model=width,
        encoder_layers=layers(found, "encoder"), decoder_layers=layers(found, "decoder"),
        encoder_attention_heads=width // _HEAD, decoder_attention_heads=width // _HEAD, encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width, bos_token_id=end, eos_token_id=end, pad_token_id=end,
        decoder_start_token_id=added["<|startoftranscript|>"], suppress_tokens=converted["suppress_ids"],
        begin_suppress_tokens=converted["suppress_ids_begin"],
    )  # fmt: skip
    generation = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=end, eos_token_id=end, pad_token_id=end, decoder_start_token_id=added["<|startoftranscript|>"],
        suppress_tokens=converted["suppress_ids"],
        begin_suppress_tokens=converted["suppress_ids_begin"], is_multilingual=True,
        lang_to_id={name: number for name, number in added.items() if number in set(converted["lang_ids"])},
        no_timestamps_token_id=added["<|notimestamps|>"], prev_sot_token_id=added["<|startofprev|>"],
        task_to_id={"transcribe": added["<|transcribe|>"], "translate": added["<|translate|>"]},
        return_timestamps=False, max_length=448, max_initial_timestamp_index=50,
        alignment_heads=converted["alignment_heads"],
    )  # fmt: skip
    return config, generation
