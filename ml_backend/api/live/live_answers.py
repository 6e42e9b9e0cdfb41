"""The answers of `/v1`, for the OpenAPI document only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from ml_backend.api.answers import Answered


class OpenAiErrorShape(Answered):
    """What went wrong, in OpenAI's form."""

    message: str = Field(description="One plain sentence, and what to do now.")
    type: str = Field(description="invalid_request_error and the like: OpenAI's classes.")
    code: str = Field(description="What happened, in kebab case; it never changes.")
    param: str | None = Field(description="The field that is wrong, where one is.")
    next_step: str = Field(description="What to do now.")
    request_id: str = Field(description="The id of this request, in the log too.")


class OpenAiErrorAnswer(Answered):
    """Every refusal and failure of /v1."""

    error: OpenAiErrorShape


class ServedModel(Answered):
    """One name that a request may give as `model`."""

    id: str = Field(description="champion, another alias, or a version.")
    object: str = Field(description="Always model.")
    created: int = Field(description="Seconds since 1970.")
    owned_by: str
    kinds: list[str] = Field(description="The kinds of model of this name: asr, nlu, tts.")
    languages: list[str]


class ServedModels(Answered):
    """Every model that can be asked for."""

    object: str = Field(description="Always list.")
    data: list[ServedModel]


class PercentilesShape(Answered):
    """Seconds; linear within the buckets of `kaan_live_request_duration_seconds`."""

    p50_s: float
    p95_s: float
    p99_s: float
    count: int = Field(description="How many were measured.")


class RouteLatency(Answered):
    """One route and kind in the last hour; null where nothing was measured."""

    route: str = Field(description="transcriptions, speech, parse or realtime.")
    kind: str
    requests: int
    failed: int = Field(description="5xx, and 429 live-busy.")
    answer: PercentilesShape | None = Field(description="The time to answer.")
    queue_wait: PercentilesShape | None = Field(description="The time before the model began.")
    compute: PercentilesShape | None = Field(description="The time that the model took.")
    first_partial: PercentilesShape | None = Field(description="From the first speech of a turn to its first text.")


class UptimeShape(Answered):
    """Minutes of some days, without the current one."""

    minutes: int
    good_minutes: int = Field(description="A process of `serve` was there and at least 99 % of requests were answered.")
    share: float | None = Field(description="good_minutes / minutes; null before the first whole minute.")
    requests: int
    failed: int


class UptimeSpans(Answered):
    """Days are UTC and end with today."""

    since: datetime | None = Field(description="The first minute or day that is counted.")
    today: UptimeShape
    days_30: UptimeShape
    days_400: UptimeShape


class LiveSummary(Answered):
    """How live serving goes, of all processes."""

    processes: int = Field(description="Processes of `serve` that are there now.")
    last_hour: list[RouteLatency]
    source: str = Field(description="How the percentiles are made.")
    uptime: UptimeSpans


class ParsedEntity(Answered):
    """A part of the text; offsets are code points."""

    entity: str
    start: int
    end: int
    value: str
    confidence: float


class ParseAnswer(Answered):
    """What somebody wants, by the version that is named."""

    text: str
    intent: str
    confidence: float = Field(description="Calibrated, of the most likely intent.")
    entities: list[ParsedEntity]
    language: str | None = Field(description="As it was sent.")
    version: str
    truncated: bool = Field(description="Whether the text was longer than the version reads.")
    in_scope: float = Field(description="The probability of the most likely intent that is in scope.")
    ranking: list[Any] = Field(description="The most likely intents with their probabilities.")


class TranscriptionAnswer(Answered):
    """`json`, and with `verbose_json` the fields that OpenAI has beside; `channel` and `confidence` are ours."""

    text: str
    usage: dict[str, Any] = Field(description="type duration, and the seconds of audio.")
    task: str | None = Field(default=None, description="transcribe")
    language: str | None = Field(default=None, description="The language's English name in lower case.")
    duration: float | None = Field(default=None, description="Seconds.")
    words: list[Any] | None = Field(default=None, description="word, start and end in seconds.")
    segments: list[Any] | None = Field(default=None, description="Stretches of speech with their times and text.")
