"""The only door to parler-tts: its versions, its stock models by folder or hub name, and the speech that they make.

parler-tts imports the package `dac` for the codec of its oldest models. That package cannot be imported beside a CPU
torch, so an empty one stands in for it; models whose codec is transformers' own need nothing of it.
"""

from __future__ import annotations

import json
import shutil
import sys
import types
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ml_backend import quantities
from ml_backend.errors import ConfigurationError, PermanentError, RetryableError

VERSIONS = {"parler-tts": "0.2.3", "transformers": "4.46.1"}  # those of requirements/parler.lock
NEXT = "Install it: make parler"
MODEL_TYPE = "parler_tts"
DESCRIPTIONS = "description_tokenizer"  # a folder in what we save; a published model names another repository instead
_OLD_CODEC = "dac_on_the_hub"


@dataclass
class ParlerModel:
    """A loaded model with its two tokenizers."""

    model: Any
    prompts: Any
    descriptions: Any

    @property
    def rate_hz(self) -> int:
        return int(self.model.config.audio_encoder.sampling_rate)

    def on(self, device: str) -> ParlerModel:
        self.model.to(device)
        return self

    @property
    def hop(self) -> int:
        """Samples per frame of codes."""
        return int(self.model.config.audio_encoder.hop_length)

    @property
    def codebooks(self) -> int:
        return int(self.model.config.decoder.num_codebooks)


def require() -> dict[str, str]:
    """The installed versions. ConfigurationError when the environment is incomplete or of other versions."""
    found = {}
    for name, wanted in VERSIONS.items():
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise ConfigurationError("parler-environment", f"This Python has no {name}.", NEXT) from None
        if found[name] != wanted:
            raise ConfigurationError(
                "parler-environment-version", f"The Parler environment has {name} {found[name]}, not {wanted}.", NEXT
            )
    return found


def library() -> Any:
    """The module `parler_tts`, importable."""
    require()
    if "dac" not in sys.modules:
        outer, inner = types.ModuleType("dac"), types.ModuleType("dac.model")
        inner.DAC = type("DAC", (), {})  # type: ignore[attr-defined]
        outer.model = inner  # type: ignore[attr-defined]
        sys.modules.update({"dac": outer, "dac.model": inner})
    try:
        import parler_tts
    except (ImportError, OSError) as error:  # OSError: a shared library of another build
        raise ConfigurationError(
            "parler-environment",
            f"parler-tts cannot be imported ({quantities.shortened(str(error), 80)}).",
            NEXT,
        ) from error
    return parler_tts


def load(location: str) -> ParlerModel:
    """A model from a folder or the hub, on the CPU in float32, with the token ids that its loss needs."""
    parler = library()
    from transformers import AutoTokenizer

    _require_type(location)
    try:
        config = parler.ParlerTTSConfig.from_pretrained(location)
        if config.audio_encoder.model_type == _OLD_CODEC:
            raise PermanentError(
                "parler-old-codec",
                f"{Path(location).name} stores its codec in the form of parler-tts 0.1, which is not supported.",
                "Use a model whose config.json says audio_encoder: dac, saved with transformers 4.45 or newer.",
            )
        model = parler.ParlerTTSForConditionalGeneration.from_pretrained(location, config=config)
        prompts = AutoTokenizer.from_pretrained(location, padding_side="left")
        own = Path(location) / DESCRIPTIONS
        descriptions = AutoTokenizer.from_pretrained(
            str(own) if own.is_dir() else model.config.text_encoder._name_or_path or location
        )
    except (OSError, ValueError, KeyError) as error:
        raise _unavailable(location, error) from error
    _name_tokens(model)
    model.eval()
    return ParlerModel(model, prompts, descriptions)


def save(found: ParlerModel, folder: Path) -> None:
    """Everything that `load` needs, offline, as safetensors. Replaces `folder`, completely or not at all."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    found.model.save_pretrained(partial, safe_serialization=True)
    found.prompts.save_pretrained(partial)
    found.descriptions.save_pretrained(partial / DESCRIPTIONS)
    for path in partial.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def device(asked: str) -> str:
    """`cuda` or `cpu`."""
    import torch

    if asked == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(
            "parler-no-gpu", "The Parler environment sees no GPU.", "Look at nvidia-smi, or set the device to cpu."
        )
    return "cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu"


def _name_tokens(model: Any) -> None:
    """The loss reads these ids from the model's configuration, generation from its own: both must have them."""
    decoder = model.config.decoder
    ids = {
        "decoder_start_token_id": decoder.bos_token_id, "bos_token_id": decoder.bos_token_id,
        "pad_token_id": decoder.pad_token_id, "eos_token_id": decoder.eos_token_id,
    }  # fmt: skip
    for holder in (model.config, model.generation_config):
        for name, value in ids.items():
            if getattr(holder, name, None) is None:
                setattr(holder, name, value)


def _require_type(location: str) -> None:
    """Refuse a folder of another family before loading gigabytes of it."""
    path = Path(location) / "config.json"
    if not Path(location).is_dir():
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise _unavailable(location, error) from error
    if found != MODEL_TYPE:
        raise PermanentError(
            "parler-base-type", f"{Path(location).name} is a {found or 'nameless'} model, not a Parler-TTS.",
            "Name a base whose config.json says model_type: parler_tts.",
        )  # fmt: skip


def _unavailable(location: str, error: Exception) -> Exception:
    said = quantities.shortened(str(error).splitlines()[0] if str(error) else type(error).__name__, 100)
    if Path(location).is_dir():
        return PermanentError(
            "parler-base-damaged",
            f"The Parler model {Path(location).name} cannot be loaded ({said}).",
            "Fetch it again.",
        )
    return RetryableError(
        "parler-base-unavailable", f"The Parler model {location[:80]} cannot be fetched ({said}).",
        "Check its name, the network and HF_TOKEN, or name a folder with a copy.",
    )  # fmt: skip
