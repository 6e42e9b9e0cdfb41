"""A model folder made elsewhere -> a registered version, copied into the object store.

Every file is checked before anything is loaded: a pickle runs code when it is loaded, a link may lead anywhere, and a
folder that differs from its manifest is damaged. A folder without a manifest is treated as a stock Whisper, with 30 s
windows.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from ml_backend.context import Context
from ml_backend.errors import InvalidInput, PermanentError
from ml_backend.models import kinds, manifest, model_files, registry
from ml_backend.models.manifest import WindowPolicy

# Limits for files that libraries parse before loading, at any size and depth.
_LARGEST_JSON, _DEEPEST, _MOST_FILES = 64 << 20, 64, 1000
_MOST_TOKENS, _LONGEST_TOKEN = 500_000, 10_000
_LARGEST_NUMBERS = {  # of preprocessor_config.json: they become array dimensions
    "feature_size": 1024, "n_fft": 65_536, "hop_length": 65_536, "chunk_length": 3600, "sampling_rate": 192_000,
}  # fmt: skip
NEEDED = ("config.json", "model.bin", "tokenizer.json")
_NEXT = "Convert the model with ct2-transformers-converter --copy_files tokenizer.json preprocessor_config.json."


def adopt(context: Context, folder: Path, *, name: str = "", trained_on: str = "made elsewhere") -> registry.Version:
    """Check the folder, load it, put it into the object store, register it. The same folder gives the same version.

    Raises PermanentError `model-file-...` if it must not be loaded, ConfigurationError if it cannot be loaded.
    """
    _require_plain(folder)
    described = manifest.verify(folder) if (folder / manifest.FILE).is_file() else None
    models = context.settings.data_dir / "models"
    models.mkdir(parents=True, exist_ok=True)
    partial = models / f".{folder.name[:60]}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(folder, partial)
        if described is None:
            described = manifest.write(
                partial, name=name or folder.name, languages=_languages(partial), window=WindowPolicy.stock(),
                trained_on=trained_on,
            )  # fmt: skip
        manifest.verify(partial)
        kinds.of(described.kind).check(context.settings, partial)
        location = model_files.publish(context, partial, f"{model_files.FOLDER}/{described.model_version}")
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return registry.register(context, location, lineage={"from": folder.name, "trained_on": described.trained_on})


def _require_plain(folder: Path) -> None:
    if not folder.is_dir():
        raise InvalidInput("no-such-folder", f"There is no folder {folder.name[:60]!r}.", "Check the path.", status=404)
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if number >= _MOST_FILES:
            raise _too_much(folder.name, f"more than {_MOST_FILES} files")
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise PermanentError(
                "model-file-link",
                f"{path.name} is a link or a special file, not a file of the model.",
                "Copy the real files into the folder.",
            )
        if path.is_file():
            manifest.refuse_pickle(path)
            if path.suffix == ".json":
                _require_sane(path)
    if (folder / manifest.FILE).is_file():  # it lists its files
        return
    if missing := [name for name in NEEDED if not (folder / name).is_file()]:
        raise PermanentError("model-file-missing", f"The folder {folder.name} lacks {missing[0]}.", _NEXT)


def _require_sane(path: Path) -> None:
    """Refuse a size, nesting depth or token count that no model has; a file that is not JSON is left to its reader."""
    if path.stat().st_size > _LARGEST_JSON:
        raise _too_much(path.name, f"more than {_LARGEST_JSON >> 20} MB")
    data = path.read_bytes()
    if _depth(data) > _DEEPEST:
        raise _too_much(path.name, f"more than {_DEEPEST} levels of brackets")
    try:
        body = json.loads(data)
    except ValueError:
        raise PermanentError("model-file-broken", f"{path.name} is not JSON.", _NEXT) from None
    _require_sane_tokens(path.name, body)
    if path.name == "preprocessor_config.json" and isinstance(body, dict):
        for name, most in _LARGEST_NUMBERS.items():
            value = body.get(name, 1)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
                raise _too_much(path.name, f"a {name} that is not a number from 1 to {most}")


def _require_sane_tokens(name: str, body: Any) -> None:
    """Check a vocabulary: a list, or the parts of a tokenizer. Ids are positions in a table of that length."""
    whole: dict[str, Any] = body if isinstance(body, dict) else {}
    inner = whole.get("model")
    model: dict[str, Any] = inner if isinstance(inner, dict) else {}
    added = whole.get("added_tokens")
    ids = [token.get("id") for token in added if isinstance(token, dict)] if isinstance(added, list) else []
    for tokens in (body if isinstance(body, list) else None, model.get("vocab"), model.get("merges"), added):
        if not isinstance(tokens, list | dict):
            continue
        if len(tokens) > _MOST_TOKENS:
            raise _too_much(name, f"more than {_MOST_TOKENS} tokens")
        if any(len(token) > _LONGEST_TOKEN for token in tokens if isinstance(token, str)):
            raise _too_much(name, f"a token of more than {_LONGEST_TOKEN} characters")
        ids += list(tokens.values()) if isinstance(tokens, dict) else []
    if any(isinstance(each, int) and not 0 <= each < _MOST_TOKENS for each in ids):
        raise _too_much(name, f"a token whose number is not below {_MOST_TOKENS}")


def _depth(data: bytes) -> int:
    """The nesting depth of a JSON text, found without a parser, which would recurse."""
    depth = deepest = 0
    for piece in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', data, re.DOTALL):
        mark = piece[0]
        if mark in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif mark in (b"]", b"}"):
            depth -= 1
    return deepest


def _too_much(name: str, what: str) -> PermanentError:
    return PermanentError("model-file-too-much", f"{name[:60]} holds {what}, which no Whisper does.", _NEXT)


def _languages(folder: Path) -> tuple[str, ...]:
    """The language codes of the vocabulary, in its order; empty if it lists none: then the engine's list applies."""
    try:
        added = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    names = [str(token.get("content", "")) for token in added if isinstance(token, dict)]
    return tuple(name[2:-2] for name in names if len(name) in (6, 7) and name[:2] == "<|" and name[2:-2].isalpha())
