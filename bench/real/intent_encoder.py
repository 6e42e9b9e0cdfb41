"""Fine-tuning a published encoder to parse: what English weights bring, and what they cannot bring for Devanagari.

The encoder is all-MiniLM-L6-v2, trained on English sentences; its base is the folder as it was published. The rows
are the bundled shop's, and it is judged on wordings that training did not have, beside an encoder of the bundled shape
that starts from random weights and a tokenizer of these rows. One seed each: only large differences mean anything.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from bench.real import parts
from ml_backend.nlu import loading
from ml_backend.nlu.parsing import TOKENIZER_FILE, Parser
from training.demo_intents import encoder_maker, intent_corpus
from training.demo_intents.intent_corpus import TEST, TRAIN, LabelledUtterance
from training.runs.nlu_arguments import NluArguments
from training.scoring import intent_scores
from training.trainers.nlu import intent_training, published_encoder

EQUAL = 0.99
WAYS = ("en", "hi", "hi-Latn", "mr")
MILLISECONDS = 100.0
_PUBLISHED = NluArguments(name="minilm", seed=1, epochs=3.0)
_SCRATCH = replace(encoder_maker.OPTIONS, name="scratch", seed=1)


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    """`quick`: a few steps, which learn nothing."""
    torch.set_num_threads(1)
    utterances = intent_corpus.utterances("shop", seed=encoder_maker.SEED)
    yield from _vocabulary(utterances)
    shorter: dict[str, Any] = {"steps": 6, "validate_every": 6} if quick else {}
    with tempfile.TemporaryDirectory(prefix="kaan-real-") as name:
        folder = Path(name)
        encoder_maker.write_encoder(folder / "scratch", [row.text for row in utterances if row.split == TRAIN])
        for title, base, options in (
            ("the bundled shape from random weights", folder / "scratch", _SCRATCH),
            ("all-MiniLM-L6-v2", parts.encoder(), _PUBLISHED),
            ("all-MiniLM-L6-v2, embeddings frozen", parts.encoder(), replace(_PUBLISHED, frozen="embeddings")),
            ("all-MiniLM-L6-v2, heads alone", parts.encoder(), replace(_PUBLISHED, frozen="encoder")),
        ):
            yield from _trained(title, folder / title, base, replace(options, **shorter), utterances)


def _vocabulary(utterances: Sequence[LabelledUtterance]) -> Iterator[dict[str, Any]]:
    tokenizer = Tokenizer.from_file(str(parts.encoder() / TOKENIZER_FILE))
    tokenizer.no_padding()
    texts = {way: [row.text for row in utterances if _way(row) == way] for way in WAYS}
    unknown = published_encoder.unknown_words(tokenizer, texts)
    pieces = {}
    for way, some in texts.items():
        encodings = tokenizer.encode_batch(some)
        count = sum(word is not None for each in encodings for word in each.word_ids)
        pieces[way] = round(count / sum(len(set(each.word_ids) - {None}) for each in encodings), 2)
    yield _row(
        "words that the vocabulary of all-MiniLM-L6-v2 lacks: Hindi in Devanagari", unknown["hi"], "stated", True,
        by_way=unknown, pieces_per_word=pieces,
    )  # fmt: skip


def _trained(
    title: str, folder: Path, base: Path, options: NluArguments, utterances: Sequence[LabelledUtterance]
) -> Iterator[dict[str, Any]]:
    began = time.process_time()
    workspace = encoder_maker.workspace_of(folder, utterances, base=base, options=options)
    result = intent_training.train(workspace)
    cpu_s = time.process_time() - began
    served = loading.load(workspace.model)
    unseen = [row for row in utterances if row.split == TEST and row.source == "human"]
    found = _scored(served, unseen)
    yield _row(
        f"macro-F1 on {len(unseen)} unseen wordings: {title}", round(intent_scores.macro_f1(found) or 0.0, 3), "stated",
        True, accuracy_by_way=_by_way(unseen, found), training_cpu_s=round(cpu_s), steps=result["trained_step"],
        entity_f1=round(intent_scores.entity_scores(found)["f1"] or 0.0, 3),
        out_of_scope_auroc=round(intent_scores.out_of_scope_auroc(found) or 0.0, 3),
    )  # fmt: skip
    parity = result["parity"]
    yield _row(
        f"equal labels of the served form ({parity['form']}): {title}", round(1 - parity["difference"], 4),
        f">= {EQUAL}", parity["passed"] and parity["difference"] <= 1 - EQUAL, tried=parity["tried"],
    )  # fmt: skip
    began = time.process_time()
    served.parse_all([row.text for row in unseen])
    milliseconds = round(1000 * (time.process_time() - began) / len(unseen), 2)
    yield _row(
        f"ms of CPU a parse: {title}", milliseconds, f"<= {MILLISECONDS:.0f}", milliseconds <= MILLISECONDS,
        megabytes=round((workspace.model / "model.onnx").stat().st_size / 1e6, 1),
    )  # fmt: skip


def _scored(parser: Parser, utterances: Sequence[LabelledUtterance]) -> list[dict[str, Any]]:
    return [
        {"id": row.id, "family": row.family, "language": row.language,
         "reference": {"intent": row.intent, "entities": row.entities},
         "prediction": {**parse.to_json(), "best": parse.best, "intent": parse.best}}
        for row in utterances for parse in (parser.parse(row.text),)
    ]  # fmt: skip


def _by_way(utterances: Sequence[LabelledUtterance], found: Sequence[dict[str, Any]]) -> dict[str, str]:
    right, every = Counter[str](), Counter[str]()
    for row, one in zip(utterances, found, strict=True):
        every[_way(row)] += 1
        right[_way(row)] += one["prediction"]["intent"] == row.intent
    return {way: f"{right[way]} of {every[way]}" for way in WAYS}


def _way(row: LabelledUtterance) -> str:
    return "hi-Latn" if (row.language, row.script) == ("hi", "Latn") else row.language


def _row(name: str, value: Any, target: str, met: bool, **more: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "target": target, "met": bool(met), **more}
