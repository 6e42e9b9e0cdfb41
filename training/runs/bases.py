"""A name -> the Base a run starts from: weights, window policy, and version.

A version is served as CTranslate2, which cannot be trained, so the same weights are stored as safetensors too. The
trainer's library downloads a published model by its name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, PermanentError
from ml_backend.models import manifest, model_files, registry
from ml_backend.models.manifest import WindowPolicy
from ml_backend.serving import default_model

_LONGEST_HEADER = 100_000_000  # as safetensors itself allows
_PUBLISHER = "openai/whisper-"
_PUBLISHED = {  # name: width, encoder layers, decoder layers, million parameters
    "tiny": (384, 4, 4, 39), "base": (512, 6, 6, 74), "small": (768, 12, 12, 244), "medium": (1024, 24, 24, 769),
    "large": (1280, 32, 32, 1550), "large-v2": (1280, 32, 32, 1550), "large-v3": (1280, 32, 32, 1550),
    "large-v3-turbo": (1280, 32, 4, 809), "turbo": (1280, 32, 4, 809),
}  # fmt: skip


@dataclass(frozen=True)
class Base:
    """`location` is a folder or a hub name; `version` is the registered version, if it is one."""

    location: str
    name: str
    window: WindowPolicy
    languages: tuple[str, ...] = ()
    version: str | None = None


@dataclass(frozen=True)
class Size:
    """The sizes that determine memory and time."""

    width: int
    encoder_layers: int
    decoder_layers: int
    parameters: int
    vocabulary: int = 51_866


def find(context: Context, name: str) -> Base:
    """champion, bundled, a registered version, a folder of safetensors, or a hub name."""
    if name == "champion":
        default_model.ensure(context)
        return _of_version(context, registry.champion(context))
    if name == "bundled":
        described = manifest.read(MODEL_FOLDER)
        return Base(str(TWIN_FOLDER), described.name, described.windows, described.languages, described.model_version)
    if Path(name).is_dir():
        return _of_folder(Path(name), version=None)
    try:
        return _of_version(context, registry.find(context, name))
    except PermanentError:
        if "/" not in name and name not in _PUBLISHED:
            raise
    return _published(name)


def size_of(base: Base) -> Size | None:
    """None for an unknown hub name, whose size is known after its download."""
    folder = Path(base.location)
    if folder.is_dir():
        try:
            config = json.loads((folder / "config.json").read_text())
            return Size(
                config["d_model"], config["encoder_layers"], config["decoder_layers"],
                sum(_parameters(path) for path in folder.glob("*.safetensors")), int(config["vocab_size"]),
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise _no_model(folder) from None
    known = _PUBLISHED.get(base.location.removeprefix(_PUBLISHER))
    return Size(known[0], known[1], known[2], known[3] * 1_000_000) if known else None


def _of_version(context: Context, version: registry.Version) -> Base:
    described = manifest.read(MODEL_FOLDER)
    if version.version == described.model_version:
        return Base(str(TWIN_FOLDER), described.name, described.windows, described.languages, version.version)
    if version.location.startswith(model_files.HUB):
        found = _published(version.location.removeprefix(model_files.HUB))
        return Base(found.location, found.name, found.window, version.languages, version.version)
    weights = (version.lineage or {}).get("weights")
    if not weights:
        raise ConfigurationError(
            "no-weights",
            f"Version {version.version} has no weights to go on from: it is there only as it is served.",
            "Name another base, e.g. --base openai/whisper-small or a folder of safetensors.",
        )
    return _of_folder(Path(model_files.place(context, weights)), version=version.version)


def _of_folder(folder: Path, *, version: str | None) -> Base:
    for path in folder.iterdir():
        if path.is_file():
            manifest.refuse_pickle(path)
    if (folder / manifest.FILE).is_file():
        described = manifest.verify(folder)
        return Base(str(folder.absolute()), described.name, described.windows, described.languages, version)
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise _no_model(folder)
    return Base(str(folder.absolute()), folder.name, WindowPolicy.stock(), (), version)


def _no_model(folder: Path) -> ConfigurationError:
    return ConfigurationError(
        "base-not-a-model", f"The folder {folder.name} holds no Whisper in safetensors.",
        "Name the folder with config.json, the tokenizer and *.safetensors.",
    )  # fmt: skip


def _published(name: str) -> Base:
    short = "large-v3-turbo" if name == "turbo" else name
    location = _PUBLISHER + short if short in _PUBLISHED else name
    return Base(location, location.split("/")[-1], WindowPolicy.stock())


def _parameters(path: Path) -> int:
    """The number of parameters in a safetensors file, from its header alone."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header: dict[str, Any] = json.loads(stream.read(length) if length < _LONGEST_HEADER else b"")
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            count = 1
            for side in tensor["shape"]:
                count *= side
            total += count
    return total


BUNDLED = Path(__file__).parents[2] / "ml_backend" / "bundled"
MODEL_FOLDER = BUNDLED / "model"
CALLS_FOLDER = BUNDLED / "calls"
LEARNING_FOLDER = BUNDLED / "learning"
TWIN_FOLDER = Path(__file__).parents[1] / "demo_model" / "weights"
WORK_FOLDER = Path(__file__).parents[1] / "demo_model" / "work"
