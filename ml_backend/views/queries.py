"""The filters of a list -> a frozen model, or one error that names every mistake.

A query string holds text, a command has parsed options; both become the same model, which is all that a view gets. An
unknown name is refused, because a misspelt filter would let everything through. A repeated filter that takes one value
is refused too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, TypeVar, get_origin

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
)

from ml_backend.errors import InvalidInput
from ml_backend.strict_models import Checked

MAX_LIMIT = 200
MOST_DAYS = 36_500
YEARS = range(2000, 9001)  # what every database and every time zone can hold


def whole_number(text: str, name: str) -> int:
    """A positive whole number as digits; InvalidInput `bad-number` for anything else."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) > 0):
        raise InvalidInput("bad-number", f"The {name} is not a positive whole number.", "Correct the address.")
    return int(text)


def day(text: str) -> date:
    """A date like 2026-01-31; InvalidInput `bad-date` for anything else, and for a year that cannot be stored."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = date.min
    if found.year not in YEARS:
        raise InvalidInput("bad-date", "The date is not one like 2026-01-31.", "Write year, month and day.")
    return found


class _Mistake(ValueError):
    """Our error as one of several that pydantic collects."""

    def __init__(self, error: InvalidInput) -> None:
        super().__init__(error.sentence)
        self.error = error


def _whole(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return whole_number(value, str(info.field_name))
    except InvalidInput as error:
        raise _Mistake(error) from None


def _capped(most: int) -> BeforeValidator:
    def cap(value: Any, info: ValidationInfo) -> Any:
        return min(_whole(value, info), most) if isinstance(value, str) else value

    return BeforeValidator(cap)


def _time(value: Any, info: ValidationInfo) -> Any:
    """A time with its zone, or a date, which begins at midnight UTC."""
    if not isinstance(value, str):
        return value
    try:
        found = datetime.fromisoformat(value.replace(" ", "+"))  # a plus that was not escaped
    except ValueError:
        found = None
    if found is None or found.year not in YEARS:
        sentence = f"The {info.field_name} is not a time like 2026-01-31T09:00:00Z."
        raise _Mistake(InvalidInput("bad-time", sentence, "Write it in ISO 8601."))
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _date(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return day(value)
    except InvalidInput as error:
        raise _Mistake(error) from None


@dataclass(frozen=True, eq=False)
class Fits:
    """A condition on a text with the error for all others; `schema` is the same in JSON Schema."""

    fits: Callable[[str], object]
    otherwise: InvalidInput
    schema: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return AfterValidator(self._check).__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), **self.schema}

    def _check(self, value: str) -> str:
        if not self.fits(value):
            raise _Mistake(self.otherwise)
        return value


def one_of(known: Collection[str], otherwise: InvalidInput) -> Fits:
    """One of a few texts."""
    return Fits(known.__contains__, otherwise, {"enum": list(known)})


Whole = Annotated[int, Field(gt=0), BeforeValidator(_whole)]
Time = Annotated[datetime, BeforeValidator(_time)]
Day = Annotated[date, BeforeValidator(_date)]
Days = Annotated[int, Field(gt=0), _capped(92)]


def _as_parameters(schema: dict[str, Any]) -> None:
    """Remove null from the schema: a query string has none."""
    for each in schema.get("properties", {}).values():
        if each.get("default", 0) is None:
            del each["default"]
        if found := [one for one in each.pop("anyOf", ()) if one.get("type") != "null"]:
            each.update({**found[0], **each})


class Query(Checked):
    """The filters of a list; raises InvalidInput that lists every mistake."""

    model_config = ConfigDict(json_schema_extra=_as_parameters)

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise _all_of(error, tuple(type(self).model_fields)) from None


class PagedQuery(Query):
    """A list that comes in pages, newest first."""

    limit: Annotated[
        int, Field(gt=0, description=f"At most so many; more than {MAX_LIMIT} gives {MAX_LIMIT}."), _capped(MAX_LIMIT)
    ] = 50
    before: Annotated[Whole | None, Field(description="Only what comes after this page: its `next`.")] = None


Model = TypeVar("Model", bound=Query)


def from_arguments(model: type[Model], arguments: Mapping[str, Sequence[str]]) -> Model:
    """The filters in a query string, name -> values. Only a filter that is a tuple may be given more than once."""
    given: dict[str, Any] = {}
    for name, values in arguments.items():
        field = model.model_fields.get(name)
        several = field is not None and get_origin(field.annotation) is tuple
        given[name] = tuple(values) if several or len(values) > 1 else values[0]
    return model(**given)


def _all_of(error: ValidationError, known: tuple[str, ...]) -> InvalidInput:
    """Every mistake in one error, under the code of the first."""
    found: dict[tuple[str, str], InvalidInput] = {}
    for each in error.errors():
        name = str(each["loc"][0]) if each["loc"] else ""
        wrong = _one(each, name, known)
        found.setdefault((name if wrong.code != "unknown-filter" else "", wrong.code), wrong)
    mistakes = list(found.values())
    sentences = " ".join(one.sentence for one in mistakes)
    steps = " ".join(dict.fromkeys(one.next_step for one in mistakes))
    return InvalidInput(mistakes[0].code, sentences, steps)


def _one(each: Any, name: str, known: tuple[str, ...]) -> InvalidInput:
    if isinstance(ours := each.get("ctx", {}).get("error"), _Mistake):
        return ours.error
    if each["type"] == "extra_forbidden":
        if not known:
            return InvalidInput("unknown-filter", "This address takes no filter.", "Leave the filters out.")
        return InvalidInput("unknown-filter", "There is a filter of another name.", f"Use {', '.join(known)}.")
    if isinstance(each["input"], tuple):
        return InvalidInput("repeated-filter", f"The {name} is given more than once.", "Give it once.")
    return InvalidInput("bad-filter", f"The {name} cannot be used.", "Correct it.")
