"""Unexpected exception -> an error of ours, with the traceback in a file.

A full disk, a folder without permission and a missing package have sentences of their own. For the rest the sentence
names the type of the exception and the file. The exception's text may contain secrets, so it goes to the file, masked.
"""

from __future__ import annotations

import os
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

from ml_backend import log, packages, settings
from ml_backend.errors import InvalidInput, KaanError, PermanentError

FILE = "errors.log"
MOST_BYTES = 1_000_000  # then the older half goes


def explained(error: Exception) -> KaanError:
    """The error to show to the person who ran the command."""
    if isinstance(error, ModuleNotFoundError) and _is_foreign(error.name):
        return packages.not_installed("This command", str(error.name).partition(".")[0])
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ConnectionError | TimeoutError):
        where = f": {log.escaped(os.fsdecode(error.filename))}" if isinstance(error.filename, str | bytes) else ""
        return PermanentError(
            "file-trouble", f"{error.strerror}{where}.", "Check that the place exists, may be written to and has room."
        )
    if isinstance(error, UnicodeEncodeError):  # bytes of the command line that are not UTF-8 arrive as surrogates
        return InvalidInput(
            "bad-value", "An argument is not UTF-8 text: it has half of a character in it.", "Type it anew."
        )
    place = keep(error)
    step = f"The details are in {place}; please report them." if place else "Its details could not be written anywhere."
    return PermanentError("unexpected-error", f"Something unforeseen went wrong ({type(error).__name__}).", step)


def keep(error: BaseException) -> Path | None:
    """The traceback, without secrets and numbers, at the end of a file of ours; None where none can be written."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    entry = f"{at} {' '.join(log.masked(each) for each in sys.argv[1:3])}\n{log.masked(text)}\n"
    path = _folder() / FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_bytes() if path.exists() else b""
        if len(before) > MOST_BYTES:
            path.write_bytes(before[-MOST_BYTES // 2 :])
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as stream:
            stream.write(entry)
    except OSError:
        return None
    return path.absolute()


def _folder() -> Path:
    """DATA_DIR; its default where the settings are wrong."""
    try:
        return settings.load().data_dir
    except KaanError:
        return Path(settings.Settings.model_fields["data_dir"].get_default())


def _is_foreign(name: str | None) -> bool:
    return bool(name) and str(name).partition(".")[0] not in ("ml_backend", "sync", "training", "model", "_wsgi")
