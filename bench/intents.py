"""Parsing and its trainer: against the tokenizer and ONNX Runtime alone, and against a plain Hugging Face Trainer.

The floor of a parse is the loop that one would write with the two libraries: encode the text, run the same network with
ONNX Runtime's defaults on one thread, take the largest intent and the largest tag of each token. No probabilities, no
ranking, no offsets of entities, no care of strange texts. The floor of training is transformers' Trainer with its
defaults on the same encoder, rows, batch size and losses, one thread each.

Parsing is measured before torch is imported, as it runs where it serves: Python's garbage collector walks through all
that an import left.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from bench import ratios
from bench.ratios import alternate, own_cpu_s
from ml_backend.nlu import loading, parsing
from training.demo_intents import intent_corpus

ROUNDS, STEPS = 60, 60
TEXTS_APART = 5  # few texts and many rounds: what the machine does meanwhile meets both sides


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    rounds = 10 if quick else ROUNDS
    texts = [row.text for row in intent_corpus.utterances("shop", seed=3)][::TEXTS_APART]
    parser, bare = loading.load(), _bare()
    about = f"{len(texts):,} utterances by the bundled parser / tokenizers, onnxruntime and two argmax"

    def floor() -> float:
        return own_cpu_s(lambda: _each(bare, texts))

    def ours() -> float:
        return own_cpu_s(lambda: _each(parser.parse, texts))

    floor(), ours()
    yield ratios.row(
        f"parse, {about}, CPU",
        alternate(floor, ours, rounds=rounds), alternate(floor, floor, rounds=rounds), target=1.2, at_least=False,
        milliseconds=round(1000 * ours() / len(texts), 3), per_cpu_s=round(len(texts) / ours()),
    )  # fmt: skip

    def floor_p99() -> float:
        return _p99_ms(bare, texts)

    def ours_p99() -> float:
        return _p99_ms(parser.parse, texts)

    yield ratios.row(
        f"parse, the slowest hundredth of {about}, CPU of one call",
        alternate(floor_p99, ours_p99, rounds=rounds), alternate(floor_p99, floor_p99, rounds=rounds), target=1.2,
        at_least=False, milliseconds=round(ours_p99(), 3),
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="kaan-bench-") as folder:
        yield _trained(Path(folder), rounds=1 if quick else 3)


def _bare() -> Callable[[str], tuple[int, Any]]:
    tokenizer = Tokenizer.from_file(str(loading.BUNDLED_PARSER / parsing.TOKENIZER_FILE))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(loading.BUNDLED_PARSER / parsing.MODEL_FILE), options)

    def parse(text: str) -> tuple[int, Any]:
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        intents, tags = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        return int(intents[0].argmax()), tags[0].argmax(axis=-1)

    return parse


def _each(parse: Callable[[str], Any], texts: Sequence[str]) -> None:
    for text in texts:
        parse(text)


def _p99_ms(parse: Callable[[str], Any], texts: Sequence[str]) -> float:
    """Of this thread's CPU time, so that other processes' turns do not count."""
    found = []
    for text in texts:
        began = time.thread_time_ns()
        parse(text)
        found.append(time.thread_time_ns() - began)
    return float(np.percentile(found, 99)) / 1e6


def _trained(folder: Path, *, rounds: int) -> dict[str, Any]:
    import torch

    from training.demo_intents import encoder_maker
    from training.runs.nlu_arguments import NluArguments
    from training.trainers.nlu import intent_training, utterance_batches

    torch.set_num_threads(1)
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


def _hugging_face(folder: Path, training: Any) -> Any:
    import torch
    from transformers import PrinterCallback, Trainer, TrainingArguments

    from training.trainers.nlu.utterance_batches import IGNORED

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
