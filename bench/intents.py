"""Parsing and its trainer: against the tokenizer and ONNX Runtime alone, and against a plain Hugging Face Trainer.

The floor of a parse encodes the text and runs the network: no softmax, no spans, no offsets. The floor of training is
transformers' Trainer with its defaults on the same encoder, rows, batch size and losses, one thread each.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from bench import ratios
from bench.ratios import alternate, own_cpu_s
from ml_backend.nlu import loading, parsing
from training.demo_intents import encoder_maker, intent_corpus
from training.runs.nlu_arguments import NluArguments
from training.trainers.nlu import intent_training, utterance_batches
from training.trainers.nlu.utterance_batches import IGNORED

ROUNDS, STEPS = 5, 60


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    rounds = 1 if quick else ROUNDS
    texts = [row.text for row in intent_corpus.utterances("shop", seed=3)]
    parser = loading.load()
    tokenizer = Tokenizer.from_file(str(loading.BUNDLED_PARSER / parsing.TOKENIZER_FILE))
    network = parsing.onnx_network(loading.BUNDLED_PARSER / parsing.MODEL_FILE)

    def floor() -> float:
        return own_cpu_s(lambda: [_bare(tokenizer, network, text) for text in texts])

    def ours() -> float:
        return own_cpu_s(lambda: parser.parse_all(texts))

    floor(), ours()
    yield ratios.row(
        f"parse, {len(texts):,} utterances of the bundled parser / tokenizers and onnxruntime alone, CPU",
        alternate(floor, ours, rounds=rounds), alternate(floor, floor, rounds=rounds), target=1.2, at_least=False,
        milliseconds=round(1000 * ours() / len(texts), 3),
    )  # fmt: skip
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="kaan-bench-") as folder:
        yield _trained(Path(folder), rounds=1 if quick else 3)


def _bare(tokenizer: Tokenizer, network: parsing.Network, text: str) -> None:
    ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
    network(ids, np.ones_like(ids))


def _trained(folder: Path, *, rounds: int) -> dict[str, Any]:
    utterances = intent_corpus.utterances("shop", seed=3)
    options = NluArguments(seed=1, steps=STEPS, batch_rows=16, dropped_words=0.0)
    workspace = encoder_maker.workspace_of(folder, utterances, base=encoder_maker.WEIGHTS_FOLDER, options=options)
    lines = [row for row in utterance_batches.read(folder) if row.split == utterance_batches.TRAIN]
    training = intent_training.ParserTraining(workspace, options, lines)

    def ours() -> float:
        training.state.step = 0
        return 1 / own_cpu_s(lambda: [training.step() for _ in range(STEPS)])

    def plain() -> float:
        return 1 / own_cpu_s(_hugging_face(folder / "plain", training).train)

    ours(), plain()
    return ratios.row(
        f"rows per CPU second of the parser's trainer, {STEPS} steps of 16 / a plain Hugging Face Trainer",
        alternate(plain, ours, rounds=rounds), alternate(plain, plain, rounds=rounds), target=1.0, at_least=True,
        rows_per_cpu_s=round(STEPS * 16 * ours(), 1),
    )  # fmt: skip


def _hugging_face(folder: Path, training: intent_training.ParserTraining) -> Any:
    from transformers import PrinterCallback, Trainer, TrainingArguments

    class Plain(Trainer):
        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            intents, tags = model(inputs["input_ids"], inputs["attention_mask"])
            loss = torch.nn.functional.cross_entropy(intents, inputs["intents"])
            return loss + 0.5 * torch.nn.functional.cross_entropy(
                tags.flatten(0, 1), inputs["tags"].flatten(), ignore_index=IGNORED
            )

    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=STEPS, per_device_train_batch_size=16, use_cpu=True, report_to="none",
        save_strategy="no", disable_tqdm=True, remove_unused_columns=False, logging_strategy="no",
    )  # fmt: skip
    running = Plain(
        model=training.loaded.network, args=arguments, train_dataset=list(training.batches.rows),
        data_collator=training.batches.padded,
    )  # fmt: skip
    running.remove_callback(PrinterCallback)
    return running
