"""A project's `routing` and `selection` as typed -> Routing, Selection.

Both are JSON in the project's row. `project rules` validates them and lists every mistake at once. They are read back
through the same models: an invalid routing rule takes nothing, and an invalid value of `selection` counts as not set.

`routing` is null (takes every call that is not our own synthetic voice) or an object whose conditions must all hold:

    {"source": ["exotel"], "direction": ["inbound"], "language": ["hi"], "company_number": ["<pseudonym>"],
     "prefix": ["call-recordings/recordings/"], "synthetic": true}

`synthetic: true` makes a project that takes only synthetic voice, such as the one that rates it; no other takes any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from ml_backend import strict_models
from ml_backend.calls import pseudonyms
from ml_backend.errors import InvalidInput
from ml_backend.labelling.parameters import language_code
from ml_backend.strict_models import Checked

SOURCES = ("exotel", "object", "upload", "web", "bundled")
MAX_VALUES, MAX_CHARS = 100, 500


def _values(value: Any) -> Any:
    """Accept a single text as a list of one; make lists tuples."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _texts(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values or len(values) > MAX_VALUES:
        raise ValueError("empty or too long")
    if any(not value.strip() or len(value) > MAX_CHARS or "\x00" in value for value in values):
        raise ValueError("an empty value, or one that is too long")
    return values


def _sources(values: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := set(values) - set(SOURCES):
        raise ValueError(f"unknown: {sorted(unknown)[0][:40]}")
    return values


def _languages(values: tuple[str, ...]) -> tuple[str, ...]:
    """Language codes: `Hindi` and `हिन्दी` become hi. A rule with an unknown name would take nothing."""
    return tuple(language_code(value) for value in values)


def _numbers(values: tuple[str, ...]) -> tuple[str, ...]:
    """Accept only pseudonyms: a phone number must not be stored, and would match nothing."""
    if any(not pseudonyms.SHAPE.fullmatch(value) for value in values):
        raise ValueError("no pseudonym")
    return values


_Texts = Annotated[tuple[str, ...] | None, BeforeValidator(_values)]


def _each(check: Any) -> AfterValidator:
    return AfterValidator(lambda values: None if values is None else check(_texts(values)))


class Routing(Checked):
    """Which recordings a project takes."""

    source: Annotated[_Texts, _each(_sources), Field(description=f"one or more of {', '.join(SOURCES)}")] = None
    direction: Annotated[_Texts, _each(tuple), Field(description='one or more directions such as "inbound"')] = None
    language: Annotated[_Texts, _each(_languages), Field(description='one or more language codes such as "hi"')] = None
    company_number: Annotated[
        _Texts, _each(_numbers), Field(description="one or more pseudonyms, as `calls numbers list` shows them")
    ] = None
    prefix: Annotated[
        _Texts, _each(tuple), Field(description='one or more "bucket/start of the key" of the originals')
    ] = None
    synthetic: Annotated[bool, Field(description="true or false")] = False


_Share = Annotated[float | None, Field(ge=0, le=1, description="a number from 0 to 1")]


def _people(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(values) > MAX_VALUES or any(value <= 0 for value in values):
        raise ValueError("no id")
    return values


class Selection(Checked):
    """Which of a project's recordings become tasks; None: the setting applies."""

    review: Annotated[Literal["all", "some"] | None, Field(description='"all" or "some"')] = None
    min_quality: _Share = None
    max_confidence: _Share = None
    audit_share: _Share = None
    blind_share: _Share = None
    overlap_share: _Share = None
    max_open: Annotated[int | None, Field(ge=1, le=10**9, description="a whole number from 1")] = None
    reviewers: Annotated[
        tuple[int, ...],
        BeforeValidator(_values),
        AfterValidator(_people),
        Field(description="a list of people's ids in Label Studio"),
    ] = ()


MODELS: Mapping[str, type[Checked]] = {"routing": Routing, "selection": Selection}


def typed(name: str, text: str) -> dict[str, Any] | None:
    """Parse a typed `selection` or `routing`; None for an empty object. Raises InvalidInput `bad-rule`."""
    try:
        value = strict_models.parse(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InvalidInput("bad-rule", f"--{name} is not a JSON object.", """Write it like '{"review": "all"}'.""")
    if wrong := problems(name, value):
        raise InvalidInput("bad-rule", f"--{name}: {'; '.join(wrong)}.", "Correct it, and give the whole rule again.")
    kept = MODELS[name].model_validate(value).model_dump(mode="json", exclude_unset=True)
    return kept or None


def problems(name: str, value: Any) -> list[str]:
    """Everything that is wrong with a rule, as short phrases."""
    model = MODELS[name]
    if value is None:
        return []
    if not isinstance(value, Mapping):
        return [f"{name} must be an object"]
    try:
        model.model_validate(dict(value))
    except ValidationError as error:
        return strict_models.mistakes(error, model.model_fields)
    return []


def routing(stored: Any) -> Routing | None:
    """The rule of a row; None if it is invalid: then it takes nothing."""
    if stored is None:
        return Routing()
    if not isinstance(stored, Mapping):
        return None
    try:
        return Routing.model_validate(dict(stored))
    except ValidationError:
        return None


def selection(stored: Any) -> Selection:
    """The selection of a row without its invalid values."""
    return strict_models.readable(Selection, stored)
