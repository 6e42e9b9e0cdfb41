"""Trained weights -> the artefacts of a model version: int8 CTranslate2 to serve, safetensors to fine-tune."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer

from ml_backend.errors import PermanentError
from ml_backend.models import manifest
from ml_backend.models.manifest import Manifest, WindowPolicy

COPIED = ("tokenizer.json", "preprocessor_config.json")


def save_twin(
    model: WhisperForConditionalGeneration, tokenizer: WhisperTokenizer, folder: Path, *, half: bool = False
) -> None:
    """Save everything that `from_pretrained` needs. `half` stores float16: half the size, the same transcripts."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    torch.nn.Module.to(model, torch.float16 if half else torch.float32)
    model.save_pretrained(folder)
    name_special_tokens(tokenizer).save_pretrained(folder)
    # transformers 5 would write processor_config.json; faster-whisper reads preprocessor_config.json.
    extractor = WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)  # type: ignore[no-untyped-call]
    extractor.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors are created readable by their owner only


def name_special_tokens(tokenizer: WhisperTokenizer) -> WhisperTokenizer:
    """Name the special tokens: transformers' speech pipeline prints unnamed ones, such as `<|nospeech|>`."""
    names = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    tokenizer.add_special_tokens({"extra_special_tokens": names})
    return tokenizer


def load_twin(folder: Path) -> tuple[WhisperForConditionalGeneration, WhisperTokenizer]:
    model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    return model, WhisperTokenizer.from_pretrained(folder)


def describe(folder: Path, *, name: str, languages: tuple[str, ...], window: WindowPolicy, trained_on: str) -> Manifest:
    """The manifest of a twin: its window policy, and the digest of every file."""
    return manifest.write(folder, name=name, languages=languages, window=window, trained_on=trained_on)


def convert(
    twin: Path, folder: Path, *, name: str, languages: tuple[str, ...], window: WindowPolicy, trained_on: str,
    quantization: str = "int8_float32", normalisers: dict[str, str] | None = None,
) -> Manifest:  # fmt: skip
    """Twin -> folder with manifest that faster-whisper loads offline. Replaces `folder`."""
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
    """Check two silent failures of a conversion: no language ids, or a vocabulary that counts as English-only."""
    config = json.loads((folder / "config.json").read_text())
    vocabulary = json.loads((folder / "vocabulary.json").read_text())
    if not config.get("lang_ids") or not config.get("alignment_heads") or "" not in vocabulary:
        raise PermanentError(
            "conversion-incomplete",
            "The converted model lost its languages, alignment heads or multilingual mark.",
            "Check generation_config.json and the tokenizer of the base model.",
        )
