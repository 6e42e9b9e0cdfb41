"""Let a transformers Whisper encode windows shorter than 30 s.

CTranslate2 takes any length up to the model's maximum, and serving unpadded windows is what makes a small model fast
and (when trained so) accurate. transformers refuses such input, so its encoder's forward pass is given again without
that check.
"""

from typing import Any

import torch
from torch import nn
from transformers import WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder


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

    Not `model.generate`: that pads every window to 30 s, and a model trained on short windows then hears badly.
    """
    states = model.model.encoder(features)
    tokens = list(prompt)
    while len(tokens) < len(prompt) + most:
        scores = model(encoder_outputs=states, decoder_input_ids=torch.tensor([tokens])).logits[0, -1]
        tokens.append(int(scores[: end + 1].argmax()))
        if tokens[-1] == end:
            return tokens[len(prompt) : -1]
    return tokens[len(prompt) :]
