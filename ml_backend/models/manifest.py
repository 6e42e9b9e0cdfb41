"""Folder of a model version -> Manifest: what the model is, its input format, and the SHA-256 of every file.

What a version needs is in the manifest and not in code, because it depends on the training: a stock Whisper works only
on windows padded to 30 s, the bundled model only on unpadded ones. `window` is for speech recognition; `needs` are the
facts of the other kinds (labels and maximum length; voices and vocoder), which their engines read and check. A folder
that differs from its manifest, or that holds a pickle, is refused before anything loads it.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ml_backend import quantities
from ml_backend.errors import PermanentError

FILE = "manifest.json"
FORMAT = 1
PICKLE_SUFFIXES = frozenset({".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".dill", ".npy", ".npz"})
PICKLE_NAMES = frozenset({"pytorch_model.bin", "training_args.bin", "optimizer.bin", "scheduler.bin"})
_PICKLE_PROTOCOLS = frozenset(range(2, 6))
_PICKLE, _OTHERS, _SNIFFED_BYTES = 0x80, (b"PK\x03\x04", b"\x93NUMPY"), 256
_OLD_PICKLE = re.compile(rb"\(?c[\w.]+\n[\w.]+\n(p\d+\n|q|\()|\([dl]p\d+\n|[\]}]q\x00")  # protocols 0 and 1
WINDOW, WEAKEST = "window", "weakest"  # the confidence formula of a version (`asr.guards`)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_NEXT = "Fetch or export the model version again; do not edit its files by hand."


@dataclass(frozen=True)
class WindowPolicy:
    """How audio must be cut and padded for this model. All in seconds.

    max_s          longest window that may be formed
    pad_to_s       pad every window to exactly this length with 0.0 (normalised log-mel); None: pad a batch only to its
                   longest window plus `margin_s`
    margin_s       0.0 padding behind the longest window of a batch, when `pad_to_s` is None
    max_padding_s  windows in one batch differ by at most this, when `pad_to_s` is None
    split_pause_s  cut at every pause of at least this length, even when the parts would fit into one window
    """

    max_s: float
    pad_to_s: float | None = None
    margin_s: float = 0.0
    max_padding_s: float = 0.0
    split_pause_s: float = 2.0

    @classmethod
    def stock(cls) -> "WindowPolicy":
        """Whisper as published: always 30 s."""
        return cls(max_s=30.0, pad_to_s=30.0)


@dataclass(frozen=True)
class Manifest:
    name: str
    model_version: str
    kind: str
    languages: tuple[str, ...]
    window: WindowPolicy | None
    sample_rate_hz: int
    trained_on: str
    files: dict[str, "FileEntry"]
    normalisers: dict[str, str] = field(default_factory=dict)
    confidence: str = (
        WEAKEST  # `_parsed` reads a manifest without this field as WINDOW: its stored confidences stay comparable
    )
    needs: dict[str, Any] = field(default_factory=dict)

    @property
    def windows(self) -> WindowPolicy:
        """The window policy; PermanentError `wrong-kind` for a model that does not transcribe."""
        if self.window is None:
            raise wrong_kind(self.model_version, self.kind, "asr")
        return self.window


@dataclass(frozen=True)
class FileEntry:
    sha256: str
    size_bytes: int


def read(folder: Path) -> Manifest:
    """The manifest as written; `verify` also checks the other files."""
    path = folder / FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PermanentError("manifest-missing", f"The model folder {folder.name} has no {FILE}.", _NEXT) from None
    except (OSError, ValueError):
        raise _broken(folder, "cannot be read as JSON") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise _broken(folder, f"is not of format {FORMAT}")
    try:
        return _parsed(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _broken(folder, f"lacks or mistypes a field ({quantities.shortened(str(error), 60)})") from None


def verify(folder: Path) -> Manifest:
    """Read the manifest and compare every file with it. Raises PermanentError at the first difference."""
    manifest = read(folder)
    present = _present(folder)
    for name in present:
        refuse_pickle(folder / name)
    if missing := sorted(manifest.files.keys() - present):
        raise PermanentError("model-file-missing", f"The model folder {folder.name} lacks {missing[0]}.", _NEXT)
    if extra := sorted(present - manifest.files.keys()):
        raise PermanentError("model-file-unlisted", f"{extra[0]} in {folder.name} is not in its manifest.", _NEXT)
    for name, entry in manifest.files.items():
        if _entry(folder / name) != entry:
            raise PermanentError("model-file-changed", f"{name} in {folder.name} differs from its manifest.", _NEXT)
    if manifest.model_version != version_of(manifest.name, manifest.files):
        raise _broken(folder, "names a model_version that its files do not have")
    return manifest


def write(
    folder: Path, *, name: str, languages: tuple[str, ...], window: WindowPolicy | None, trained_on: str,
    kind: str = "asr", sample_rate_hz: int = 16000, normalisers: dict[str, str] | None = None,
    needs: dict[str, Any] | None = None,
) -> Manifest:  # fmt: skip
    """List the files in the folder and write the manifest beside them, completely or not at all."""
    require_name(name)
    present = _present(folder)
    for file in present:
        refuse_pickle(folder / file)
    files = {file: _entry(folder / file) for file in sorted(present)}
    manifest = Manifest(
        name, version_of(name, files), kind, languages, window, sample_rate_hz, trained_on, files, normalisers or {},
        needs=needs or {},
    )  # fmt: skip
    partial = folder / f".{FILE}.partial"
    partial.write_text(
        json.dumps({"format": FORMAT, **asdict(manifest)}, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
    )
    partial.replace(folder / FILE)
    return manifest


def version_of(name: str, files: dict[str, FileEntry]) -> str:
    """`name-` and eight hex digits of a digest over file names and contents: same files, same version."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file}\0{files[file].sha256}\n".encode())
    return f"{name}-{digest.hexdigest()[:8]}"


