"""One parse by an encoder of IndicBERT's size, 12 layers of 768 and 250,000 pieces, of random weights, on one thread.

What such an encoder knows is another question (`bench/real/intent_encoder.py` trains a published one); how long a
text takes depends on its shape alone. The texts are the bundled shop's, beside one that fills all 64 tokens.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertModel

from ml_backend.nlu import loading
from ml_backend.nlu.parsing import MODEL_FILE, Parser, ParserNeeds
from training.demo_intents import encoder_maker, intent_corpus
from training.trainers.nlu import onnx_export
from training.trainers.nlu.intent_network import IntentNetwork, LoadedParser

PIECES, WIDTH, LAYERS = 250_000, 768, 12
TARGET_MS = 100.0
_TEXTS = 60


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    """`quick`: two layers, which says nothing of twelve."""
    torch.set_num_threads(1)
    utterances = intent_corpus.utterances("shop", seed=encoder_maker.SEED)
    texts = [row.text for row in utterances][:: len(utterances) // _TEXTS][:_TEXTS]
    loaded = _loaded([row.text for row in utterances], layers=2 if quick else LAYERS)
    network = onnx_export.exported(loaded)
    with tempfile.TemporaryDirectory(prefix="kaan-bench-") as name:
        for form in ("int8", "float32"):
            described = onnx_export.ParserDescription("large", ("hi",), "nothing: random weights")
            folder = Path(name) / form
            onnx_export.convert(loaded, network, folder, described, form=form)
            yield _row(form, loading.load(folder), folder, texts)


def _row(form: str, parser: Parser, folder: Path, texts: list[str]) -> dict[str, Any]:
    parser.parse_all(texts[:5])
    each = []
    for text in texts:
        began = time.thread_time()
        parser.parse(text)
        each.append(1000 * (time.thread_time() - began))
    longest = " ".join(texts)
    longest_ms = []
    for _ in range(10):
        began = time.thread_time()
        parser.parse(longest)
        longest_ms.append(1000 * (time.thread_time() - began))
    median, p99 = (round(float(np.percentile(each, share)), 1) for share in (50, 99))
    return {
        "name": f"ms of CPU a parse, {LAYERS} layers of {WIDTH}, {form}, one thread", "value": median,
        "target": f"<= {TARGET_MS:.0f}", "met": median <= TARGET_MS, "p99_ms": p99, "texts": len(texts),
        "ms_of_64_tokens": round(float(np.median(longest_ms)), 1),
        "tokens": round(float(np.mean([len(parser.encoded(text).ids) for text in texts])), 1),
        "megabytes": round((folder / MODEL_FILE).stat().st_size / 1e6),
    }  # fmt: skip


def _loaded(texts: list[str], *, layers: int) -> LoadedParser:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=PIECES, hidden_size=WIDTH, num_hidden_layers=layers, num_attention_heads=12,
        intermediate_size=4 * WIDTH,
    )  # fmt: skip
    config._attn_implementation = "eager"  # as a base is loaded: the form that every exporter knows
    needs = ParserNeeds(tuple(f"intent_{n}" for n in range(18)), entities=("order", "amount", "city", "day"))
    network = IntentNetwork(BertModel(config, add_pooling_layer=False), needs)
    return LoadedParser(network, encoder_maker.build_tokenizer(texts), needs)


if __name__ == "__main__":
    for one in rows():
        print(one, flush=True)
