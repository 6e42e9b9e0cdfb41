"""Location of a parser's version -> Parser: its folder is verified, its needs are read, then it is loaded.

A location is a folder, as the registry and `model_files` give it. The bundled parser is small and knows an imaginary
shop only: it makes everything run on a machine without a network.
"""

from __future__ import annotations

from pathlib import Path

from ml_backend import quantities
from ml_backend.errors import PermanentError
from ml_backend.models import kinds, manifest
from ml_backend.models.manifest import Manifest
from ml_backend.nlu.parsing import MODEL_FILE, TOKENIZER_FILE, Parser, ParserNeeds

BUNDLED_PARSER = kinds.BUNDLED[kinds.NLU]
_NEXT = "Train or export the version again; do not edit its files by hand."


def load(location: str | Path = BUNDLED_PARSER) -> Parser:
    """Raises PermanentError where the folder is not a parser, or differs from its manifest."""
    folder = Path(location)
    described = manifest.verify(folder)
    needs = needs_of(described)
    if missing := sorted({MODEL_FILE, TOKENIZER_FILE} - described.files.keys()):
        raise PermanentError("model-file-missing", f"The model folder {folder.name} lacks {missing[0]}.", _NEXT)
    try:
        return Parser.load(folder, described, needs)
    except Exception as error:  # ONNX Runtime and tokenizers raise types of their own
        raise PermanentError(
            "parser-unloadable",
            f"The parser {described.model_version} cannot be loaded ({quantities.shortened(str(error), 80)}).",
            _NEXT,
        ) from error


def needs_of(described: Manifest) -> ParserNeeds:
    """The needs that a parser's manifest states. Raises PermanentError where it is a model of another kind."""
    if described.kind != kinds.NLU:
        raise manifest.wrong_kind(described.model_version, described.kind, kinds.NLU)
    try:
        return ParserNeeds.from_json(dict(described.needs))
    except (KeyError, TypeError, ValueError) as error:
        raise PermanentError(
            "manifest-broken", f"The manifest of {described.model_version} lacks or mistypes {error}.", _NEXT
        ) from None