def wrong_kind(version: str, kind: str, wanted: str) -> PermanentError:
    """The error for a version that is used for what another kind of model does."""
    return PermanentError(
        "wrong-kind", f"{version} is a model of kind {kind}, not {wanted}.",
        f"`models list` shows the versions of kind {wanted}.",
    )  # fmt: skip


def require_name(name: str) -> None:
    """Refuse a name that cannot be part of a version, a folder name and an object key."""
    if not _NAME.fullmatch(name):
        raise PermanentError(
            "model-name", f"{name[:60]!r} is no name for a model.", "Use letters, digits, dots, hyphens: --name NAME."
        )


def refuse_pickle(path: Path) -> None:
    """Refuse a pickle, which runs code when loaded. Recognised by its name or its first bytes."""
    with path.open("rb") as file:
        head = file.read(_SNIFFED_BYTES)
    looks = len(head) > 1 and head[0] == _PICKLE and head[1] in _PICKLE_PROTOCOLS
    looks = looks or head.startswith(_OTHERS) or _OLD_PICKLE.match(head) is not None
    if path.suffix.lower() in PICKLE_SUFFIXES or path.name.lower() in PICKLE_NAMES or looks:
        raise PermanentError(
            "model-file-pickle",
            f"{path.name} is a pickle or an archive, which could run code when loaded.",
            "Use safetensors or CTranslate2 files only.",
        )


def _parsed(raw: dict[str, Any]) -> Manifest:
    window = _window(raw.get("window"))
    if window is None and raw["kind"] == "asr":
        raise ValueError("window")
    if not isinstance(raw.get("needs", {}), dict):
        raise ValueError("needs")
    files = {
        str(name): FileEntry(str(entry["sha256"]), int(entry["size_bytes"])) for name, entry in raw["files"].items()
    }
    if not _NAME.fullmatch(str(raw["name"])):
        raise ValueError("name")
    if unsafe := [name for name in files if Path(name).is_absolute() or ".." in Path(name).parts]:
        raise ValueError(f"path {unsafe[0]}")
    return Manifest(
        name=str(raw["name"]), model_version=str(raw["model_version"]), kind=str(raw["kind"]),
        languages=tuple(str(language) for language in raw["languages"]), window=window,
        sample_rate_hz=int(raw["sample_rate_hz"]), trained_on=str(raw["trained_on"]), files=files,
        normalisers={str(k): str(v) for k, v in raw["normalisers"].items()},
        confidence=str(raw.get("confidence", WINDOW)), needs=dict(raw.get("needs", {})),
    )  # fmt: skip


def _window(raw: Any) -> WindowPolicy | None:
    if raw is None:
        return None
    window = WindowPolicy(**raw)
    numbers = [window.max_s, window.margin_s, window.max_padding_s, window.split_pause_s]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and n >= 0 for n in numbers) or window.max_s <= 0:
        raise ValueError("window")
    if window.pad_to_s is not None and not window.max_s <= window.pad_to_s:
        raise ValueError("window.pad_to_s is shorter than max_s")
    return window


def _present(folder: Path) -> set[str]:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.is_symlink()}
    return names - {FILE, f".{FILE}.partial"}


def _entry(path: Path) -> FileEntry:
    with path.open("rb") as file:
        return FileEntry(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


def _broken(folder: Path, why: str) -> PermanentError:
    return PermanentError("manifest-broken", f"The {FILE} of {folder.name} {why}.", _NEXT)
