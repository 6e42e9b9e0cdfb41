"""The filters of a dataset: minimum quality, languages, dates, consent, and the share of public speech."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo

from ml_backend import strict_models
from ml_backend.errors import InvalidInput
from ml_backend.views.queries import YEARS

Consent = Literal["unless-refused", "stated"]  # `training` or no purpose stated; only `training`
CONSENT: tuple[str, ...] = get_args(Consent)
_MAX_CHARS = 200


def _numbers(text: str) -> str:
    if any(not (each.isascii() and each.isdigit() and len(each) <= 18) for each in _split(text)):
        raise ValueError("no number")
    return text


def _day(text: str) -> str:
    _midnight(text)
    return text


_Text = Annotated[str, Field(max_length=_MAX_CHARS, description=f"text of up to {_MAX_CHARS} characters")]
_Day = Annotated[str, AfterValidator(_day), Field(description="a date like 2026-01-31")]
_Share = Annotated[float, Field(ge=0, le=1, description="a number from 0 to 1")]
_Projects = Annotated[
    str,
    AfterValidator(_numbers),
    Field(max_length=_MAX_CHARS, description="numbers of projects in Label Studio with commas between them"),
]


def _of_public(share: float, info: ValidationInfo) -> float:
    if "public" in info.data and (bool(info.data["public"]) != bool(share) or share == 1):
        raise ValueError("no share")
    return share


_PublicShare = Annotated[
    float,
    AfterValidator(_of_public),
    Field(
        ge=0,
        le=1,
        validate_default=True,
        description="above 0 and below 1 where public speech is named, and 0 elsewhere",
    ),
]


class DatasetFilters(strict_models.Checked):
    """Several values are one text with commas, so that the filters fit a job's arguments as they are."""

    min_quality: _Share = 0.0  # of the recording's quality score
    languages: _Text = ""  # e.g. "hi,mr"; empty: all
    since: _Day = ""  # first day of calls, UTC
    until: _Day = ""  # last day of calls
    consent: Annotated[Consent, Field(description=f"one of {', '.join(CONSENT)}")] = "unless-refused"
    projects: _Projects = ""  # their numbers in Label Studio; empty: all
    public: _Text = ""  # layout:place[:language], e.g. "fleurs:/data/fleurs:hi", several with commas
    public_share: _PublicShare = 0.0  # of the training rows

    def __init__(self, **given: Any) -> None:
        """Raises InvalidInput `bad-filter`. A misspelt name is one too: it would let everything through."""
        try:
            super().__init__(**given)
        except ValidationError as error:
            wrong = "; ".join(strict_models.mistakes(error, type(self).model_fields))
            raise InvalidInput("bad-filter", f"The filters cannot be used: {wrong}.", "Correct them.") from None

    @cached_property
    def language_set(self) -> frozenset[str]:
        return frozenset(_split(self.languages))

    @property
    def project_ids(self) -> list[int]:
        return sorted({int(each) for each in _split(self.projects)})

    @property
    def public_sources(self) -> list[str]:
        return _split(self.public)

    @cached_property
    def first_moment(self) -> datetime | None:
        return _midnight(self.since)

    @cached_property
    def end_moment(self) -> datetime | None:
        """The midnight after the last day."""
        last = _midnight(self.until)
        return None if last is None else last + timedelta(days=1)

    def to_json(self) -> dict[str, Any]:
        """Values other than the default: the row's `filters`, and a job's arguments."""
        return self.model_dump(exclude_defaults=True)


def _split(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _midnight(text: str) -> datetime | None:
    """The beginning of a day, None for empty text; ValueError for any other text."""
    if not text:
        return None
    day = date.fromisoformat(text)
    if day.year not in YEARS:
        raise ValueError("no day that can be stored")
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
