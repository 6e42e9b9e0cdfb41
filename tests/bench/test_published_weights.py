"""A Whisper as CTranslate2 serves it becomes the same weights again for training, number by number."""

from __future__ import annotations

import pytest
import torch

from bench.real import published_weights
from tests import models
from training.trainers.asr import weights


def test_what_is_served_in_half_precision_comes_back_exactly(tmp_path):
    from transformers import WhisperForConditionalGeneration

    served = models.make(tmp_path, quantization="float16")
    base = weights.load(str(published_weights.to_transformers(served, tmp_path / "back")), short_windows=True)
    first = WhisperForConditionalGeneration.from_pretrained(tmp_path / "source", dtype=torch.float32).state_dict()
    for name, value in base.model.state_dict().items():
        assert torch.equal(value, first[name].half().float()), name
    assert base.tokenizer.get_vocab()["<|notimestamps|>"] > 0
    assert weights.languages_of(str(tmp_path / "back")) >= {"en", "hi", "mr"}


def test_a_key_with_a_bias_is_no_whisper():
    found = {"a/weight": torch.ones(2, 2).numpy(), "a/bias": torch.ones(2).numpy()}
    with pytest.raises(ValueError, match="has a bias"):
        published_weights._put({}, "layer.k_proj", found["a/weight"], found["a/bias"])
