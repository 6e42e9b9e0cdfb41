"""Folder or hub name -> a Whisper to train: plain, or with low-rank adapters; and the average of two."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import WhisperForConditionalGeneration, WhisperTokenizer
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ml_backend import quantities
from ml_backend.errors import ConfigurationError

_ADAPTED = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
_SMALL_WIDTH = 256  # narrower models are our own, with other learning rates than published ones


@dataclass(frozen=True)
class LoadedWeights:
    model: WhisperForConditionalGeneration
    tokenizer: WhisperTokenizer

    @property
    def mels(self) -> int:
        return int(self.model.config.num_mel_bins)

    @property
    def most_labels(self) -> int:
        """Tokens that the decoder has positions for."""
        return int(self.model.config.max_target_positions)


def load(location: str, *, short_windows: bool) -> LoadedWeights:
    """Loads safetensors only, because other formats can run code. A folder is never looked up in the hub."""
    local = Path(location).is_dir()
    try:
        model = WhisperForConditionalGeneration.from_pretrained(
            location, dtype=torch.float32, use_safetensors=True, local_files_only=local
        )
        tokenizer = WhisperTokenizer.from_pretrained(location, local_files_only=local)
    except (OSError, ValueError, RuntimeError) as error:
        reason = quantities.shortened((str(error).splitlines() or [""])[0], 120)
        raise ConfigurationError(
            "base-not-loadable",
            f"The base model {Path(location).name[:80]} cannot be loaded for training ({reason}).",
            "Name a folder with safetensors, a registered version, or a hub name this machine can reach.",
        ) from error
    return LoadedWeights(accept_short_windows(model) if short_windows else model, tokenizer)


def languages_of(location: str) -> set[str]:
    """The languages with a token: the two- and three-letter names between start and translate."""
    ids = WhisperTokenizer.from_pretrained(location, local_files_only=Path(location).is_dir()).get_vocab()
    first, last = ids["<|startoftranscript|>"], ids["<|translate|>"]
    return {name[2:-2] for name, number in ids.items() if first < number < last and name.startswith("<|")}


def with_adapters(model: WhisperForConditionalGeneration, *, rank: int, alpha: int, dropout: float) -> Any:
    """LoRA on attention and feed-forward layers. No task type: peft's for sequences does not know Whisper's inputs."""
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        model, LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(_ADAPTED))
    )


def plain(model: Any) -> WhisperForConditionalGeneration:
    """The Whisper inside, adapters switched on but not merged."""
    inner: WhisperForConditionalGeneration = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner


def merged(model: Any) -> WhisperForConditionalGeneration:
    """Adapters merged into the weights: an ordinary Whisper again."""
    whole: WhisperForConditionalGeneration = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    return whole


def state_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@torch.no_grad()
def put_average(
    model: torch.nn.Module, base: dict[str, torch.Tensor], tuned: dict[str, torch.Tensor], share: float
) -> None:
    """Average in place, with `share` of the base's weights, to reduce forgetting."""
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            mixed = torch.lerp(tuned[name].float(), base[name].to(tuned[name].device).float(), share)
            value.copy_(mixed.to(value.dtype))


def learning_rate_for(model: torch.nn.Module, method: str) -> float:
    """Published Whispers: 4e-5 for the smallest, falling with width. Adapters learn about ten times as fast."""
    width = int(plain(model).config.d_model)
    rate = 6e-4 if width <= _SMALL_WIDTH else 3.75e-5 * 384 / width
    return rate * (5 if width <= _SMALL_WIDTH else 20) if method == "lora" else rate


class AnyLengthEncoder(WhisperEncoder):  # type: ignore[no-untyped-call]
    def forward(self, input_features: torch.Tensor, attention_mask: Any = None, **kwargs: Any) -> BaseModelOutput:
        """(batch, mels, frames) -> hidden states (batch, frames / 2, width); the position table is cut to fit."""
        hidden = nn.functional.gelu(self.conv1(input_features))
        hidden = nn.functional.gelu(self.conv2(hidden)).permute(0, 2, 1)
        hidden = hidden + self.embed_positions.weight[: hidden.shape[1]]
        hidden = nn.functional.dropout(hidden, p=self.dropout, training=self.training)
        for layer in self.layers:
            hidden = layer(hidden, None)
        return BaseModelOutput(last_hidden_state=self.layer_norm(hidden))


def accept_short_windows(model: WhisperForConditionalGeneration) -> WhisperForConditionalGeneration:
    """Changes only the class of the encoder object: weights, config and file format stay as they are."""
    model.model.encoder.__class__ = AnyLengthEncoder
    return model


@torch.no_grad()
def greedy(
    model: WhisperForConditionalGeneration, features: torch.Tensor, prompt: list[int], *, end: int, most: int = 128
) -> list[int]:
    """Text tokens of one window (1, mels, frames), most probable first; no timestamps.

    Not `model.generate`: it pads every window to 30 s, which a model trained on short windows transcribes badly.
    """
    states = model.model.encoder(features)
    tokens = list(prompt)
    while len(tokens) < len(prompt) + most:
        scores = model(encoder_outputs=states, decoder_input_ids=torch.tensor([tokens])).logits[0, -1]
        tokens.append(int(scores[: end + 1].argmax()))
        if tokens[-1] == end:
            return tokens[len(prompt) : -1]
    return tokens[len(prompt) :]
