"""Trained weights -> the two artefacts of a model version: int8 CTranslate2 for serving, safetensors for fine-tuning."""
import json
import shutil
from pathlib import Path

import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizerFast

from ml_backend import manifest
from ml_backend.manifest import Manifest, Window

COPIED = ("tokenizer.json", "preprocessor_config.json")


def save_twin(
    model: WhisperForConditionalGeneration, tokenizer: WhisperTokenizerFast, folder: Path, *, half: bool = False
) -> None:
    """Everything `from_pretrained` needs. `half` stores float16, which halves the file and changes no transcript we saw."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    dtype = model.dtype
    (model.half() if half else model.float()).save_pretrained(folder)
    model.to(dtype)
    tokenizer.save_pretrained(folder)
    # transformers 5 would write processor_config.json; faster-whisper reads preprocessor_config.json.
    WhisperFeatureExtractor(feature_size=model.config.num_mel_bins).save_pretrained(folder)


def load_twin(folder: Path) -> tuple[WhisperForConditionalGeneration, WhisperTokenizerFast]:
    model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    return model, WhisperTokenizerFast.from_pretrained(folder)


def convert(
    twin: Path, folder: Path, *, name: str, languages: tuple[str, ...], window: Window, trained_on: str,
    quantization: str = "int8", normalisers: dict[str, str] | None = None,
) -> Manifest:  # fmt: skip
    """Twin -> folder that faster-whisper loads without a network, with its manifest. Replaces `folder`."""
    from ctranslate2.converters import TransformersConverter

    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    TransformersConverter(str(twin), copy_files=list(COPIED)).convert(str(partial), quantization=quantization)
    _require_complete(partial)
    written = manifest.write(
        partial, name=name, languages=languages, window=window, trained_on=trained_on, normalisers=normalisers
    )
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    return written


def _require_complete(folder: Path) -> None:
    """The two silent ways in which a conversion goes wrong: no language ids, and a vocabulary that reads as English-only."""
    config = json.loads((folder / "config.json").read_text())
    vocabulary = json.loads((folder / "vocabulary.json").read_text())
    if not config.get("lang_ids") or not config.get("alignment_heads") or "" not in vocabulary:
        raise AssertionError("the converted model lost its languages, alignment heads or multilingual mark")
