"""The data model: one table per noun of the ten steps (design §4).

Rows are the record of everything; queues and caches can be emptied. Times are UTC (`UtcTime`), durations are
seconds, states are short words listed beside each table.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Index, MetaData, String, Table, Text, UniqueConstraint, text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


@sa.event.listens_for(metadata, "before_create")
def _same_conditions(target: MetaData, connection: sa.Connection, **options: Any) -> None:
    """Give PostgreSQL the condition of each partial index. `postgresql_where` on the index itself would load that
    dialect in every process. Migrations write both conditions."""
    if connection.dialect.name == "postgresql":
        for index in (index for table in target.tables.values() for index in table.indexes):
            index.dialect_options["postgresql"]["where"] = index.dialect_options["sqlite"]["where"]


Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def now() -> datetime:
    """The present, aware, UTC."""
    return datetime.now(UTC)


class UtcTime(sa.TypeDecorator[datetime]):
    """An aware UTC datetime in and out, on databases with and without zones. Naive input is refused."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


def _created() -> Column[datetime]:
    return Column("created_at", UtcTime, nullable=False, default=now)


def _reason() -> tuple[Column[Any], Column[Any]]:
    return Column("reason_code", String(80)), Column("reason", Text)


# Step 1. One raw webhook request, committed before anything reads it. state: new, read, ignored, unreadable, erased.
# Phone numbers are stored only in Exotel's bodies and queries, and in `said` until a job has read it. All other tables
# hold pseudonyms.
events = Table(
    "events",
    metadata,
    _id(),
    _created(),
    Column("source", String(20), nullable=False),  # exotel, label-studio
    Column("action", String(60)),
    Column("method", String(10), nullable=False),
    Column("content_type", String(200)),
    Column("query", Text),
    Column("body", sa.LargeBinary, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("once_key", String(80), unique=True),  # equal for a repeated callback: one row, and `copies` counts
    Column("copies", sa.Integer, nullable=False, default=1),
    Column("call_sid", String(200)),
    Column("said", sa.JSON),  # the body as a call event, parsed by the request; removed once the job has read it
    Column("state", String(20), nullable=False, default="new"),
    *_reason(),
    Index(None, "source", "state"),
    Index(None, "call_sid"),
)

# Step 1. One call the provider reported: the ledger. States, moves and reasons: ml_backend/calls/ledger.py. A call has
# a final state with a reason, or a next action with a due time.
calls = Table(
    "calls",
    metadata,
    _id(),
    _created(),
    Column("updated_at", UtcTime, nullable=False, default=now),
    Column("provider", String(20), nullable=False),
    Column("call_sid", String(200), nullable=False),
    Column("source", String(40)),
    Column("status", String(40)),
    Column("recording_url", Text),
    Column("from_pseudonym", String(80)),
    Column("to_pseudonym", String(80)),  # keyed hash + last two digits
    Column("direction", String(20)),
    Column("talk_seconds", sa.Float),
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("custom_field", Text),
    Column("company_number", String(80)),
    Column("consent_purpose", String(60)),
    Column("merged", sa.JSON, nullable=False, default=dict),  # per field, the rank of its source: order-free
    Column("seen_by", sa.JSON, nullable=False, default=list),  # sources that reported it, e.g. passthru, listing
    Column("listed_at", UtcTime),  # first seen in the provider's listing
    Column("state", String(30), nullable=False, default="expected"),
    *_reason(),
    Column("next_action", String(60)),
    Column("due_at", UtcTime),
    Column("tries", sa.Integer, nullable=False, default=0),  # of the next action
    UniqueConstraint("provider", "call_sid"),
    Index(None, "call_sid"),
    Index(None, "state", "due_at"),
    Index(None, "state", "id"),
    Index(None, "reason_code", "id"),
    Index(None, "started_at", "created_at"),
    Index(None, "from_pseudonym"),
    Index(None, "to_pseudonym"),
)

# One of the company's own numbers, by pseudonym: what was detected or set for all calls through it.
company_numbers = Table(
    "company_numbers",
    metadata,
    _id(),
    _created(),
    Column("updated_at", UtcTime, nullable=False, default=now),
    Column("pseudonym", String(80), nullable=False, unique=True),
    Column("name", String(120)),
    Column("agent_channel", sa.Integer),
    Column("language", String(10)),  # of the calls through it, where set
    Column("consent_purpose", String(60)),
    Column("keeps_live_audio", sa.Boolean),  # null and false: what live requests send is not kept
)

# Step 1-2. One audio recording, unique by its source.
# state: found, spooled (fetched, not yet in the store), stored, ready, superseded (what a live request sent, while its
# call's whole recording is used), refused (with reason), lost, erased, expired.
recordings = Table(
    "recordings",
    metadata,
    _id(),
    _created(),
    Column("updated_at", UtcTime, nullable=False, default=now),
    Column("source", String(20), nullable=False),  # exotel, object, upload, live, bundled
    Column("source_identity", String(1000), nullable=False),  # e.g. s3://bucket/key, <Label Studio>/data/upload/..
    Column("call_id", Id, ForeignKey("calls.id")),
    Column("call_sid", String(200)),
    Column("synthetic", sa.Boolean, nullable=False, default=False),
    Column("bucket", String(100)),
    Column("object_key", String(1000)),  # of the original; never changes
    Column("sha256", String(64)),
    Column("size_bytes", sa.BigInteger),
    Column("container", String(40)),
    Column("derived_key", String(1000)),  # normalised WAV in AUDIO_BUCKET
    Column("derived_sha256", String(64)),  # no longer written; cleared with the audio
    Column("duration_s", sa.Float),
    Column("header_duration_s", sa.Float),
    Column("call_duration_s", sa.Float),
    Column("rate_hz", sa.Integer),
    Column("channels", sa.Integer),
    Column("agent_channel", sa.Integer),
    Column("quality", sa.JSON),
    Column("quality_score", sa.Float),
    Column("spans", sa.JSON),  # [[start_s, end_s, key of the piece], ...] of a call cut at pauses; null when whole
    Column("language", String(10)),
    Column("language_by", String(10)),  # confirmed, given, detected; null: unknown (sync/recordings/recording_language)
    Column("language_asked", String(10)),  # an annotator asked for a new draft in this language
    Column("project_id", Id, ForeignKey("projects.id")),  # the project that takes it
    Column("route", sa.JSON),  # which model version transcribes it: decided once (sync/drafts/recording_route)
    Column("speech", sa.JSON),  # [[start_s, end_s, channel], ...]: spans louder than the pauses
    Column("known_text", Text),  # of a pair .wav + .txt
    Column("etag", String(120)),
    Column("object_seen_at", UtcTime),  # time of the last scan that found the object
    Column("priority", sa.Integer, nullable=False, default=50),  # live before back-fill, as in jobs
    Column("state", String(30), nullable=False, default="found"),
    *_reason(),
    UniqueConstraint("source", "source_identity"),
    Index(None, "sha256"),
    Index(None, "state"),
    Index(None, "call_id"),
    Index(None, "bucket", "object_key"),
    Index(None, "created_at"),
    Index(None, "language", "call_id"),
    Index(None, "project_id", "call_id"),
    Index("ix_recordings_voices", "updated_at", "id", sqlite_where=text("synthetic")),
)

# How loud each channel of a recording is over its length: one letter for each part (ml_backend/audio/envelope.py).
waveforms = Table(
    "waveforms",
    metadata,
    Column("recording_id", Id, ForeignKey("recordings.id"), primary_key=True, autoincrement=False),
    Column("channels", sa.JSON, nullable=False),  # one text for each channel
)

# Who listened to which recording on the page, one row for each play. Kept for LISTENING_LOG_DAYS.
listenings = Table(
    "listenings",
    metadata,
    _id(),
    _created(),
    Column("updated_at", UtcTime, nullable=False, default=now),  # of its last request
    Column("who", String(120), nullable=False),  # the token's name
    Column("recording_id", Id, nullable=False),
    Column("call_id", Id),
    Column("requests", sa.Integer, nullable=False, default=1),
    Index(None, "recording_id", "who"),
    Index(None, "created_at"),
)

# Objects that scans found in the object store, one row each, in listing order (by bytes).
# state: taken (it has a recording), text (its audio is not there yet), paired, waiting (for its call's audio),
# same-call (its call has other audio already), ignored (not audio by its name), refused (with reason), lost.
objects = Table(
    "objects",
    metadata,
    Column("bucket", String(100), primary_key=True),
    Column("object_key", String(1024).with_variant(String(1024, collation="C"), "postgresql"), primary_key=True),
    Column("name", String(200)),  # the file's name without its suffix, which may be a call's id
    Column("etag", String(120), nullable=False),
    Column("size_bytes", sa.BigInteger, nullable=False),
    Column("modified_at", UtcTime),
    Column("seen_at", UtcTime, nullable=False, default=now),
    Column("recording_id", Id, ForeignKey("recordings.id")),
    Column("state", String(20), nullable=False),
    *_reason(),
    Index(None, "name"),
    Index(None, "recording_id"),
    Index(None, "state"),
    sqlite_with_rowid=False,
)

# One Label Studio project. state: seen (by /setup only), attached, missing (gone from Label Studio), detached.
projects = Table(
    "projects",
    metadata,
    _id(),
    _created(),
    Column("updated_at", UtcTime, nullable=False, default=now),
    Column("instance_url", String(500), nullable=False),
    Column("ls_project_id", Id, nullable=False),
    Column("title", String(500)),
    Column("state", String(20), nullable=False, default="seen"),
    Column("label_config", Text, nullable=False, default=""),
    Column("config_sha256", String(64)),
    Column("extra_params", sa.JSON, nullable=False, default=dict),  # language, prompt, hotwords, minimum_confidence
    Column("script_policy", sa.JSON),  # {"hi": "Deva", ...}
    Column("routing", sa.JSON),
    Column("selection", sa.JSON),
    Column("learnt", sa.JSON),  # approved hotwords, in the form decoding uses: {"words": [...], "corrections": [...]}
    Column("draft_label", String(60), nullable=False, default="draft-1"),  # the version that Label Studio sees
    Column("next_draft_label", String(60)),  # set while open tasks are being re-drafted
    Column("redraft", sa.JSON),  # settings drafts were last compared with; progress of the next label
    Column("revision", sa.Integer, nullable=False, default=0),  # raised with every change that /predict must see
    Column("ml_backend_id", Id),
    Column("webhook_id", Id),  # no longer written, like storage_id: the ids are in attached_changes
    Column("storage_id", Id),
    Column("attached_changes", sa.JSON),  # what attach changed, in order, with the old values, for detach
    Column("checked_at", UtcTime),
    *_reason(),
    UniqueConstraint("instance_url", "ls_project_id"),
)

# Step 3. The text of one model version under one decoding profile. Immutable; found by its key.
transcriptions = Table(
    "transcriptions",
    metadata,
    _id(),
    _created(),
    Column("recording_id", Id, ForeignKey("recordings.id"), nullable=False),
    Column("audio_sha256", String(64), nullable=False),
    Column("model_version", String(120), nullable=False),
    Column("decoding_hash", String(64), nullable=False),
    Column("decoding", sa.JSON, nullable=False),
    Column("language", String(10)),
    Column("language_probability", sa.Float),
    Column("text", Text, nullable=False),
    Column("transcript", sa.JSON, nullable=False),
    Column("confidence", sa.Float, nullable=False),
    Column("duration_s", sa.Float, nullable=False),
    UniqueConstraint("audio_sha256", "model_version", "decoding_hash"),
    Index(None, "recording_id"),
)

# Step 4. One Label Studio task over a span of a recording.
# state: waiting (project is full), wanted (not yet in Label Studio), open, annotated, deleted, refused (with reason).
tasks = Table(
    "tasks",
    metadata,
    _id(),
    _created(),
    Column("updated_at", UtcTime, nullable=False, default=now),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("recording_id", Id, ForeignKey("recordings.id")),
    Column("beside_id", Id),  # the other recording, where people choose between two
    Column("start_s", sa.Float, nullable=False, default=0.0),
    Column("end_s", sa.Float),
    Column("ls_task_id", Id),
    Column("external_key", String(80), nullable=False),  # also in the task's data
    Column("data_value", String(1000)),  # what Label Studio stores under the audio key; /predict looks up by it
    Column("origin", String(20), nullable=False),  # ours, label-studio (imported or uploaded by a person)
    Column("blind", sa.Boolean, nullable=False, default=False),
    Column("selection_reason", String(80)),
    Column("selection_probability", sa.Float),
    Column("usefulness", sa.Float),
    Column("usefulness_reason", Text),
    Column("expected", sa.JSON),  # at its selection: error of the draft per word, minutes of work, gain per minute
    Column("draft_choice", sa.JSON),  # whether the draft is shown, by which figures, and why (usefulness/draft_choice)
    Column("overlap", sa.Integer, nullable=False, default=1),  # annotators wanted
    Column("status_line", Text),
    Column("status_shown", Text),  # the line that Label Studio has; `status_line` is the current one
    Column("gold_text", Text),  # of a gold task: the known answer that its annotators are measured against
    Column("experiment_id", Id, ForeignKey("experiments.id")),
    Column("arm", String(20)),  # champion, challenger
    Column("review_asked", sa.JSON),  # it was sent to review again: who asked, when and why
    Column("state", String(20), nullable=False, default="wanted"),
    *_reason(),
    UniqueConstraint("external_key"),
    UniqueConstraint("project_id", "ls_task_id"),
    Index(None, "created_at"),
    Index(None, "experiment_id"),
    Index(None, "project_id", "data_value"),
    Index(None, "recording_id"),
    Index(None, "state"),
)

# Step 4 and 10. One rendering for one task under one draft label. Compare-and-set gives it exactly one deliverer. When
# a task's audio is replaced, its withdrawn draft stays under the unused label `withdrawn-<id>`.
# delivered_by: answer, push, or null while it is not delivered.
predictions = Table(
    "predictions",
    metadata,
    _id(),
    _created(),
    Column("task_id", Id, ForeignKey("tasks.id"), nullable=False),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("transcription_id", Id, ForeignKey("transcriptions.id")),
    Column("draft_label", String(60), nullable=False),
    Column("model_version", String(120), nullable=False),
    Column("config_sha256", String(64), nullable=False),
    Column("body", Text, nullable=False),  # the finished JSON object /predict answers: result, score, model_version
    Column("score", sa.Float),
    Column("delivered_by", String(10)),
    Column("delivered_at", UtcTime),
    Column("confirmed_at", UtcTime),
    Column("ls_prediction_id", Id),
    *_reason(),
    UniqueConstraint("task_id", "draft_label"),
    Index(None, "project_id", "draft_label", "delivered_by"),
    Index("ix_predictions_unconfirmed", "project_id", "draft_label", sqlite_where=text("confirmed_at IS NULL")),
)

# Step 5. One person's result in one version (updated_at).
annotations = Table(
    "annotations",
    metadata,
    _id(),
    _created(),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("task_id", Id, ForeignKey("tasks.id")),
    Column("ls_task_id", Id),
    Column("ls_annotation_id", Id, nullable=False),
    Column("ls_updated_at", UtcTime, nullable=False),
    Column("ls_created_at", UtcTime),
    Column("annotator", Id),
    Column("result", sa.JSON, nullable=False),
    Column("text", Text),
    Column("language", String(10)),
    Column("script", String(10)),
    Column("quality", String(60)),
    Column("accent", String(60)),
    Column("emotion", String(60)),
    Column("skipped", sa.Boolean, nullable=False, default=False),
    Column("ground_truth", sa.Boolean, nullable=False, default=False),
    Column("lead_time_s", sa.Float),
    Column("prediction_id", Id, ForeignKey("predictions.id")),
    Column("before_attach", sa.Boolean, nullable=False, default=False),
    Column("deleted_at", UtcTime),
    Column("found_by", String(20)),  # webhook, list, import
    Column("segments", sa.JSON),
    Column("reject", sa.JSON),  # regions in time order; reasons for rejecting the call
    Column("choices", sa.JSON),  # {control: [options]}: every choice made
    Column("redraft", String(10)),  # the language of the new draft it asks for; such an annotation is no reference
    Column("edited", String(20)),  # compared with its draft: untouched, edited, manual (no draft)
    Column("draft", sa.JSON),  # a snapshot of the draft: text, segments, words, confidence, language, label
    Column("model_version", String(120)),  # the version that really made that draft
    Column("measures", sa.JSON),  # edit counts and other measures, from training/samples
    UniqueConstraint("project_id", "ls_annotation_id", "ls_updated_at"),
    Index(None, "task_id"),
    Index(None, "ls_created_at"),
    Index(None, "annotator", "ls_created_at"),
)


def newest_version() -> sa.ColumnElement[bool]:
    """Rows of `annotations` that count: neither deleted nor replaced by a later version of the same annotation."""
    later = annotations.alias("later")
    replaced = sa.exists().where(
        later.c.project_id == annotations.c.project_id,
        later.c.ls_annotation_id == annotations.c.ls_annotation_id,
        later.c.ls_updated_at > annotations.c.ls_updated_at,
        later.c.deleted_at.is_(None),
    )
    return sa.and_(annotations.c.deleted_at.is_(None), ~replaced)


# Step 5-6. One piece of a task for training or testing, or the reason why it is excluded; remade whenever an annotation
# of the task changes. state: accepted, excluded (with reason). `text` is the chosen reference of the span.
samples = Table(
    "samples",
    metadata,
    _id(),
    _created(),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("task_id", Id, ForeignKey("tasks.id"), nullable=False),
    Column("number", sa.Integer, nullable=False),
    Column("annotation_id", Id, ForeignKey("annotations.id"), nullable=False),
    Column("recording_id", Id, ForeignKey("recordings.id")),
    Column("start_s", sa.Float, nullable=False),
    Column("end_s", sa.Float, nullable=False),
    Column("channel", sa.Integer, nullable=False, default=0),
    Column("text", Text, nullable=False),
    Column("language", String(10)),
    Column("script", String(10)),
    Column("annotator", Id),
    Column("quality", String(60)),
    Column("accent", String(60)),
    Column("emotion", String(60)),
    Column("chosen_by", String(20)),
    Column("blind", sa.Boolean, nullable=False, default=False),
    Column("before_attach", sa.Boolean, nullable=False, default=False),
    Column("digest", String(64), nullable=False),  # of audio, span, channel, text and language
    Column("accepted_at", UtcTime),
    Column("state", String(20), nullable=False),
    *_reason(),
    UniqueConstraint("task_id", "number"),
    Index(None, "recording_id"),
    Index(None, "state", "language"),
    Index(None, "digest"),
    Index(None, "accepted_at"),
)

# Step 6, kind nlu: one utterance with its intent and entities, from a table, a file or a call.
# entities: [{"entity", "start", "end", "value"}], in characters of `text`. source: human, auto, call, correction.
# family: paraphrases of one another have the same. state: waiting (not annotated yet), accepted, excluded (with reason).
utterances = Table(
    "utterances",
    metadata,
    _id(),
    _created(),
    Column("updated_at", UtcTime, nullable=False, default=now),
    Column("origin", String(120), nullable=False),  # where it was read: the table's or file's name, or `calls`
    Column("external_id", String(120), nullable=False),  # its name there
    Column("source", String(20), nullable=False),
    Column("text", Text, nullable=False),
    Column("intent", String(120)),
    Column("entities", sa.JSON, nullable=False, default=list),
    Column("language", String(10)),
    Column("script", String(10)),
    Column("family", String(64)),
    Column("parent_id", String(120)),  # the external_id of the utterance that it rewords
    Column("checked", sa.Boolean, nullable=False, default=False),  # by a person: only those are tested on
    Column("call_id", Id, ForeignKey("calls.id")),  # it was said in: consent and erasure follow the call
    Column("recording_id", Id, ForeignKey("recordings.id")),
    Column("caller", String(80)),
    Column("task_id", Id, ForeignKey("tasks.id")),
    Column("annotation_id", Id, ForeignKey("annotations.id")),
    Column("model_version", String(120)),  # of the draft
    Column("confidence", sa.Float),
    Column("digest", String(64), nullable=False),  # of text, intent, entities and language
    Column("accepted_at", UtcTime),
    Column("source_updated_at", UtcTime),  # what the row says there: the next import reads from the latest on
    Column("state", String(20), nullable=False),
    *_reason(),
    UniqueConstraint("origin", "external_id"),
    Index(None, "state", "language"),
    Index(None, "digest"),
    Index(None, "call_id"),
    Index(None, "recording_id"),
    Index(None, "task_id"),
)

# Step 6, kind tts: one recording of a known text by one voice. checks: the figures of the checks before anybody rates.
# role, of clips that are rated: reference (a person), degraded (a copy that we made worse); null: a voice's own clip.
# state: found (not checked yet), accepted, excluded (with reason).
voice_clips = Table(
    "voice_clips",
    metadata,
    _id(),
    _created(),
    Column("updated_at", UtcTime, nullable=False, default=now),
    Column("bucket", String(63), nullable=False),
    Column("key", String(1000), nullable=False),
    Column("etag", String(120)),
    Column("recording_id", Id, ForeignKey("recordings.id")),
    Column("sha256", String(64)),
    Column("text", Text),
    Column("text_key", String(64)),  # equal for the same sentence in one language, whatever its case and punctuation
    Column("language", String(10)),
    Column("voice", String(60)),
    Column("emotion", String(60)),
    Column("engine", String(60)),  # parler, kokoro, ..., or studio: a person
    Column("model_version", String(120)),  # of the voice that spoke it, where known
    Column("role", String(20)),
    Column("duration_s", sa.Float),
    Column("rate_hz", sa.Integer),
    Column("channels", sa.Integer),
    Column("checks", sa.JSON),
    Column("digest", String(64)),  # of audio, text, language, voice and emotion
    Column("accepted_at", UtcTime),
    Column("state", String(20), nullable=False, default="found"),
    *_reason(),
    UniqueConstraint("bucket", "key"),
    Index(None, "state", "language"),
    Index(None, "digest"),
    Index(None, "recording_id"),
    Index(None, "text_key"),
    Index(None, "sha256"),
)

# How far two people agree on one task: counts, which reports pool.
agreements = Table(
    "agreements",
    metadata,
    _id(),
    _created(),
    Column("task_id", Id, ForeignKey("tasks.id"), nullable=False),
    Column("first_id", Id, ForeignKey("annotations.id"), nullable=False),
    Column("second_id", Id, ForeignKey("annotations.id"), nullable=False),
    Column("counts", sa.JSON, nullable=False),
    UniqueConstraint("first_id", "second_id"),
    Index(None, "task_id"),
)

# Words that annotators correct repeatedly. state: suggested, checking (a person approved it), approved, refused
# (its check failed), removed. heard: [{"form", "times", "said"}]; check: its figures, and how the word is applied.
hotwords = Table(
    "hotwords",
    metadata,
    _id(),
    _created(),
    Column("updated_at", UtcTime, nullable=False, default=now),
    Column("project_id", Id, ForeignKey("projects.id"), nullable=False),
    Column("language", String(10), nullable=False),
    Column("word", String(120), nullable=False),
    Column("heard", sa.JSON, nullable=False, default=list),
    Column("seen", sa.Integer, nullable=False, default=0),
    Column("check", sa.JSON),
    Column("who", String(120)),
    Column("state", String(20), nullable=False, default="suggested"),
    *_reason(),
    UniqueConstraint("project_id", "language", "word"),
)

# Reports that a job computes and `/api` shows: name -> body.
summaries = Table(
    "summaries",
    metadata,
    Column("name", String(120), primary_key=True),
    Column("body", sa.JSON, nullable=False),
    Column("made_at", UtcTime, nullable=False, default=now),
)

# What was counted of one day, kept by a job (ml_backend/reports/day_counts.py): pages and reports read these.
day_counts = Table(
    "day_counts",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("day", sa.Date, primary_key=True),
    Column("body", sa.JSON, nullable=False),
    Column("made_at", UtcTime, nullable=False, default=now),
)

# Step 6. An immutable manifest, content-hashed.
datasets = Table(
    "datasets",
    metadata,
    _id(),
    _created(),
    Column("name", String(120), nullable=False),
    Column("kind", String(10), nullable=False, default="asr", server_default="asr"),
    Column("version", sa.Integer, nullable=False),
    Column("manifest_sha256", String(64), nullable=False),
    Column("manifest_key", String(1000)),
    Column("filters", sa.JSON),
    Column("counts", sa.JSON),
    Column("parent_id", Id, ForeignKey("datasets.id")),
    Column("test_sha256", String(64)),  # of the test part alone: scores are comparable where it is equal
    Column("renderings", sa.JSON, nullable=False, default=dict),
    Column("card_key", String(1000)),
    Column("state", String(20), nullable=False, default="ready"),
    *_reason(),  # ready, superseded (by an erasure)
    UniqueConstraint("name", "version"),
    Index(None, "manifest_sha256"),
)

# Step 7. One training run. state: waiting, running, done, trained (weights are complete, not served), interrupted (its
# process ended), failed, cancelled, refused (before it began, with reason).
runs = Table(
    "runs",
    metadata,
    _id(),
    _created(),
    Column("updated_at", UtcTime, nullable=False, default=now),
    Column("kind", String(10), nullable=False),
    Column("project_id", Id, ForeignKey("projects.id")),
    Column("dataset_id", Id, ForeignKey("datasets.id")),
    Column("base_version", String(120)),
    Column("arguments", sa.JSON, nullable=False),
    Column("progress", sa.JSON),
    Column("who", String(120)),
    Column("why", String(200)),
    Column("estimate", sa.JSON),
    Column("metrics", sa.JSON),
    Column("cancel_asked", sa.Boolean, nullable=False, default=False),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("folder", Text),
    Column("step", String(20)),  # of the pipeline: export, train, evaluate, gate, experiment, done
    Column("state", String(20), nullable=False, default="waiting"),
    *_reason(),
    Index(None, "state"),
)

# Step 9. One immutable model version.
model_versions = Table(
    "model_versions",
    metadata,
    _id(),
    _created(),
    Column("version", String(120), nullable=False, unique=True),
    Column("kind", String(10), nullable=False),
    Column("location", Text, nullable=False),  # folder, hub:<name>, or s3://...
    Column("manifest", sa.JSON, nullable=False),
    Column("languages", sa.JSON, nullable=False),
    Column("run_id", Id, ForeignKey("runs.id")),
    Column("state", String(20), nullable=False, default="registered"),
    Column("lineage", sa.JSON),
    Column("parity", sa.JSON),
    Column("retrain_by", UtcTime),  # after an erasure
    Column("rolled_back_at", UtcTime),
    *_reason(),  # a version that was rolled back is never promoted by a schedule
)

# Step 8. One scoring of one version on one dataset.
evaluations = Table(
    "evaluations",
    metadata,
    _id(),
    _created(),
    Column("model_version_id", Id, ForeignKey("model_versions.id"), nullable=False),
    Column("dataset_id", Id, ForeignKey("datasets.id")),
    Column("normalisers", sa.JSON),
    Column("scores", sa.JSON, nullable=False),
    Column("verdict", String(20)),
    Column("report_key", String(1000)),
    Column("test_sha256", String(64)),
    Column("against_version", String(120)),
    Column("details_key", String(1000)),  # one line per utterance, for paired comparisons
    Index(None, "model_version_id"),
)

# Step 8. One utterance of an evaluation, to be looked at. Made from the lines at `details_key`, and made again from them
# after an erasure. `steps`, `counts` and `edits` are by reading: training/scoring/alignment.py, models/error_index.py.
evaluation_utterances = Table(
    "evaluation_utterances",
    metadata,
    _id(),
    Column("evaluation_id", Id, ForeignKey("evaluations.id"), nullable=False),
    Column("number", sa.Integer, nullable=False),  # from 1, in the order of the evaluation
    Column("line_id", String(120), nullable=False),  # of the dataset's manifest: the same in every evaluation of it
    Column("audio_sha256", String(64)),
    Column("start_s", sa.Float),
    Column("end_s", sa.Float),
    Column("channel", sa.Integer),
    Column("ls_project_id", Id),
    Column("ls_task_id", Id),
    Column("duration_s", sa.Float),
    Column("language", String(10)),
    Column("detected_language", String(10)),
    Column("reference", Text, nullable=False),
    Column("hypothesis", Text, nullable=False),
    Column("counted", sa.Boolean, nullable=False),  # false: the version had learnt from it, so the scores leave it out
    Column("weight", sa.Float, nullable=False),  # calls that it stands for: one over the chance that it was drawn
    Column("slices", sa.JSON, nullable=False),
    Column("counts", sa.JSON, nullable=False),
    Column("edits", sa.JSON, nullable=False),
    Column("steps", sa.JSON, nullable=False),
    UniqueConstraint("evaluation_id", "number"),
    Index(None, "audio_sha256"),
)

# Step 8. What a search of an evaluation's utterances reads, a part per row: ml_backend/models/error_index.py.
evaluation_indexes = Table(
    "evaluation_indexes",
    metadata,
    Column("evaluation_id", Id, ForeignKey("evaluations.id"), primary_key=True, autoincrement=False),
    Column("name", String(80), primary_key=True),
    Column("body", sa.LargeBinary, nullable=False),
)

# Step 9-10. The version that serves: moved only by compare-and-set. language "*" is every language.
aliases = Table(
    "aliases",
    metadata,
    Column("kind", String(10), primary_key=True),
    Column("language", String(10), primary_key=True),
    Column("alias", String(20), primary_key=True),
    Column("model_version_id", Id, ForeignKey("model_versions.id"), nullable=False),
    Column("revision", sa.Integer, nullable=False, default=1),
    Column("updated_at", UtcTime, nullable=False, default=now),
)

# Append-only: who moved an alias, why, and the figures behind it.
alias_history = Table(
    "alias_history",
    metadata,
    _id(),
    _created(),
    Column("kind", String(10), nullable=False),
    Column("language", String(10), nullable=False),
    Column("alias", String(20), nullable=False),
    Column("from_version", String(120)),
    Column("to_version", String(120), nullable=False),
    Column("who", String(120), nullable=False),
    Column("why", Text, nullable=False),
    Column("numbers", sa.JSON),
)

# Step 10. One A/B or shadow comparison.
experiments = Table(
    "experiments",
    metadata,
    _id(),
    _created(),
    Column("name", String(120), nullable=False, unique=True),
    Column("champion", String(120), nullable=False),
    Column("challenger", String(120), nullable=False),
    Column("traffic_share", sa.Float, nullable=False),
    Column("state", String(20), nullable=False, default="running"),
    Column("kind", String(20), nullable=False, default="ab"),  # ab, shadow
    Column("model_kind", String(10), nullable=False, default="asr", server_default="asr"),
    Column("language", String(10), nullable=False, default="*"),
    Column("salt", String(40)),
    Column("options", sa.JSON),
    Column("started_by", String(120)),
    Column("ends_at", UtcTime),
    Column("outcome", sa.JSON),
    Column("ended_at", UtcTime),
    *_reason(),
)

# How a call went. kind asr, nlu, tts: what `serve` answered for it, by which version; kind call: what the phone system
# reported. A call that is not known yet has its rows already; they join by `call_sid`.
outcomes = Table(
    "outcomes",
    metadata,
    _id(),
    _created(),
    Column("updated_at", UtcTime, nullable=False, default=now),
    Column("call_sid", String(200), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("model_version", String(120)),  # that answered last; with `experiment_id` and `arm` where one chose it
    Column("experiment_id", Id, ForeignKey("experiments.id")),
    Column("arm", String(20)),
    Column("shadow", sa.JSON),  # of an experiment in shadow: version, requests, latency_s, compared, differing, dropped, failed
    Column("requests", sa.Integer, nullable=False, default=0),
    Column("failed", sa.Integer, nullable=False, default=0),
    Column("latency_s", sa.Float),  # the mean over requests that did not fail; of kind call: as reported, over its parts
    Column("success", sa.Boolean),
    Column("satisfaction", sa.Float),  # 0..1
    Column("automated", sa.Boolean),  # no person took over
    Column("intent", String(120)),
    Column("latencies", sa.JSON),  # reported seconds by component
    Column("tags", sa.JSON),
    Column("field_times", sa.JSON),  # of kind call: per reported field, the time of its report; a later one replaces it
    Column("reported_at", UtcTime),  # the latest of them
    Column("source", String(40)),  # of the latest report: api, csv, satisfaction
    UniqueConstraint("call_sid", "kind"),
    Index(None, "kind", "created_at"),
    Index(None, "experiment_id", "kind"),
    Index(None, "updated_at"),
)

# What one process of `serve` answered in one minute; a row without a route says that the process was there.
live_minutes = Table(
    "live_minutes",
    metadata,
    _id(),
    Column("minute", UtcTime, nullable=False),
    Column("process", String(120), nullable=False),
    Column("route", String(40), nullable=False, default=""),
    Column("kind", String(10), nullable=False, default=""),
    Column("model_version", String(120), nullable=False, default=""),
    Column("requests", sa.Integer, nullable=False, default=0),
    Column("failed", sa.Integer, nullable=False, default=0),  # 5xx and `live-busy`: nobody got an answer
    Column("seconds", sa.JSON),  # counts by bucket of the time to answer (ml_backend/latency_buckets.py)
    Column("waits", sa.JSON),  # of the time before the model began
    Column("computes", sa.JSON),
    Column("first_partials", sa.JSON),  # of sessions: from speech to its first text
    UniqueConstraint("minute", "process", "route", "kind", "model_version"),
)

# What all processes answered so far, for /metrics: counters that only grow. `body`: counts by status and by reason of
# refusal, and buckets of the four times of `live_minutes`. A version that answered nothing for a day has no row.
live_totals = Table(
    "live_totals",
    metadata,
    Column("route", String(40), primary_key=True),
    Column("kind", String(10), primary_key=True),
    Column("model_version", String(120), primary_key=True),
    Column("body", sa.JSON, nullable=False),
    Column("updated_at", UtcTime, nullable=False, default=now),
)

# The minutes of one day, kept when `live_minutes` are gone.
uptime_days = Table(
    "uptime_days",
    metadata,
    Column("day", sa.Date, primary_key=True),
    Column("minutes", sa.Integer, nullable=False),
    Column("good_minutes", sa.Integer, nullable=False),
    Column("requests", sa.Integer, nullable=False, default=0),
    Column("failed", sa.Integer, nullable=False, default=0),
)

# Leases on devices (a GPU, or the CPU for training); live transcription has priority.
device_leases = Table(
    "device_leases",
    metadata,
    Column("device", String(60), primary_key=True),
    Column("owner", String(120)),
    Column("purpose", String(20)),
    Column("until", UtcTime),
)

# What was erased or expired. Every entry point checks it, so that erased data is not imported again.
tombstones = Table(
    "tombstones",
    metadata,
    _id(),
    _created(),
    Column("kind", String(20), nullable=False),
    Column("identity", String(1000), nullable=False),
    Column("why", String(80), nullable=False),
    UniqueConstraint("kind", "identity"),
)

# What must be neither erased nor expired. kind and identity are those of tombstones.
holds = Table(
    "holds",
    metadata,
    _id(),
    _created(),
    Column("kind", String(20), nullable=False),
    Column("identity", String(1000), nullable=False),
    Column("why", String(200), nullable=False),
    Column("who", String(120), nullable=False),
    UniqueConstraint("kind", "identity"),
)

# One request to erase a person: what was removed, and the datasets and models that had used it. state: running, done.
erasures = Table(
    "erasures",
    metadata,
    _id(),
    _created(),
    Column("pseudonym", String(80), nullable=False),
    Column("who", String(120), nullable=False),
    Column("counts", sa.JSON),
    Column("report", sa.JSON),
    Column("state", String(20), nullable=False, default="running"),
    Column("finished_at", UtcTime),
)

# How long a bucket's originals are kept; days null: no limit. state: kept, reported (nothing removed yet), confirmed.
retention = Table(
    "retention",
    metadata,
    Column("bucket", String(100), primary_key=True),
    Column("days", sa.Integer),
    Column("state", String(20), nullable=False, default="kept"),
    Column("report", sa.JSON),
    Column("updated_at", UtcTime, nullable=False, default=now),
    Column("who", String(120)),
)

# The position of a listing or bucket scan: moved after each committed page.
checkpoints = Table(
    "checkpoints",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("position", sa.JSON, nullable=False),
    Column("state", String(20), nullable=False, default="running"),
    *_reason(),
    Column("started_at", UtcTime, nullable=False, default=now),
    Column("updated_at", UtcTime, nullable=False, default=now),
)

JOB_STATES = ("waiting", "queued", "running", "done", "failed", "quarantined", "cancelled")
JOB_TROUBLE = ("failed", "quarantined")  # ended badly: a person has to look
# Design D3. One background job.
# state: waiting, queued (handed to RQ), running, done, failed, quarantined, cancelled.
jobs = Table(
    "jobs",
    metadata,
    _id(),
    _created(),
    Column("name", String(60), nullable=False),
    Column("queue", String(30), nullable=False),
    Column("arguments", sa.JSON, nullable=False),
    Column("trace", String(40)),  # of the request that began what it belongs to: it is in every log line
    Column("unique_key", String(200)),
    Column("priority", sa.Integer, nullable=False),  # smaller goes first: 0 interactive, 50 live, 100 bulk
    Column("state", String(20), nullable=False, default="waiting"),
    Column("due_at", UtcTime, nullable=False, default=now),
    Column("queued_at", UtcTime),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("attempt", sa.Integer, nullable=False, default=0),  # only grows: it fences off stale processes
    Column("failures", sa.Integer, nullable=False, default=0),
    Column("deaths", sa.Integer, nullable=False, default=0),
    Column("lease_owner", String(120)),
    Column("lease_until", UtcTime),
    Column("progress", sa.JSON),
    Column("error_code", String(80)),
    Column("error", Text),
    Column("next_step", Text),
    Column("error_branch", String(20)),  # retryable, permanent, configuration (a person must set something), death
    Index(None, "state", "queue", "priority", "due_at"),
    Index(None, "lease_until"),
    Index(None, "finished_at"),
    Index(None, "name", "id"),
    Index(None, "unique_key"),
    # One waiting job per key. A second may wait while the first runs, so that no change is missed.
    Index(
        "uq_jobs_waiting_key",
        "unique_key",
        unique=True,
        sqlite_where=text("state IN ('waiting','queued')"),
    ),
)

# Processes that are alive, for `status` and `/ready`: written every few seconds. Correctness never depends on it.
processes = Table(
    "processes",
    metadata,
    Column("name", String(120), primary_key=True),
    Column("role", String(30), nullable=False),
    Column("pid", sa.Integer, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("detail", sa.JSON),
)
