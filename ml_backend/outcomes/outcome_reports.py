"""What the phone system says of a call -> a checked report. Pure.

A report says only what is known: everything is optional, and null is the same as leaving a field out. Satisfaction has
two scales, and exactly one value, 1, lies on both: worst of 1-5 and best of 0-1. It is taken only where the report or
SATISFACTION_SCALE names the scale.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from ml_backend import strict_models, tables
from ml_backend.calls import phone_numbers
from ml_backend.errors import InvalidInput
from ml_backend.strict_models import Checked

MOST_ID = 200
MOST_PARTS = 20  # components with a latency, and tags
AHEAD = timedelta(hours=1)  # so far the clock of a phone system may be ahead of ours
SCALES: Mapping[str, tuple[float, float]] = {"1-5": (1.0, 5.0), "0-1": (0.0, 1.0)}
FIRST_YEAR = 2000
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, and half a character
STORABLE = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
Scale = Literal["1-5", "0-1"]


def _moment(value: Any) -> Any:
    """ISO 8601 with its zone: a local time without one could be hours off, and would beat or lose to others."""
    if not isinstance(value, str):
        return value
    try:
        found = datetime.fromisoformat(value.strip())
    except ValueError:
        return None if not value.strip() else value  # pydantic says what is wrong with it
    if found.tzinfo is None or found.year < FIRST_YEAR or found.astimezone(UTC) > tables.now() + AHEAD:
        return value
    return found.astimezone(UTC)


def _tags(value: Any) -> Any:
    """A list of words is the same as words without a value."""
    return dict.fromkeys(value, "") if isinstance(value, list) and all(isinstance(one, str) for one in value) else value


_Text = Annotated[str, Field(max_length=200, pattern=STORABLE), AfterValidator(phone_numbers.without_numbers)]
_Word = Annotated[
    str, Field(min_length=1, max_length=60, pattern=STORABLE), AfterValidator(phone_numbers.without_numbers)
]
_Component = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
_Seconds = Annotated[float, Field(ge=0, le=3600)]


class OutcomeReport(Checked):
    """How a call went, as far as it is known."""

    success: Annotated[bool | None, Field(description="true or false: the caller got what the call was for")] = None
    satisfaction: Annotated[
        float | None,
        Field(ge=0, le=5, description="a number from 1 to 5, or from 0 to 1; satisfaction_scale says which"),
    ] = None
    satisfaction_scale: Annotated[Scale | None, Field(description='"1-5" or "0-1"')] = None
    automated: Annotated[bool | None, Field(description="true or false: no person took over")] = None
    intent: Annotated[
        Annotated[str, Field(max_length=120, pattern=STORABLE), AfterValidator(phone_numbers.without_numbers)] | None,
        Field(description="a text of at most 120 characters"),
    ] = None
    latencies_s: Annotated[
        dict[_Component, _Seconds] | None,
        Field(
            max_length=MOST_PARTS,
            description=f'at most {MOST_PARTS} components with their seconds, e.g. {{"asr": 0.21, "tts": 0.08}}',
        ),
    ] = None
    tags: Annotated[
        dict[_Word, _Text] | None,
        BeforeValidator(_tags),
        Field(
            max_length=MOST_PARTS,
            description=f"at most {MOST_PARTS} short words, as a list or with a text each: names of 60, texts of 200",
        ),
    ] = None
    reported_at: Annotated[
        datetime | None,
        BeforeValidator(_moment),
        Field(description="a time with its zone that is not in the future, e.g. 2026-01-31T09:00:00+05:30"),
    ] = None


@dataclass(frozen=True)
class CheckedOutcome:
    """A report on one call: values by field; of latencies and tags, one field for each of them."""

    call_sid: str
    at: datetime
    values: Mapping[str, Any] = field(default_factory=dict)


def checked(call: Any, raw: Mapping[str, Any], *, scale: str = "", now: datetime | None = None) -> CheckedOutcome:
    """A report, or InvalidInput that lists every mistake. `scale`: of satisfaction, where the report names none."""
    call_sid = checked_call(call)
    given = {name: value for name, value in raw.items() if value is not None}
    try:
        report = OutcomeReport.model_validate(given)
    except ValidationError as error:
        wrong = strict_models.mistakes(error, OutcomeReport.model_fields)
        raise InvalidInput(
            "bad-outcome", f"The outcome is wrong: {'; '.join(wrong)}.", "Correct it and report it again."
        ) from None
    values: dict[str, Any] = {
        name: getattr(report, name) for name in ("success", "automated") if getattr(report, name) is not None
    }
    if report.intent is not None and report.intent.strip():
        values["intent"] = report.intent.strip()[:120]
    if report.satisfaction is not None:
        values["satisfaction"] = _from_0_to_1(report.satisfaction, report.satisfaction_scale or scale)
    values |= {f"latencies.{name}": seconds for name, seconds in (report.latencies_s or {}).items()}
    values |= {f"tags.{name}": text for name, text in (report.tags or {}).items()}
    if not values:
        raise InvalidInput(
            "empty-outcome", "The report says nothing about the call.",
            "Report at least one of success, satisfaction, automated, intent, latencies_s and tags.",
        )  # fmt: skip
    return CheckedOutcome(call_sid, report.reported_at or now or tables.now(), values)


def checked_call(call: Any) -> str:
    """The call's id, or InvalidInput. Any text of at most 200 characters without control characters."""
    if not isinstance(call, str) or not call.strip() or len(call) > MOST_ID or _UNFIT.search(call):
        raise InvalidInput(
            "bad-call-id",
            f"The call's id is not a text of 1 to {MOST_ID} characters without control characters.",
            "Send the id that the phone system gave the call, the same as in /v1 and in Exotel's messages.",
        )
    return call


def _from_0_to_1(value: float, scale: str) -> float:
    if not scale:
        if value == 1:
            raise InvalidInput(
                "satisfaction-scale",
                "A satisfaction of 1 is the worst from 1 to 5 and the best from 0 to 1: which is meant is not said.",
                'Send satisfaction_scale as "1-5" or "0-1", or set SATISFACTION_SCALE once for all reports.',
            )
        scale = "1-5" if value > 1 else "0-1"
    lowest, highest = SCALES[scale]
    if not lowest <= value <= highest:
        raise InvalidInput(
            "satisfaction-scale",
            f"A satisfaction of {value:g} does not lie on the scale {scale}.",
            "Send a value of this scale, or name the other in satisfaction_scale.",
        )
    return round((value - lowest) / (highest - lowest), 4)
