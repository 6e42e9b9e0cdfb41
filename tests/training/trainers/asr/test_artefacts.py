"""A model that is saved for transformers works there as a Whisper does."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import WhisperTokenizer

from training.runs.bases import TWIN_FOLDER
from training.trainers.asr import artefacts


@pytest.mark.parametrize("saved", ["bundled", "anew"])
def test_special_tokens_are_named_so_that_the_speech_pipeline_writes_none_of_them(saved, tmp_path):
    folder = TWIN_FOLDER
    if saved == "anew":
        folder = tmp_path / "twin"
        artefacts.save_twin(*artefacts.load_twin(TWIN_FOLDER), folder)
    tokenizer = WhisperTokenizer.from_pretrained(folder)
    ids = tokenizer.get_vocab()
    tokens = [ids["<|startoftranscript|>"], ids["<|nospeech|>"], ids["<|endoftext|>"]]
    heard, _ = tokenizer._decode_asr(
        [{"tokens": np.array([tokens])}], return_timestamps=None, return_language=None, time_precision=0.02
    )
    assert heard == ""
    assert {"<|nospeech|>", "<|transcribe|>", "<|hi|>"} <= set(tokenizer.all_special_tokens)
    assert ids["<|notimestamps|>"] + 1 not in tokenizer.all_special_ids, "timestamps are none"
