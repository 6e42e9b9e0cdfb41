"""An encoder by folder or hub name -> its network, its tokenizer, and how its authors say that a text is read.

Published encoders differ in more than their weights: BERT, MuRIL and IndicBERT cut words into WordPiece, XLM-R and
ALBERT into SentencePiece, RoBERTa into bytes; the weights are safetensors or a pickle (read by a loader that runs no
code); the tokenizer is one file or a vocabulary; a sentence-transformers folder also names the pooling, the most
tokens, and a prefix that an e5 needs.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel
from transformers.utils import hub

from ml_backend.errors import ConfigurationError
from ml_backend.nlu.parsing import TOKENIZER_FILE

AUTO = "auto"
MEAN, FIRST = "mean", "first"
_POOLING, _PROMPTS, _LENGTH = "1_Pooling/config.json", "config_sentence_transformers.json", "sentence_bert_config.json"
_E5 = re.compile(r"(?:^|[-_/])e5(?:[-_]|$)")
_E5_PREFIX = "query: "
_WITH_POOLER = ("albert", "bert", "camembert", "roberta", "xlm-roberta", "xlm-roberta-xl")
_UNUSED = re.compile(r"(?:^|\.)(?:pooler|position_ids)\b")


@dataclass
class PublishedEncoder:
    """`prefix` stands before every text, `most_tokens` is what encoder and authors allow. The pooling is kept in the
    encoder's own configuration, so that it is saved with the weights."""

    network: PreTrainedModel
    tokenizer: Tokenizer
    prefix: str
    most_tokens: int


def load(base: str) -> PublishedEncoder:
    """Raises ConfigurationError where the base is no encoder that can be trained here."""
    network, tokenizer = _network(base), _tokenizer(base)
    rows = next(network.get_input_embeddings().parameters()).shape[0]
    pieces = tokenizer.get_vocab_size(with_added_tokens=False)
    if pieces > rows:
        raise _refused(base, f"its tokenizer has {pieces:,} pieces, and its embeddings {rows:,} rows")
    if (every := tokenizer.get_vocab_size()) > rows:  # tokens that were added and never trained
        network.resize_token_embeddings(every)
    if not hasattr(network.config, "pooling"):
        network.config.pooling = FIRST if _said(base, _POOLING).get("pooling_mode_cls_token") else MEAN
    return PublishedEncoder(network, tokenizer, _prefix(base), _most_tokens(base, network))


def pooling_of(network: PreTrainedModel) -> str:
    return str(getattr(network.config, "pooling", MEAN))


def unknown_words(tokenizer: Tokenizer, texts: dict[str, list[str]]) -> dict[str, float]:
    """Per language, the share of words with a piece that the vocabulary lacks: the encoder cannot tell these apart."""
    unknown = {tokenizer.token_to_id(name) for name in ("[UNK]", "<unk>")} - {None}
    found = {}
    for language, some in sorted(texts.items()):
        words: dict[tuple[int, int], bool] = {}
        for number, encoding in enumerate(tokenizer.encode_batch(some)):
            for word, piece in zip(encoding.word_ids, encoding.ids, strict=True):
                if word is not None:
                    words[number, word] = words.get((number, word), False) or piece in unknown
        found[language] = round(sum(words.values()) / len(words), 4) if words else 0.0
    return found


def _network(base: str) -> PreTrainedModel:
    try:
        config = AutoConfig.from_pretrained(base)
        if getattr(config, "is_encoder_decoder", False) or not hasattr(config, "hidden_size"):
            raise _refused(base, "it is no encoder")
        # eager attention is the form that every exporter knows
        network, loading = AutoModel.from_pretrained(
            base, config=config, attn_implementation="eager", dtype=torch.float32, output_loading_info=True,
            **({"add_pooling_layer": False} if config.model_type in _WITH_POOLER else {}),
        )  # fmt: skip
    except ConfigurationError:
        raise
    except Exception as error:  # a damaged pickle raises anything
        if isinstance(error, MemoryError) or "memory" in str(error):  # another base would not help
            raise
        raise _refused(base, "weights with their config.json cannot be read from it") from error
    missing = [name for name in loading["missing_keys"] if not _UNUSED.search(name)]
    if missing:  # transformers would fill them with random numbers
        raise _refused(base, f"{len(missing):,} of its weights are missing, {missing[0]} among them")
    if network.get_input_embeddings() is None:
        raise _refused(base, "it has no table of embeddings")
    return network  # type: ignore[no-any-return]


def _tokenizer(base: str) -> Tokenizer:
    """The fast tokenizer, as it was published: the encoder knows texts only through it."""
    path = Path(base) / TOKENIZER_FILE
    try:
        if path.is_file():
            return Tokenizer.from_file(str(path))
        found: Tokenizer = AutoTokenizer.from_pretrained(base, use_fast=True).backend_tokenizer
    except Exception as error:  # tokenizers raises a bare Exception
        raise _refused(base, "it has no tokenizer.json, and none can be made from its vocabulary") from error
    if found.get_vocab_size() < 2 or len(found.encode("1").ids) == 0:
        raise _refused(base, "its tokenizer has no vocabulary")
    return found


def _most_tokens(base: str, network: PreTrainedModel) -> int:
    """What the positions allow (RoBERTa's begin after the padding's id), and what the authors trained it with."""
    config = network.config
    most = int(getattr(config, "max_position_embeddings", None) or 100_000)
    if "roberta" in config.model_type or config.model_type == "camembert":
        most -= int(config.pad_token_id or 0) + 1
    said = _said(base, _LENGTH).get("max_seq_length")
    return min(most, said) if isinstance(said, int) and said >= 8 else most


def _prefix(base: str) -> str:
    said = _said(base, _PROMPTS)
    prompts = said.get("prompts")
    if isinstance(prompts, dict) and prompts:
        named = prompts.get(said.get("default_prompt_name") or "query", "")
        return named if isinstance(named, str) else ""
    return _E5_PREFIX if _E5.search(base.lower()) else ""


def _said(base: str, name: str) -> dict[str, Any]:
    """A side file of the folder or repository; empty where there is none."""
    try:
        path = hub.cached_file(
            base, name, _raise_exceptions_for_gated_repo=False, _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )  # fmt: skip
        found = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _refused(base: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        "base-not-a-model",
        f"{Path(base).name} is no encoder that can be trained: {why}.",
        "Name a BERT-like encoder on the hub, or a folder with config.json, tokenizer.json and its weights.",
    )
