"""Every background job by name. The dotted paths in this table are the only references to code above this room.

A job function is `def name(context: JobContext, **arguments) -> None`. A pooled one is
`def name(context: JobContext, items: list[PooledItem]) -> None` and calls `item.done()` or `item.failed(error)`
for each member; members not settled when it returns count as failed retryable. Jobs are safe to repeat.
"""

from __future__ import annotations

from dataclasses import dataclass

WAITED_FOR, LIVE, BULK = 0, 50, 100  # priorities: a person waits; a call just ended; back-fill

QUEUES = ("sync", "transcribe", "training")  # one worker process serves exactly one queue


@dataclass(frozen=True)
class JobKind:
    """One kind of job. `pooled` jobs are run together, up to ASR_POOL_S seconds of audio; retries run alone."""

    name: str
    path: str
    queue: str
    time_limit_s: float
    max_attempts: int = 5
    priority: int = LIVE
    pooled: bool = False


READ_EVENT = JobKind("read-event", "sync.annotations.annotation_events.read_event", "sync", 120)
READ_CALL_EVENT = JobKind("read-call-event", "sync.exotel.callbacks.read_call_event", "sync", 120)
LOOK_UP_CALL = JobKind("look-up-call", "sync.exotel.lookups.look_up_call", "sync", 300, max_attempts=40)
FETCH_RECORDING = JobKind("fetch-recording", "sync.exotel.downloads.fetch_recording", "sync", 1200, max_attempts=40)
RECONCILE_CALLS = JobKind("reconcile-calls", "sync.exotel.listing.reconcile_calls", "sync", 3600)
SYNC_PROJECT = JobKind("sync-project", "sync.projects.project_sync.sync_project", "sync", 600)
FIND_TASKS = JobKind("find-tasks", "sync.projects.task_reconciliation.find_tasks", "sync", 3600)
COMPARE_ANNOTATIONS = JobKind(
    "compare-annotations", "sync.projects.annotation_comparison.compare_annotations", "sync", 3600, priority=BULK
)
READ_ANNOTATION = JobKind("read-annotation", "sync.annotations.annotation_events.read_annotation", "sync", 120)
INGEST_RECORDING = JobKind("ingest-recording", "sync.recordings.ingest.ingest_recording", "sync", 1800)
LEARN_CHANNELS = JobKind("learn-legs", "sync.exotel.callbacks.learn_channels", "sync", 600, priority=BULK)
STORE_SPOOLED = JobKind("store-spooled", "sync.recordings.originals.store_spooled", "sync", 3600)
VERIFY_OBJECTS = JobKind("verify-objects", "sync.recordings.verification.verify_objects", "sync", 3600, priority=BULK)
TRANSCRIBE_RECORDING = JobKind(
    "transcribe-recording", "sync.transcription.transcription.transcribe_recordings", "transcribe", 1800, pooled=True
)
COUNT_CALLS = JobKind("count-calls", "sync.recordings.call_counting.count_calls", "sync", 1800, priority=BULK)
ROLL_UP_UPTIME = JobKind("roll-up-uptime", "sync.live.uptime.roll_up_uptime", "sync", 600, priority=BULK)
COUNT_DAYS = JobKind("count-days", "ml_backend.reports.day_counts.count_days", "sync", 1800, priority=BULK)
KEEP_COUNTS = JobKind("keep-counts", "sync.live.kept_counts.keep_counts", "sync", 900, priority=BULK)
CHECK_WEEKLY = JobKind("check-weekly", "training.schedule.threshold.check_weekly", "sync", 300)
WATCH_EXPERIMENTS = JobKind(
    "watch-experiments", "training.experiments.experiment_watch.watch_experiments", "sync", 600, priority=BULK
)
SHADOW_RECORDING = JobKind(
    "shadow-recording", "sync.transcription.transcription.shadow_recording", "transcribe", 1800, priority=BULK
)
SELECT_RECORDING = JobKind("select-recording", "sync.tasks.selection.select_recording", "sync", 120)
TAKE_UP_WAITING = JobKind("take-up-waiting", "sync.tasks.selection.take_up_waiting", "sync", 600, priority=BULK)
EXPIRE_RECORDINGS = JobKind(
    "expire-recordings", "sync.privacy.retention.expire_recordings", "sync", 1800, priority=BULK
)
REDUCE_EVENTS = JobKind("reduce-events", "sync.privacy.raw_events.reduce_events", "sync", 1800, priority=BULK)
WITHDRAW_TASKS = JobKind("withdraw-tasks", "sync.tasks.withdrawal.withdraw_tasks", "sync", 300)
DRAFT_RECORDING = JobKind("draft-recording", "sync.drafts.drafts.draft_tasks", "sync", 300)
CREATE_TASKS = JobKind("create-tasks", "sync.tasks.task_creation.create_tasks", "sync", 600)
PUSH_PREDICTIONS = JobKind("push-predictions", "sync.tasks.prediction_push.push_predictions", "sync", 600)
CONFIRM_ANSWERS = JobKind("confirm-answers", "sync.tasks.prediction_push.confirm_answers", "sync", 300)
REDRAFT_PROJECT = JobKind("redraft-project", "sync.projects.redrafting.redraft_project", "sync", 1800)
SCAN_BUCKET = JobKind("scan-bucket", "sync.objects.scan.scan_bucket", "sync", 1800, priority=BULK)
FEED_RATINGS = JobKind("feed-ratings", "sync.tasks.ratings.feed_ratings", "sync", 600, priority=BULK)
FEED_UTTERANCES = JobKind("feed-utterances", "sync.tasks.utterance_tasks.feed_utterances", "sync", 900, priority=BULK)
COLLECT_UTTERANCES = JobKind(
    "collect-utterances", "training.utterances.call_utterances.collect_utterances", "sync", 3600, priority=BULK
)
COLLECT_VOICES = JobKind(
    "collect-voices", "training.voices.clip_collection.collect_voices", "sync", 1800, priority=BULK
)
CHECK_VOICES = JobKind(
    "check-voices", "training.voices.retranscription.check_voices", "transcribe", 1800, priority=BULK
)
SUMMARISE_RATINGS = JobKind(
    "summarise-ratings", "training.voices.rating_rows.summarise_ratings", "sync", 1800, priority=BULK
)
EXPIRE_PROMPTS = JobKind("expire-prompts", "training.voices.prompt_switch.expire_prompts", "sync", 1800, priority=BULK)
SAMPLE_TASK = JobKind("sample-task", "training.samples.sampling.sample_task", "sync", 300, priority=BULK)
SAMPLE_PROJECT = JobKind("sample-project", "training.samples.sampling.sample_project", "sync", 900, priority=BULK)
CLOSE_INSTRUCTIONS = JobKind(
    "close-instructions", "sync.label_studio.streams.close_instructions", "sync", 120, priority=BULK
)
DRAFT_AGAIN = JobKind("draft-again", "sync.annotations.redraft_requests.draft_again", "sync", 300, priority=WAITED_FOR)
REVIEW_AGAIN = JobKind("review-again", "sync.annotations.gold_overlap.review_again", "sync", 120)
LIST_EVALUATIONS = JobKind(
    "list-evaluations", "training.evaluation.explorer_rows.list_evaluations", "sync", 3600, priority=BULK
)
KEEP_PEOPLE = JobKind("keep-people", "sync.label_studio.label_studio_people.keep_people", "sync", 120, priority=BULK)
SHARE_TASK = JobKind("share-task", "sync.annotations.gold_overlap.share_task", "sync", 120)
SUMMARISE_ANNOTATIONS = JobKind(
    "summarise-annotations", "training.quality.summary.summarise_annotations", "sync", 1800, priority=BULK
)
LEARN_USEFULNESS = JobKind(
    "learn-usefulness", "training.usefulness.team_learning.learn_usefulness", "sync", 1800, priority=BULK
)
TRAIN = JobKind(
    "train", "training.schedule.training_request.train_requested", "training", 24 * 3600, max_attempts=3, priority=BULK
)
RUN_TRAINING = JobKind(
    "run-training", "training.runs.execution.run_training", "training", 24 * 3600, max_attempts=5, priority=BULK
)
PROMOTE_VERSION = JobKind(
    "promote-version", "training.promotion.promotion.promote_version", "training", 12 * 3600, priority=BULK
)
ROLL_BACK = JobKind("roll-back", "training.promotion.promotion.roll_back", "sync", 300, priority=WAITED_FOR)
END_EXPERIMENT = JobKind(
    "end-experiment", "training.experiments.experiment_watch.end_experiment", "sync", 300, priority=WAITED_FOR
)
COMPARE_VERSIONS = JobKind(
    "compare-versions", "training.promotion.promotion.compare_versions", "training", 12 * 3600, max_attempts=3
)
MEASURE_STORAGE = JobKind(
    "measure-storage", "sync.objects.storage_measuring.measure_storage", "sync", 3600, priority=BULK
)
EXPORT_DATASET = JobKind(
    "export-dataset", "training.datasets.dataset.export_dataset", "training", 12 * 3600, max_attempts=3
)
RENEW_DATASETS = JobKind(
    "renew-datasets", "training.erasure.dataset_renewal.renew_datasets", "training", 12 * 3600, max_attempts=10
)
COLLECT_HOTWORDS = JobKind(
    "collect-hotwords", "training.hotwords.hotword_jobs.collect_hotwords", "sync", 600, priority=BULK
)
CHECK_HOTWORD = JobKind("check-hotword", "training.hotwords.hotword_jobs.check_hotword", "transcribe", 1800)
CHECK_TRAINING = JobKind("check-training", "training.schedule.threshold.check_training", "sync", 120, priority=BULK)

# Every kind above by its name, listed nowhere else.
KINDS: dict[str, JobKind] = {kind.name: kind for kind in tuple(globals().values()) if isinstance(kind, JobKind)}
