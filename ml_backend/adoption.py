"""A model folder made elsewhere -> a registered version of its own, copied to where nobody edits it.

Nothing is loaded before every file was looked at: a pickle runs code when it is loaded, a link may lead anywhere, and a
folder that differs from its manifest is not what somebody meant to hand over. A folder without a manifest is taken for
a stock Whisper, with 30 s windows.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ml_backend import manifest, model_files, registry
from ml_backend.context import Context
from ml_backend.engine import Transcriber
from ml_backend.errors import InvalidInput, PermanentError
from ml_backend.manifest import Window

NEEDED = ("config.json", "model.bin", "tokenizer.json")
_NEXT = "Convert the model with ct2-transformers-converter --copy_files tokenizer.json preprocessor_config.json."


def adopt(context: Context, folder: Path, *, name: str = "", trained_on: str = "made elsewhere") -> registry.Version:
    """Check, try out, put into the object store, register. The same folder again is the same version.

    Raises PermanentError `model-file-...` for what must not be loaded, ConfigurationError where it does not load.
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
                partial, name=name or folder.name, languages=_languages(partial), window=Window.stock(),
                trained_on=trained_on,
            )  # fmt: skip
        manifest.verify(partial)
        Transcriber.load(partial, settings=context.settings).self_check()
        location = model_files.publish(context, partial, f"{model_files.FOLDER}/{described.model_version}")
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return registry.register(context, location, lineage={"from": folder.name, "trained_on": described.trained_on})


def _require_plain(folder: Path) -> None:
    if not folder.is_dir():
        raise InvalidInput("no-such-folder", f"There is no folder {folder.name[:60]!r}.", "Check the path.", status=404)
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise PermanentError(
                "model-file-link",
                f"{path.name} is a link or a special file, not a file of the model.",
                "Copy the real files into the folder.",
            )
        if path.is_file():
            manifest.refuse_pickle(path)
    if missing := [name for name in NEEDED if not (folder / name).is_file()]:
        raise PermanentError("model-file-missing", f"The folder {folder.name} lacks {missing[0]}.", _NEXT)


def _languages(folder: Path) -> tuple[str, ...]:
    """Two-letter codes by the vocabulary, in its order; empty where it lists none: the engine's own list counts."""
    try:
        added = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    names = [str(token.get("content", "")) for token in added if isinstance(token, dict)]
    return tuple(name[2:-2] for name in names if len(name) in (6, 7) and name[:2] == "<|" and name[2:-2].isalpha())
