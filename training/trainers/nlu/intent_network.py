"""An encoder by folder or hub name -> IntentNetwork: the encoder, an intent head and an entity head.

The weights folder holds the encoder as `from_pretrained` knows it (config.json, model.safetensors, tokenizer.json), the
heads in heads.safetensors and what they mean in labels.json. A folder without the last two is a plain encoder, whose
heads begin at random; a base with heads keeps its intents and entities, and gets rows for new ones. What else a folder
says of the encoder is read in `published_encoder`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel

from ml_backend.nlu.parsing import TOKENIZER_FILE, ParserNeeds
from training.runs.workspace import read_json, write_json
from training.trainers.nlu import published_encoder

HEADS, LABELS = "heads.safetensors", "labels.json"


class IntentNetwork(nn.Module):
    """Token ids and mask -> intent logits [B, intents], tag logits [B, T, 1 + 2 * entities].

    The intent is read from the mean of the token states, which needs no pretrained pooler, or from the first token's
    state where the encoder was trained for that.
    """

    def __init__(self, encoder: PreTrainedModel, needs: ParserNeeds, dropout: float = 0.1) -> None:
        super().__init__()
        width = int(encoder.config.hidden_size)
        self.encoder, self.dropout = encoder, nn.Dropout(dropout)
        self.intents = nn.Linear(width, len(needs.intents))
        self.tags = nn.Linear(width, len(needs.tags))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if published_encoder.pooling_of(self.encoder) == published_encoder.FIRST:
            whole = states[:, 0]
        else:
            shown = attention_mask.unsqueeze(-1).to(states.dtype)
            whole = (states * shown).sum(1) / shown.sum(1).clamp(min=1.0)
        return self.intents(self.dropout(whole)), self.tags(self.dropout(states))


@dataclass
class LoadedParser:
    """`known` is how many of the intents the base already had; 0 for a plain encoder."""

    network: IntentNetwork
    tokenizer: Tokenizer
    needs: ParserNeeds
    known: int = 0


def load(
    base: str, *, intents: Sequence[str] = (), entities: Sequence[str] = (), max_tokens: int = 0,
    prefix: str = published_encoder.AUTO,
) -> LoadedParser:  # fmt: skip
    """The base with heads for its own labels, then for these. `prefix` auto: what the base was trained with."""
    published = published_encoder.load(base)
    known = labels_of(base)
    mine = known or ParserNeeds(intents=("",), prefix=published.prefix)
    needs = replace(
        mine,
        intents=tuple(dict.fromkeys([*(known.intents if known else ()), *intents])),
        entities=tuple(dict.fromkeys([*mine.entities, *entities])),
        max_tokens=min(max_tokens or mine.max_tokens, published.most_tokens),
        prefix=mine.prefix if prefix == published_encoder.AUTO else prefix,
    )
    network = IntentNetwork(published.network, needs)
    if known:
        _copy_heads(network, load_file(Path(base) / HEADS), known, needs)
    return LoadedParser(network, published.tokenizer, needs, len(known.intents) if known else 0)


def labels_of(base: str) -> ParserNeeds | None:
    """What the heads of a weights folder mean; None for a plain encoder."""
    stored = read_json(Path(base) / LABELS) if Path(base).is_dir() else None
    return ParserNeeds.from_json(stored) if stored else None


def save(loaded: LoadedParser, folder: Path) -> None:
    """Everything that further training needs; completely or not at all."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    loaded.network.encoder.save_pretrained(partial)
    loaded.tokenizer.save(str(partial / TOKENIZER_FILE))
    heads = {name: value for name, value in loaded.network.state_dict().items() if not name.startswith("encoder.")}
    save_file({name: value.contiguous() for name, value in heads.items()}, partial / HEADS)
    write_json(partial / LABELS, loaded.needs.to_json())
    for path in partial.iterdir():
        path.chmod(0o644)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def trained_parameters(network: IntentNetwork, frozen: str) -> list[nn.Parameter]:
    """The parameters that are trained; the others are frozen. frozen: nothing, embeddings, encoder."""
    still: list[nn.Module] = []
    if frozen == "encoder":
        still = [network.encoder]
    elif frozen == "embeddings":
        still = [network.encoder.get_input_embeddings()]
    for module in still:
        module.requires_grad_(False)
    return [each for each in network.parameters() if each.requires_grad]


def _copy_heads(
    network: IntentNetwork, stored: dict[str, torch.Tensor], known: ParserNeeds, needs: ParserNeeds
) -> None:
    """Rows of known labels keep their weights; labels are in the base's order first."""
    with torch.no_grad():
        for name, labels, kept in (("intents", known.intents, needs.intents), ("tags", known.tags, needs.tags)):
            head: nn.Linear = getattr(network, name)
            places = [kept.index(label) for label in labels]
            head.weight[places] = stored[f"{name}.weight"]
            head.bias[places] = stored[f"{name}.bias"]
