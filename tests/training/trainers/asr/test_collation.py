"""Batches are padded the way the manifest says the model will be served."""

import random
from itertools import islice

import numpy as np
import pytest

from ml_backend.models.manifest import WindowPolicy
from training.demo_model import tokenizer
from training.trainers.asr.collation import Collator, LengthBatches, padded
from training.trainers.asr.targets import IGNORED, Example, Targets, TimedPhrase

SHORT = WindowPolicy(max_s=8.0, margin_s=0.2, max_padding_s=0.6)


def mel(frames: int, value: float = 0.5) -> np.ndarray:
    return np.full((frames, 80), value, dtype=np.float32)


def test_a_stock_whisper_is_padded_with_zeros_to_thirty_seconds():
    batch = padded([mel(120), mel(300)], WindowPolicy.stock(), random.Random(0))
    assert batch.shape == (2, 80, 3000)
    assert (batch[0, :, :120] == 0.5).all()
    assert (batch[0, :, 120:] == 0).all()


def test_serving_padding_is_the_longest_window_and_the_margin():
    assert padded([mel(120), mel(301)], SHORT).shape == (2, 80, 322)


def test_training_padding_varies_within_what_serving_may_do():
    lengths = {padded([mel(100)], SHORT, random.Random(n)).shape[2] for n in range(200)}
    assert min(lengths) >= 100
    assert max(lengths) <= 100 + 80 + 1
    assert len(lengths) > 20


def test_some_training_batches_are_padded_with_the_quietest_value():
    quiet = mel(100)
    quiet[3, 3] = -0.7
    fills = {round(float(padded([quiet], SHORT, random.Random(n))[0, 0, -1]), 2) for n in range(200)}
    assert {0.0, -0.7} <= fills


def test_a_batch_holds_what_the_model_reads_and_must_answer():
    targets = Targets(tokenizer.build(["hello there"]))
    examples = [
        Example(mel(100), "en", (TimedPhrase("hello", 0, 1),)),
        Example(mel(90), "en", (TimedPhrase("hello there", 0, 1),)),
    ]
    batch = Collator(targets, SHORT)([examples])
    assert batch["decoder_input_ids"].shape == batch["labels"].shape
    assert batch["input_features"].shape[:2] == (2, 80)
    assert (batch["decoder_input_ids"] != IGNORED).all()


@pytest.mark.parametrize("budget", [1000, 4000])
def test_length_batches_keep_their_budget_and_lose_nothing(budget):
    rng = random.Random(1)
    lengths = [rng.randint(50, 800) for _ in range(100)]
    stream = LengthBatches(lambda: iter([Example(mel(n), "en") for n in lengths]), budget, pool=40)
    batches = list(islice(stream, 1000))
    assert sorted(len(e.mel) for batch in batches for e in batch) == sorted(lengths)
    assert all(len(batch) * max(len(e.mel) for e in batch) <= budget for batch in batches if len(batch) > 1)
