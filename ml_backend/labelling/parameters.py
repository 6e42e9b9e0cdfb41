"""`extra_params` of a project -> Parameters: the options that a person may set per project in Label Studio.

Label Studio stores any JSON there, so it is validated on arrival (/setup answers 400 with all mistakes). It is read
leniently later, because a project written by an older release must still work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError

from ml_backend import strict_models
from ml_backend.errors import InvalidInput
from ml_backend.languages import SCRIPT_NAMES, code_of
from ml_backend.strict_models import Checked

ANY_SCRIPT = "any"
MAX_TEXT_CHARS = 2000
MAX_HOTWORDS, MAX_LANGUAGES = 200, 100
_DETECT = ("", "auto")
_CODE = re.compile(r"[a-z]{2,3}(-[a-z]{2,8})?")
_KNOWN_SCRIPTS = {ANY_SCRIPT, *(word for words in SCRIPT_NAMES.values() for word in words)}


def _clean(value: str) -> str:
    if "\x00" in value:
        raise ValueError("NUL")
    return value


def language_code(value: str) -> str:
    """`hi` for `hi`, `Hindi` or हिन्दी; ValueError for any other text."""
    code = code_of(value)
    if not _CODE.fullmatch(code):
        raise ValueError("no language")
    return code


def _language(value: str | None) -> str | None:
    return None if value is None or value in _DETECT else language_code(value)


def _words(value: Any) -> Any:
    """Accept a list, or words separated by commas."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return () if value is None else tuple(value) if isinstance(value, list) else value


def _scripts(policy: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Refuse a script that we do not know: a misspelt one would accept every script."""
    for script in (policy or {}).values():
        if script.casefold() not in _KNOWN_SCRIPTS:
            raise ValueError("no script")
    return policy


_Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS), AfterValidator(_clean)]
_Word = Annotated[str, Field(max_length=100), AfterValidator(_clean)]
_Short = Annotated[str, Field(max_length=20), AfterValidator(_clean)]


class Parameters(Checked):
    """Decoding and rendering options of one project; None: the setting's default. Unknown names are ignored."""

    model_config = ConfigDict(extra="ignore")

    language: Annotated[_Short | None, AfterValidator(_language), Field(description="a language code such as hi")] = (
        None
    )
    languages: Annotated[
        tuple[Annotated[_Short, AfterValidator(language_code)], ...],
        Field(max_length=MAX_LANGUAGES, description='a list of language codes such as ["hi", "mr", "en"]'),
        BeforeValidator(_words),
    ] = ()
    prompt: Annotated[_Text | None, Field(description=f"text of at most {MAX_TEXT_CHARS} characters")] = None
    hotwords: Annotated[
        tuple[_Word, ...],
        Field(max_length=MAX_HOTWORDS, description=f"a list of at most {MAX_HOTWORDS} words"),
        BeforeValidator(_words),
    ] = ()
    script_policy: Annotated[
        dict[str, _Short] | None,
        AfterValidator(_scripts),
        Field(description=f"an object that gives each language one of {', '.join((*SCRIPT_NAMES, ANY_SCRIPT))}"),
    ] = None
    beam_size: Annotated[int | None, Field(ge=1, le=20, description="1 to 20")] = None
    minimum_confidence: Annotated[
        float,
        BeforeValidator(lambda value: 0.0 if value is None else value),
        Field(ge=0, le=1, description="a number from 0 to 1"),
    ] = 0.0


def read(extra_params: Any) -> Parameters:
    """Parameters of a stored value; an invalid field counts as not set."""
    return strict_models.readable(Parameters, extra_params)


def accept(extra_params: Any) -> dict[str, Any] | None:
    """The object to store, None if nothing is set; InvalidInput `bad-extra-params` with every mistake."""
    if extra_params is None or extra_params == "":
        return None
    if isinstance(extra_params, str):
        try:
            extra_params = strict_models.parse(extra_params)
        except ValueError:
            raise _refused(["it is not JSON"]) from None
    if not isinstance(extra_params, dict):
        raise _refused(["it is not an object"])
    mistakes: list[str] = []
    try:
        Parameters.model_validate(extra_params)
    except ValidationError as error:
        mistakes = strict_models.mistakes(error, Parameters.model_fields)
    try:
        text = json.dumps(extra_params, allow_nan=False)
    except (ValueError, RecursionError):
        raise _refused(["it holds NaN or is nested too deeply"]) from None
    if len(text) > 20 * MAX_TEXT_CHARS:
        mistakes.append(f"it is longer than {20 * MAX_TEXT_CHARS} characters")
    if mistakes:
        raise _refused(mistakes)
    return extra_params


def _refused(mistakes: list[str]) -> InvalidInput:
    return InvalidInput(
        "bad-extra-params",
        "The project's extra parameters cannot be used: " + "; ".join(mistakes) + ".",
        "Correct them in the ML backend's settings in Label Studio.",
    )
