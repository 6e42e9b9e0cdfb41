"""The answers of /api/training, /api/datasets, /api/models, /api/experiments, /api/voices and /api/ratings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from ml_backend.api.answers import Answered, Json, PageShape


class DatasetShape(Answered):
    """One version of a dataset."""

    id: int
    name: str
    version: int
    state: str
    reason: str | None
    manifest_sha256: str
    test_sha256: str | None
    made_at: datetime
    rows: int | None
    hours: float | None
    splits: Json | None


class DatasetDetail(DatasetShape):
    filters: Json | None
    counts: Json | None
    renderings: Json
    manifest_key: str | None
    card_key: str | None
    parent: int | None


class DatasetPage(PageShape):
    datasets: list[DatasetShape]


class AliasShape(Answered):
    alias: str
    language: str
    revision: int


class VersionShape(Answered):
    """One model version."""

    id: int
    version: str
    kind: str
    languages: list[str]
    made_at: datetime
    run_id: int | None
    retrain_by: datetime | None
    rolled_back_at: datetime | None
    reason: str | None
    aliases: list[AliasShape]
    wer: float | None = Field(description="Word error rate in the reading that decides, latest evaluation.")
    verdict: str | None


class EvaluationShape(Answered):
    evaluation: int
    at: datetime
    dataset_id: int | None
    test_sha256: str | None
    against: str | None
    verdict: str | None
    wer: float | None
    words: list[str] | None
    report_key: str | None
    scores: Json


class MoveShape(Answered):
    """Who moved an alias, and why."""

    at: datetime
    alias: str
    language: str
    from_: str | None = Field(alias="from")
    to: str
    who: str
    why: str
    numbers: Any


class VersionDetail(VersionShape):
    location: str
    lineage: Json | None
    parity: Json | None
    files: Json
    evaluations: list[EvaluationShape]
    history: list[MoveShape]


class VersionPage(PageShape):
    models: list[VersionShape]


class LanguageProgress(Answered):
    accepted: int
    hours: float
    new: int
    blind: int


class RunShape(Answered):
    run: int
    state: str
    step: str | None
    project: int | None
    asked_by: str | None
    why: str | None
    samples: Any
    progress: Json | None
    at: datetime
    code: str | None
    reason: str | None


class TrainJobShape(Answered):
    job: int
    state: str
    since: datetime
    progress: Json | None


class TrainingStatus(Answered):
    """How far the next model is."""

    kind: str
    threshold: int
    new: int
    said: str
    accepted: int
    languages: dict[str, LanguageProgress]
    excluded: dict[str, int]
    synthetic: int
    why_none: str
    per_day: float
    expected_at: datetime | None
    looked_at: datetime | None
    weekly: str | None
    next_check_at: datetime
    running: list[RunShape]
    jobs: list[TrainJobShape]
    last_run: RunShape | None
    last_refusal: RunShape | None


class ExperimentShape(Answered):
    """One comparison of two model versions on real calls."""

    name: str
    kind: str = Field(description="ab or shadow.")
    model_kind: str = Field(description="asr, nlu or tts.")
    options: Json | None = Field(description="What decides (primary), the guards and their margins, where set.")
    language: str
    traffic_share: float
    champion: str
    challenger: str
    state: str
    reason: str | None
    outcome: Json | None = Field(
        description="Figures of the last look: primary, difference and its interval, measures (per side value, low, "
        "high and calls, or not_measured), guards (margin, alpha, harmed), shadowed, course (calls, difference, low "
        "and high after more and more calls)."
    )
    would_end: list[str] = Field(description="What would end it, as sentences; why it ended, where it has.")
    started_by: str | None
    started_at: datetime
    ends_at: datetime | None
    ended_at: datetime | None


class ExperimentList(Answered):
    experiments: list[ExperimentShape]


class RouteAnswer(Answered):
    """The version that answers a call."""

    kind: str
    call: str | None
    version: str
    location: str = Field(description="Where its files lie, as in the list of versions.")
    experiment_id: int | None
    arm: str | None = Field(description="champion or challenger, in an experiment.")
    shadow: str | None = Field(description="A version that is to answer too, unseen.")
    revision: str = Field(description="Changes with every promotion and experiment.")


class ClipShape(Answered):
    """One recording of a known text."""

    id: int
    state: str
    language: str | None
    voice: str | None
    emotion: str | None
    engine: str | None
    model_version: str | None
    role: str | None = Field(description="reference or degraded, for a hidden anchor.")
    text: str | None
    bucket: str
    key: str
    sha256: str | None
    duration_s: float | None
    rate_hz: int | None
    channels: int | None
    checks: Json | None
    reason_code: str | None
    reason: str | None


class ClipPage(PageShape):
    clips: list[ClipShape]


class CoverageCell(Answered):
    """What there is of one voice in one language and emotion."""

    voice: str
    language: str
    emotion: str
    clips: int
    seconds: float


class VoiceCoverage(Answered):
    """Which voices, languages and emotions there are, and which combinations are missing or few."""

    voices: list[str]
    languages: list[str]
    emotions: list[str]
    cells: list[CoverageCell]
    missing: list[CoverageCell]
    few: list[CoverageCell]


class AxisScore(Answered):
    """A mean opinion score; `low` and `high` bound it, and `low` decides."""

    mean: float
    low: float | None
    high: float | None
    raters: int
    sentences: int
    votes: int
    provisional: bool = Field(description="Fewer than six people have rated.")
    met: bool


Axes = dict[str, AxisScore | None]


class RatedVersion(Answered):
    """The scores of one version."""

    version: str
    axes: Axes = Field(description="naturalness, pronunciation and emotion; null where nobody rated.")
    met: bool = Field(description="Whether the lower bound of every axis reaches the target.")


class RatedGroup(RatedVersion):
    """The scores of one version, voice and language."""

    voice: str
    language: str


class RatingsSummary(Answered):
    """What people think of the voices."""

    target: float
    raters: int
    answers: int
    left_out: list[Json]
    unchecked_raters: list[int]
    bad: list[Json]
    bad_annotations: list[int]
    versions: list[RatedVersion]
    groups: list[RatedGroup]
    anchors: dict[str, Axes]


class RatingsAnswer(Answered):
    summary: RatingsSummary | None = Field(description="As `ratings summary --json` gives it; null before the first.")
    made_at: datetime | None


class ListedEvaluation(Answered):
    """One evaluation whose utterances can be looked at."""

    evaluation: int
    at: datetime
    version: str
    kind: str
    dataset: str | None
    test_sha256: str | None
    listed: bool = Field(description="False while its utterances are being listed; the figures are null then.")
    reading: str | None = Field(description="The reading that decides, of which the figures are.")
    readings: list[str]
    utterances: int | None
    counted: int | None = Field(description="Those that the scores count: the version had not learnt from them.")
    words: int | None
    word_edits: int | None
    wer: float | None
    cer: float | None
    wer_interval: list[float] | None = Field(default=None, description="Where wer lies with 95 % confidence.")
    sums: dict[str, list[int]] | None = Field(
        default=None,
        description="Per reading: words, wrong words, characters, wrong characters, replaced, left out, put in.",
    )
    slices: dict[str, dict[str, list[int]]] = Field(description="Per slice: utterances, and those counted.")


class EvaluationPage(PageShape):
    evaluations: list[ListedEvaluation]


class ComparableEvaluation(Answered):
    evaluation: int
    version: str
    at: datetime


class EvaluationDetail(ListedEvaluation):
    scores: Json
    comparable: list[ComparableEvaluation] = Field(description="Others of the same test set.")


class ErrorShape(Answered):
    """One error, with how often it was made."""

    kind: str = Field(description="substitution (confused), deletion (missed) or insertion (invented).")
    said: str | None
    written: str | None
    times: int
    utterances: int
    erased: bool = Field(description="Its words were erased; its count stays.")
    place: int = Field(description="In this list: the `before` of what comes after it.")


class ErrorPage(PageShape):
    evaluation: int
    reading: str
    sums: dict[str, int] = Field(description="Errors of each kind, which are those of the scores.")
    total: int = Field(description="Different errors that the filters let through.")
    errors: list[ErrorShape]


class SelectedRates(Answered):
    """Counts of the utterances that the filters let through; rates are weighted, as in the scores."""

    utterances: int
    counted: int
    words: int
    word_edits: int
    chars: int
    char_edits: int
    wer: float | None
    cer: float | None


class UtteranceTask(Answered):
    task: int
    ls_task_id: int
    state: str
    review_asked: Json | None = Field(description="It was sent to review again: at, by, why.")
    url: str


class ExploredUtterance(Answered):
    """One utterance, with its errors marked."""

    number: int
    place: int | None = Field(default=None, description="In a list: the `before` of what comes after it.")
    line: str = Field(description="The line of the dataset: the same in every evaluation of it.")
    reference: str
    hypothesis: str
    erased: bool
    steps: list[list[str]] = Field(
        description='["=", words], ["S", said, written], ["D", said], ["I", written], under the reading.'
    )
    words: int
    word_edits: int
    chars: int
    char_edits: int
    wer: float | None
    cer: float | None
    edits: list[int] | None
    duration_s: float | None
    language: str | None
    detected_language: str | None
    counted: bool
    slices: dict[str, str]
    audio_sha256: str | None
    start_s: float | None
    end_s: float | None
    channel: int | None
    recording: int | None
    call: str | None
    task: UtteranceTask | None
    outcome: str | None = Field(default=None, description="With `against`: better, worse or equal.")
    against: Json | None = Field(default=None, description="The same utterance of the other evaluation.")


class ComparedRates(Answered):
    evaluation: int
    version: str
    utterances: int = Field(description="Those that both count.")
    better: int
    worse: int
    equal: int
    word_edits: int = Field(description="Wrong words more than in the other evaluation.")


class UtterancePage(PageShape):
    evaluation: int
    version: str
    reading: str
    sort: str
    selected: SelectedRates
    against: ComparedRates | None = None
    utterances: list[ExploredUtterance]


class UtteranceDetail(ExploredUtterance):
    evaluation: int
    version: str
    readings: dict[str, Json]


class ReviewBody(Answered):
    reason: str = Field(description="Why it is to be looked at again.")


class ReviewAnswer(Answered):
    """The task that is open for one more person."""

    evaluation: int
    number: int
    task: int
    ls_task_id: int
    at: datetime
    by: str
    why: str
