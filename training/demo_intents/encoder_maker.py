"""Corpus -> the bundled parser: a tokenizer, a tiny BERT from its configuration, the trainer, the two forms.

The trainer is the one that people's runs use; only the encoder that it starts from is made here, at random.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel

from ml_backend.nlu.loading import BUNDLED_PARSER
from ml_backend.nlu.parsing import TOKENIZER_FILE
from training.demo_intents import intent_corpus
from training.demo_intents.intent_corpus import LabelledUtterance
from training.runs.nlu_arguments import NluArguments
from training.runs.workspace import Workspace, write_text
from training.trainers.nlu import intent_training

NAME = "kaan-intents"
LANGUAGES = ("en", "hi", "mr")
TRAINED_ON = "utterances of an imaginary shop in English, Hindi, Hinglish and Marathi, written for this project"
WEIGHTS_FOLDER = Path(__file__).parent / "weights"
SEED = 20261130
PIECES = 1600
MONEY_INTENTS = ("cancel_order", "payment_failed", "refund_status")
OPTIONS = NluArguments(
    base="bundled", name=NAME, seed=SEED, epochs=14, learning_rate=1.5e-3, batch_rows=16, dropped_words=0.15,
    patience=0, form="int8",
)  # fmt: skip


def make(
    *, served: Path = BUNDLED_PARSER, weights: Path = WEIGHTS_FOLDER, options: NluArguments = OPTIONS,
    tokenizer: Tokenizer | None = None, report: Callable[[str], None] = print,
) -> dict[str, Any]:  # fmt: skip
    """The trainer's result. With the same tokenizer it is the same on every run, to within rounding.

    A new tokenizer is another each time: the trainer of WordPiece breaks ties at random.
    """
    rows = intent_corpus.utterances("shop", seed=SEED)
    with tempfile.TemporaryDirectory(prefix="kaan-intents-") as folder:
        base = Path(folder) / "encoder"
        write_encoder(base, [row.text for row in rows if row.split == intent_corpus.TRAIN], tokenizer=tokenizer)
        workspace = workspace_of(Path(folder) / "run", rows, base=base, options=options)
        result = intent_training.train(workspace, report)
        for made, place in ((workspace.weights, weights), (workspace.model, served)):
            shutil.rmtree(place, ignore_errors=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(made, place)
    return result


def workspace_of(
    folder: Path, rows: Sequence[LabelledUtterance], *, base: Path | str, options: NluArguments, name: str = NAME,
    old: Sequence[LabelledUtterance] = (),
) -> Workspace:  # fmt: skip
    """A run's folder as the job writes it, without the test rows. `old` are mixed in against forgetting."""
    folder.mkdir(parents=True, exist_ok=True)
    workspace = Workspace(folder)
    lines = [*(row.to_json() for row in rows if row.split != intent_corpus.TEST)]
    lines += [row.to_json(part="replay") for row in old if row.split != intent_corpus.TEST]
    write_text(folder / "rows.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    workspace.write_plan({
        "arguments": options.to_json(), "base": str(base), "name": name, "languages": list(LANGUAGES),
        "trained_on": TRAINED_ON, "money_intents": list(MONEY_INTENTS), "memory_share": 1.0,
    })  # fmt: skip
    return workspace


def write_encoder(
    folder: Path, texts: Sequence[str], *, width: int = 96, layers: int = 2, tokenizer: Tokenizer | None = None
) -> None:
    """An untrained BERT as `from_pretrained` reads it, with a tokenizer of these texts unless one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer or build_tokenizer(texts)
    tokenizer.save(str(folder / TOKENIZER_FILE))
    torch.manual_seed(SEED)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=width, num_hidden_layers=layers, num_attention_heads=4,
        intermediate_size=3 * width, max_position_embeddings=130, type_vocab_size=1, pad_token_id=0,
        hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)


def build_tokenizer(texts: Sequence[str]) -> Tokenizer:
    """WordPiece over lower-case words; composed characters, so that one word has one form. Every letter and sign of
    Devanagari and Latin is a piece, so a word that was never seen is spelt instead of unknown."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    letters = [chr(code) for code in (*range(0x21, 0x7F), *range(0x900, 0x980), 0x20B9)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=PIECES, min_frequency=2, show_progress=False, initial_alphabet=[each.lower() for each in letters],
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    )  # fmt: skip
    alphabet = [" ".join(letter for letter in letters), *("x" + letter for letter in letters)]
    tokenizer.train_from_iterator([*texts, *alphabet, *alphabet], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", tokenizer.token_to_id("[CLS]")),
                                                 ("[SEP]", tokenizer.token_to_id("[SEP]"))],
    )  # fmt: skip
    return tokenizer
