"""What a dataset shall hold: minimum quality, languages, dates, consent, and how much public speech beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

from ml_backend.errors import InvalidInput

CONSENT = ("unless-refused", "stated")  # a purpose of `training`, or none stated; or only `training`
_MAX_CHARS = 200


@dataclass(frozen=True)
class DatasetFilters:
    """Several values are one text with commas, so that the filters fit a job's arguments as they are."""

    min_quality: float = 0.0  # of the recording's quality score
    languages: str = ""  # e.g. "hi,mr"; empty: all
    since: str = ""  # first day of calls, UTC, e.g. 2026-01-31
    until: str = ""  # last day of calls
    consent: str = CONSENT[0]
    projects: str = ""  # their numbers in Label Studio; empty: all
    public: str = ""  # layout:place[:language], e.g. "fleurs:/data/fleurs:hi", several with commas
    public_share: float = 0.0  # of the training rows

    def __post_init__(self) -> None:
        if wrong := [f"{name} must be {what}" for name, what in self._mistakes()]:
            raise InvalidInput("bad-filter", f"The filters cannot be used: {'; '.join(wrong)}.", "Correct them.")

    def _mistakes(self) -> Iterator[tuple[str, str]]:
        """(name, what it must be) of every filter that is wrong."""
        texts = set()
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, float):
                if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                    yield field.name, "a number from 0 to 1"
            elif not isinstance(value, str) or len(value) > _MAX_CHARS:
                yield field.name, f"text of up to {_MAX_CHARS} characters"
            else:
                texts.add(field.name)
        if "consent" in texts and self.consent not in CONSENT:
            yield "consent", f"one of {', '.join(CONSENT)}"
        numbers = _split(self.projects) if "projects" in texts else []
        if any(not (each.isascii() and each.isdigit() and len(each) <= 18) for each in numbers):
            yield "projects", "numbers of projects in Label Studio with commas between them"
        if bool(self.public) != bool(self.public_share) or self.public_share == 1:
            yield "public_share", "above 0 and below 1 where public speech is named, and 0 elsewhere"
        for name in ("since", "until"):
            if name in texts and (text := getattr(self, name)) and _day(text) is None:
                yield name, "a date like 2026-01-31"

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
        """What differs from the default: the row's `filters`, and a job's arguments."""
        default = DatasetFilters()
        return {name: value for name, value in asdict(self).items() if value != getattr(default, name)}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> DatasetFilters:
        """Refuses names it does not know: a misspelt filter would otherwise let everything through."""
        known = {field.name for field in fields(cls)}
        if unknown := [repr(name[:40]) for name in raw if name not in known]:
            raise InvalidInput(
                "bad-filter", f"There is no filter {', '.join(unknown)}.", f"Known: {', '.join(sorted(known))}."
            )
        return cls(**raw)


def _split(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _midnight(text: str) -> datetime | None:
    day = _day(text)
    return None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC)
