"""The shapes of the OpenAPI document: what the routes receive and answer.

Views build their answers from rows; tests check each real answer against its shape here. This module is loaded when
the document is requested, not when the web app starts.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

Json = dict[str, Any]


class Answered(BaseModel):
    """Every name that an answer has, and no other."""

    model_config = ConfigDict(extra="forbid")


class Sent(BaseModel):
    """What of a body is read; what else is in it is left alone."""

    model_config = ConfigDict(extra="allow")


class ErrorAnswer(Answered):
    """Every refusal and failure."""

    code: str = Field(description="What happened, in kebab case; it never changes.")
    message: str = Field(description="One plain sentence.")
    next_step: str = Field(description="What to do now.")
    request_id: str = Field(description="The id of this request, in the log too.")


class PageShape(Answered):
    """One page of a list."""

    next: int | None = Field(description="The `before` of the next page; null on the last one.")


# --- calls


class CallShape(Answered):
    """One call of the ledger; people are pseudonyms."""

    id: int
    call_sid: str
    source: str | None
    seen_by: list[str]
    status: str | None
    recording_url: str | None
    from_: str | None = Field(alias="from", description="Who called, a pseudonym.")
    to: str | None = Field(description="Who was called, a pseudonym.")
    direction: str | None
    talk_seconds: float | None
    started_at_utc: datetime | None
    ended_at_utc: datetime | None
    custom_field: str | None
    wants_download: bool
    wants_details_poll: bool
    company_number: str | None
    consent_purpose: str | None
    listed_at: datetime | None
    state: str
    reason_code: str | None
    reason: str | None
    next_action: str | None
    due_at: datetime | None
    tries: int
    warnings: list[str]
    created_at: datetime
    updated_at: datetime


class RecordingShape(Answered):
    """One audio."""

    id: int
    source: str
    source_identity: str
    state: str
    reason_code: str | None
    reason: str | None
    bucket: str | None
    object_key: str | None
    duration_s: float | None
    header_duration_s: float | None
    call_duration_s: float | None
    channels: int | None
    quality_score: float | None
    synthetic: bool | None


class TaskShape(Answered):
    """One task of Label Studio over a recording or a part of it."""

    id: int
    recording_id: int | None
    state: str
    reason_code: str | None
    reason: str | None
    selection_reason: str | None
    selection_probability: float | None
    usefulness: float | None
    usefulness_reason: str | None
    expected: dict[str, Any] | None = Field(
        description="Errors per word of the draft, minutes of work, gain per minute."
    )
    draft_choice: dict[str, Any] | None = Field(description="Whether the draft is shown, by which figures, and why.")
    overlap: int | None
    blind: bool
    start_s: float | None
    end_s: float | None
    ls_task_id: int | None
    project: str | None
    ls_project_id: int
    url: str | None = Field(description="Where people find it.")


class MessageShape(Answered):
    """One message of the provider about a call."""

    id: int
    source: str | None
    method: str | None
    copies: int
    state: str
    received_at: datetime


class OutcomeShape(Answered):
    """What was reported of a call."""

    id: int
    call: str
    known: bool = Field(description="Whether the call is in the ledger.")
    updated_at: datetime
    success: bool | None
    satisfaction: float | None = Field(description="From 0 to 1, whatever scale it was reported on.")
    automated: bool | None
    intent: str | None
    latencies_s: dict[str, float] = Field(description="Seconds by component.")
    latency_s: float | None = Field(description="Their sum.")
    tags: dict[str, str]
    reported_at: datetime | None = Field(description="The time of the latest report.")
    source: str | None = Field(description="Of the latest report: api, csv or satisfaction.")


class AnsweredByShape(Answered):
    """What models of one kind answered in a call."""

    id: int
    call: str
    known: bool
    updated_at: datetime
    kind: str = Field(description="asr, nlu or tts.")
    version: str | None = Field(description="The version that answered last.")
    experiment_id: int | None
    arm: str | None = Field(description="champion or challenger, where an experiment chose it.")
    requests: int
    failed: int
    latency_s: float | None = Field(description="Seconds to answer, on average.")
    shadow: dict[str, Any] | None = Field(
        description="A version that answered too, unseen: version, requests, latency_s, compared, differing."
    )


class CallDetail(CallShape):
    """A call and all that came of it."""

    recordings: list[RecordingShape]
    tasks: list[TaskShape]
    messages: list[MessageShape]
    outcome: OutcomeShape | None = Field(description="How it went, where that was reported.")
    answered_by: list[AnsweredByShape] = Field(description="The versions that answered it, one per kind.")
    explanation: list[str] = Field(description="Why it is, or is not, a task, in sentences.")


class AudioDetail(Answered):
    """A recording, task or object that belongs to no call."""

    name: str
    call_sid: None
    recordings: list[RecordingShape]
    tasks: list[TaskShape]
    explanation: list[str]


class CallPage(PageShape):
    calls: list[CallShape]


class CallsFound(Answered):
    """Several calls have that name."""

    calls: list[CallDetail | AudioDetail]


class CallAnswer(RootModel[CallDetail | AudioDetail | CallsFound]):
    """What is known of that name."""


class HappenedShape(Answered):
    """One thing that happened to a call."""

    at: datetime
    what: str
    about: str = Field(description="call, event, recording, job, transcription, task or annotation.")
    id: int | None


class NextShape(Answered):
    at: datetime | None
    action: str
    what: str


class SpokenShape(Answered):
    start_s: float | None
    end_s: float | None
    channel: int | None
    text: str | None
    confidence: float | None


class TranscriptShape(Answered):
    """What one version wrote of one recording."""

    id: int
    recording_id: int
    version: str
    at: datetime
    language: str | None
    language_probability: float | None
    confidence: float
    text: str
    segments: list[SpokenShape]


class ReferenceShape(Answered):
    """What a person wrote."""

    annotation: int
    annotator: int | None
    at: datetime
    language: str | None
    text: str
    recording_id: int
    ls_task_id: int | None


class WaveformShape(Answered):
    """How loud each channel of a recording is: a letter for each of 240 parts, 0 (-60 dBFS) to z (0 dBFS)."""

    recording_id: int
    duration_s: float | None
    channels: list[str]
    speech: list[list[float]] = Field(description="[start_s, end_s, channel] of the stretches with speech.")


class TimelineShape(Answered):
    """One call from its first message to now."""

    id: int
    call_sid: str
    state: str
    timeline: list[HappenedShape]
    next: NextShape | None
    transcripts: list[TranscriptShape]
    references: list[ReferenceShape]
    waveforms: list[WaveformShape]


class TimelinesFound(Answered):
    """Several calls have that name."""

    calls: list[TimelineShape]


class TimelineAnswer(RootModel[TimelineShape | TimelinesFound]):
    """The timeline of that call."""


class RecordingRow(Answered):
    """One recording in a list."""

    id: int
    created_at: datetime
    source: str
    call_sid: str | None
    file: str | None
    duration_s: float | None
    language: str | None
    project: str | None
    state: str
    reason_code: str | None


class RecordingPage(PageShape):
    recordings: list[RecordingRow]


class ListeningShape(Answered):
    """One play of a recording on the page."""

    id: int
    who: str = Field(description="The name of the token.")
    began_at: datetime
    last_at: datetime
    recording_id: int
    call_sid: str | None
    requests: int


class ListeningPage(PageShape):
    listenings: list[ListeningShape]


class BalanceShape(Answered):
    """One day: everything listed is stored or explained."""

    day: date
    reported: int
    listed: int
    stored: int
    explained: int
    unexplained: list[str]
    with_recording: int
    downloaded: int
    tasked: int
    waiting: int
    missing: int
    reasons: dict[str, int]
    balanced: bool


class CallSummary(Answered):
    states: dict[str, int]
    days: list[BalanceShape]
    warning: str | None


class ReportName(Answered):
    name: str
    summary: str


class ReportList(Answered):
    reports: list[ReportName]


class ReportAnswer(Answered):
    """Figures of one report; their names differ from report to report."""

    model_config = ConfigDict(extra="allow")


class SatisfactionAnswer(Answered):
    call_sid: str
    score: float


class OutcomeStored(Answered):
    """What became of one report."""

    call: str
    known: bool = Field(description="Whether the call is in the ledger; otherwise the report waits for it.")
    changed: list[str] = Field(description="Fields that have a new value now.")
    older: list[str] = Field(description="Fields of which a later report is known, which stays.")


class RefusedOutcome(Answered):
    code: str
    message: str
    next_step: str


class OutcomeRefused(Answered):
    """One report that was not stored."""

    call: str | None
    error: RefusedOutcome


class OutcomesStored(Answered):
    """What became of each report, in their order."""

    stored: int
    refused: int
    outcomes: list[OutcomeStored | OutcomeRefused]


# --- annotations


class AnnotationShape(Answered):
    """The newest state of one annotation."""

    id: int = Field(description="Its number in Label Studio.")
    row: int = Field(description="Its row here, which pages go by.")
    project: str | None
    ls_project_id: int
    ls_task_id: int | None
    url: str | None
    annotator: int | None
    created_at: datetime
    updated_at: datetime
    text: str | None
    choices: dict[str, list[str]] = Field(description="Every choice made, by its control; over a text, its intent.")
    language: str | None
    script: str | None
    quality: str | None
    accent: str | None
    emotion: str | None
    reject: list[Any]
    skipped: bool
    ground_truth: bool
    gold: bool
    blind: bool
    before_attach: bool
    lead_time_s: float | None
    edited: str | None
    measures: Json | None
    confidence: float | None
    model_version: str | None
    recording_id: int | None
    start_s: float | None
    end_s: float | None
    selection_reason: str | None


class DraftShape(Answered):
    text: str | None
    confidence: float | None
    language: str | None
    label: str | None


class AnnotationStateShape(Answered):
    row: int
    updated_at: datetime
    annotator: int | None
    lead_time_s: float | None
    edited: str | None
    deleted: bool


class AgreementShape(Answered):
    annotation: int
    annotator: int | None
    counts: Json


class SampleShape(Answered):
    number: int
    start_s: float
    end_s: float
    channel: int
    text: str
    state: str
    reason_code: str | None
    reason: str | None
    chosen_by: str | None


class AnnotationDetail(AnnotationShape):
    """One annotation and all it came from."""

    draft: DraftShape | None
    segments: Any
    found_by: str | None
    deleted_at: datetime | None
    versions: list[AnnotationStateShape]
    agreements: list[AgreementShape]
    samples: list[SampleShape]


class AnnotationPage(PageShape):
    annotations: list[AnnotationShape]


class AnnotationSummary(Answered):
    summary: Json | None
    made_at: datetime | None


# --- operators


class JobShape(Answered):
    """One background job."""

    id: int
    name: str
    queue: str
    arguments: Json
    priority: int
    state: str
    attempt: int
    due_at: datetime
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: Json | None
    error_code: str | None
    error: str | None
    next_step: str | None


class JobPage(PageShape):
    jobs: list[JobShape]


class ReasonShape(Answered):
    code: str
    message: str


class Readiness(Answered):
    ready: bool
    reasons: list[ReasonShape]


class ScansAnswer(Answered):
    scans: int = Field(description="How many folders will be looked through.")


class OpenApiDocument(RootModel[Json]):
    """This document."""


# --- Label Studio and Exotel


class Health(Answered):
    status: str
    model_class: str | None = Field(default=None, description="For Label Studio only.")
    v2: bool | None = None


class SetupAnswer(Answered):
    model_version: str = Field(description="The project's draft label.")


class PredictAnswer(Answered):
    results: list[Any] = Field(description="One prediction for each task; an empty list where there is none yet.")


class VersionsAnswer(Answered):
    versions: list[str]


class Received(BaseModel):
    """The event is stored; a job reads it. A plugin of your own that trains answers as it likes."""

    status: str | None = None
    message: str | None = None
    job: str | None = Field(default=None, description="The job of a training run that was asked for.")


Project = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}(\.[0-9]{1,12})?$")] | Annotated[int, Field(gt=0, lt=10**9)]


class SetupBody(Sent):
    project: Project
    schema_: str | None = Field(default=None, alias="schema", description="The labelling config, XML.")
    extra_params: Any = None


class PredictBody(Sent):
    tasks: list[Any]
    project: Project
    label_config: str | None = None
    params: Json | None = None


class VersionsBody(Sent):
    project: Project


class EventBody(Sent):
    action: str | None = None
    project: Any = None


class CallEventBody(Sent):
    """One event as Exotel sends it; its fields may also come as a form or in the query."""

    CallSid: str = Field(pattern="^[A-Za-z0-9._-]{1,64}$")


class OutcomesBody(Sent):
    """Reports on many calls: each has the call's id as `call`, and the fields of the report on one call."""

    outcomes: list[Any]


class ObjectEvents(Sent):
    Records: list[Any] | None = None
