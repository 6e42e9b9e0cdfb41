"""A name -> the base that a parser or a voice goes on from: champion, bundled, a folder, or a registered version.

A version is served in a form that cannot be trained, so its weights are stored too. A Whisper's base has a window and a
size as well: `runs.bases`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ml_backend.context import Context
from ml_backend.errors import ConfigurationError
from ml_backend.models import kinds, manifest, model_files, registry
from ml_backend.models.registry import Version
from ml_backend.serving import default_model


@dataclass(frozen=True)
class KindBase:
    """`location` is a folder or a hub name, `version` the registered version if it is one, `name` that of the result
    unless the options say another."""

    location: str
    version: str | None
    name: str


def find(context: Context, named: str, kind: str, *, shipped: Path) -> KindBase | None:
    """The base of this name; None where it may be a name on the hub. `shipped` are the bundled model's weights."""
    if named == registry.CHAMPION:
        default_model.ensure(context, kind)
        return _of_version(context, registry.champion(context, kind), shipped)
    if named == "bundled":
        described = manifest.read(kinds.BUNDLED[kind])
        return KindBase(str(shipped), described.model_version, described.name)
    if Path(named).is_dir():
        return KindBase(str(Path(named).absolute()), None, Path(named).name)
    if (version := registry.named(context, named)) is None:
        return None
    kinds.require(version, kind)
    return _of_version(context, version, shipped)


def _of_version(context: Context, version: Version, shipped: Path) -> KindBase:
    bundled = manifest.read(kinds.BUNDLED[version.kind])
    if version.version == bundled.model_version:
        return KindBase(str(shipped), version.version, bundled.name)
    weights = (version.lineage or {}).get("weights")
    if not weights:
        raise ConfigurationError(
            "no-weights", f"Version {version.version} has no weights to go on from: it is there only as it is served.",
            "Name another base, e.g. --base bundled or a folder of weights.",
        )  # fmt: skip
    folder = Path(model_files.place(context, weights))
    return KindBase(str(folder), version.version, manifest.read(folder).name)
